"""Choices of training that all methods have (`Hyper.extra`): each is what it says, off by default, and the same in any
lane."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from test_method_conformance import SMALL, full_config
from toy import toy_prepared

from avtune.core.trial import Trial
from avtune.engine.lane_trainer import LaneTrainer
from avtune.engine.learning_rate import learning_rates
from avtune.engine.row_orders import balanced_rows
from avtune.lanes.dropout import Dropout
from avtune.lanes.mixup import class_partners, mixed
from avtune.lanes.modules import ACTIVATIONS, Style, encoder, init_encoder
from avtune.lanes.noise import init_generator, step_keys
from avtune.methods import METHODS, check_config, static_values
from avtune.methods._losses import label_cross_entropy, label_l2
from benchmarks._agreement import apart, run, run_alone, some_trials

ALL = {"average": True, "mixup": True, "depth": 1, "activation": "gelu", "normalisation": "batch"}
OTHERS = {"depth": 3, "activation": "relu", "normalisation": "none"}
BY_LANE = {
    "lr_end": (0.0, 1.0, 0.3),
    "warmup": (0.0, 0.5, 0.2),
    "average_decay": (0.9, 0.5, 0.99),
    "mixup_share": (0.5, 0.0, 1.0),
    "per_class": (0, 3, 4),
    "label_smoothing": (0.0, 0.2, 0.1),
}


def known(name, given):
    return {key: value for key, value in given.items() if key in {hyper.name for hyper in METHODS[name].hypers}}


def trials_of(name, change, sizes=SMALL):
    """Three trials of one group with values of their own of all that lanes may differ in."""
    found = []
    for lane, trial in enumerate(some_trials(name, 3, sizes, known(name, change), epochs=(2, 1, 2))):
        own = known(name, {key: values[lane] for key, values in BY_LANE.items()})
        found.append(dataclasses.replace(trial, config={**trial.config, **own}))
    return found


@pytest.mark.parametrize(
    ("name", "change"),
    [("psd", ALL), ("classifiers", OTHERS), ("eics", ALL), ("dcca", OTHERS), ("acmr", ALL), ("tnn_ccca", ALL)],
)
def test_lanes_are_the_lone_trials(name, change):
    data, trials = toy_prepared(), trials_of(name, change)
    alone = run_alone(trials, data)
    together = run(trials, data, lanes=2, late=1)
    for number, curve in alone.curves.items():
        np.testing.assert_allclose(together.curves[number], curve, rtol=1e-9, atol=1e-9)
        for key, value in alone.weights[number].items():
            torch.testing.assert_close(together.weights[number][key], value, rtol=1e-5, atol=1e-6)


def test_exact_lanes_are_the_lone_trials_to_the_last_bit():
    data, trials = toy_prepared(clips=60, dims=(11, 13)), trials_of("psd", ALL)
    alone = run_alone(trials, data, dtype=torch.float32)
    assert apart(alone, run(trials, data, lanes=3, dtype=torch.float32, exact=True)).equal


@pytest.mark.parametrize("change", [ALL, OTHERS])
def test_an_epoch_reads_nothing_back_from_the_device(change):
    data = dataclasses.replace(toy_prepared(), validation=None)
    trial = Trial(0, "psd", full_config("psd", change, batch_size=len(data.train)), seed=1, epochs=3)
    group = LaneTrainer("psd", static_values(METHODS["psd"], trial.config), data, device="meta")
    group.store.admit(trial)
    assert all(value.device.type == "meta" for value in group._train_block(slice(0, 1)).values())


def test_every_method_is_the_same_with_them_named_at_their_defaults():
    """The figures of test_pinned_losses.py are of all of them off."""
    for name, kind in METHODS.items():
        extra = {hyper.name: hyper.default for hyper in kind.hypers if hyper.extra}
        assert bool(extra) == ("lr" in check_config(kind, {})), name
        assert check_config(kind, extra) == check_config(kind, {})
        assert kind.lays_out(check_config(kind, {"lr_end": 0.1} if extra else {})) == bool(extra)


# -- learning rate -----------------------------------------------------------------------------------------------------


def slow_rate(lr, end, warmup, step, total):
    warm = warmup * total
    rise = min(1.0, step / warm) if warm else 1.0
    done = min(max((step - 1 - warm) / max(total - warm, 1), 0.0), 1.0)
    return lr * rise * (end + (1 - end) * (1 + math.cos(math.pi * done)) / 2)


def test_the_learning_rate_rises_and_falls_as_it_says():
    lanes = [(0.1, 0.0, 0.0), (0.2, 0.1, 0.25), (0.3, 1.0, 0.5), (0.4, 1.0, 0.0)]
    lr, end, warmup = (torch.tensor(values, dtype=torch.float64) for values in zip(*lanes, strict=True))
    total = torch.tensor([10.0, 20.0, 8.0, 10.0], dtype=torch.float64)
    for step in (1, 2, 3, 5, 8, 10, 11, 20, 21, 40):
        hyper = {"lr": lr, "lr_end": end, "warmup": warmup}
        found = learning_rates(hyper, torch.tensor([step] * 4), total)
        wanted = [slow_rate(*one, step, length) for one, length in zip(lanes, total.tolist(), strict=True)]
        assert found.tolist() == pytest.approx(wanted, abs=1e-12)
        assert found[3] == lr[3]  # to the last bit
    assert learning_rates({"lr": lr}, torch.tensor([1] * 4), total) is lr  # a user's method without them


def test_the_curve_names_the_learning_rate_of_the_epochs_last_step():
    data = toy_prepared()
    found = []
    for more in ({"lr_end": 0.1, "warmup": 0.25}, {}):
        trial = Trial(0, "clip", full_config("clip", more, lr=0.01), seed=1, epochs=4)
        trainer = LaneTrainer("clip", static_values(METHODS["clip"], trial.config), data)
        trainer.store.admit(trial)
        found.append([trainer.train_epoch()[0].metrics["lr"] for _ in range(4)])
    steps = len(data.train) // SMALL["batch_size"]
    wanted = [slow_rate(0.01, 0.1, 0.25, steps * epoch, 4 * steps) for epoch in range(1, 5)]
    assert found[0] == pytest.approx(wanted, rel=1e-5)
    assert found[1] == [0.01] * 4


# -- averaged weights --------------------------------------------------------------------------------------------------


def lone(config, data, method="triplet"):
    trial = Trial(0, method, config, seed=3, epochs=9)
    trainer = LaneTrainer(method, static_values(METHODS[method], config), data, dtype=torch.float64)
    trainer.store.admit(trial)
    return trainer, trial


def test_what_is_kept_is_the_moving_average_of_the_weights():
    data = toy_prepared()
    batch = len(data.train)  # one step an epoch, so that every step's weights are seen
    sizes = {"hidden_dim": 8, "embedding_dim": 4, "batch_size": batch, "lr": 1e-2}
    plain, trial = lone(full_config("triplet", sizes), data)
    kept, _ = lone(full_config("triplet", {**sizes, "average": True, "average_decay": 0.5}), data)
    average = {name: value.clone() for name, value in plain.store.weights(trial)[0].items()}
    for step in range(1, 11):
        plain.train_epoch()
        kept.train_epoch()
        decay = min(0.5, step / (step + 9))
        for name, value in plain.store.weights(trial)[0].items():
            average[name] = decay * average[name] + (1 - decay) * value
    for name, value in kept.store.weights(kept.store.trials[0])[0].items():
        torch.testing.assert_close(value, average[name], rtol=1e-6, atol=1e-9)


def test_a_lane_goes_on_from_its_state_with_its_average():
    data, config = toy_prepared(), full_config("triplet", {"average": True, "average_decay": 0.9})
    whole, trial = lone(config, data)
    curves = [whole.train_epoch()[0].metrics["val_map"] for _ in range(2)]
    state = whole.store.state(whole.store.trials[0])
    curves.append(whole.train_epoch()[0].metrics["val_map"])
    other = LaneTrainer("triplet", static_values(METHODS["triplet"], config), data, dtype=torch.float64)
    other.store.admit(trial, state, 2)
    assert other.train_epoch()[0].metrics["val_map"] == curves[2]
    one, two = (trainer.store.weights(trainer.store.trials[0])[0] for trainer in (whole, other))
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_methods_with_statistics_of_outputs_keep_no_average():
    without = {name for name, kind in METHODS.items() if "average" not in check_config(kind, {})}
    assert without == {"dcca", "c_dcca", "tnn_ccca", "cca", "kcca", "c_cca", "scm"}


# -- mixup -------------------------------------------------------------------------------------------------------------


def test_partners_are_a_random_permutation_within_the_class():
    draw = np.random.default_rng(0)
    labels = torch.tensor(draw.integers(0, 4, size=(2, 40)))
    labels[0, :] = torch.where(labels[0] == 3, 2, labels[0])
    labels[0, 7] = 3  # the only one of its class
    keys = torch.tensor(step_keys(np.arange(2), np.arange(2)))
    partners = class_partners(labels, keys)
    assert torch.equal(labels.gather(1, partners), labels)
    assert all(sorted(one.tolist()) == list(range(40)) for one in partners)
    assert partners[0, 7] == 7
    for lane in range(2):  # all others have another clip
        alone = [label for label in range(4) if (labels[lane] == label).sum() == 1]
        same = partners[lane] == torch.arange(40)
        assert same.sum() == len(alone)
        assert torch.equal(class_partners(labels[lane : lane + 1], keys[lane : lane + 1])[0], partners[lane])
    assert not torch.equal(
        class_partners(labels, torch.tensor(step_keys(np.arange(2), np.ones(2, np.int64)))), partners
    )


def test_mixed_features_lie_between_a_clip_and_its_partner_in_both_views():
    labels = torch.arange(32).remainder(3)[None].repeat(2, 1)
    keys = torch.tensor(step_keys(np.arange(2), np.arange(2)))
    views = torch.randn(2, 32, 5, dtype=torch.float64), torch.randn(2, 32, 7, dtype=torch.float64)
    most = torch.tensor([0.5, 0.0], dtype=torch.float64)
    audio, visual = mixed(views, labels, keys, most)
    partners = class_partners(labels, keys)
    shares = []
    for row, partner in enumerate(partners[0].tolist()):
        share = ((audio[0, row] - views[0][0, row]) / (views[0][0, partner] - views[0][0, row]))[0].item()
        for made, x in ((audio, views[0]), (visual, views[1])):
            torch.testing.assert_close(made[0, row], (1 - share) * x[0, row] + share * x[0, partner])
        shares.append(share)
    assert 0 <= min(shares) < 0.1
    assert 0.4 < max(shares) <= 0.5
    assert torch.equal(audio[1], views[0][1])


# -- balanced batches --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("classes", "batch", "per_class"), [(5, 12, 4), (5, 14, 4), (3, 24, 4), (5, 8, 100)])
def test_a_balanced_batch_has_so_many_clips_of_a_class(classes, batch, per_class):
    labels = np.random.default_rng(0).permutation(np.repeat(np.arange(classes), 8 + 11 * np.arange(classes)))
    rows = balanced_rows(3, 2, labels, batch, per_class)
    steps = len(labels) // batch
    assert rows.shape == (steps * batch,)
    assert np.array_equal(rows, balanced_rows(3, 2, labels, batch, per_class))
    assert not np.array_equal(rows, balanced_rows(3, 3, labels, batch, per_class))
    full, rest = divmod(batch, min(per_class, batch))
    for one in rows.reshape(steps, batch):
        counts = np.bincount(labels[one], minlength=classes)
        assert counts.sum() == batch
        if full <= classes:  # each turn is another class, but where a round of turns ends
            assert all(count % min(per_class, batch) in (0, rest) for count in counts)
    assert min(np.bincount(labels[rows], minlength=classes)) > 0.3 * max(np.bincount(labels[rows], minlength=classes))


def test_a_class_comes_again_only_when_all_its_clips_have():
    labels = np.repeat(np.arange(2), [6, 30])
    rows = balanced_rows(0, 0, labels, 6, 3)
    small = [row for row in rows.tolist() if row < 6]
    assert sorted(small[:6]) == list(range(6))


def test_a_class_of_fewer_clips_gives_all_it_has_and_no_more():
    labels = np.repeat(np.arange(10), [1, 2, 3, 20, 20, 20, 20, 20, 20, 20])
    for epoch in range(5):
        for one in balanced_rows(0, epoch, labels, 64, 16).reshape(-1, 64):
            # A class comes twice where a round of turns ends; turns of its clips begin again within one of the class.
            assert np.bincount(one).max() <= 3
            assert np.bincount(labels[one], minlength=10)[0] <= 2


def test_batches_of_classes_with_enough_clips_stay_as_they_were():
    labels = np.repeat(np.arange(3), [4, 5, 9])
    assert balanced_rows(7, 1, labels, 9, 4).tolist() == [0, 6, 11, 3, 1, 16, 2, 13, 17, 8, 0, 1, 14, 3, 10, 2, 15, 9]


# -- labels and encoders -----------------------------------------------------------------------------------------------


def test_smoothed_labels_are_what_torch_has_and_what_loops_give():
    draw = torch.Generator().manual_seed(0)
    z_a, z_v = (torch.randn(2, 6, 4, generator=draw, dtype=torch.float64) for _ in range(2))
    head, labels = torch.randn(2, 4, 3, generator=draw, dtype=torch.float64), torch.tensor([[0, 1, 2, 0, 1, 2]] * 2)
    smoothing = torch.tensor([0.0, 0.3], dtype=torch.float64)
    crosses = label_cross_entropy(head, z_a, z_v, labels, smoothing)
    squares = label_l2(head, z_a, z_v, labels, 3, smoothing)
    for lane, share in enumerate(smoothing.tolist()):
        wanted, apart_by = 0.0, 0.0
        for z in (z_a[lane], z_v[lane]):
            logits = z @ head[lane]
            wanted += torch.nn.functional.cross_entropy(logits, labels[lane], label_smoothing=share).item()
            for row, label in enumerate(labels[lane].tolist()):
                target = [(1 - share) * (c == label) + share / 3 for c in range(3)]
                apart_by += math.dist(logits[row].tolist(), target) / 6
        assert crosses[lane].item() == pytest.approx(wanted, abs=1e-12)
        assert squares[lane].item() == pytest.approx(apart_by, abs=1e-12)


@pytest.mark.parametrize("normalisation", ["layer", "batch", "none"])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_an_encoder_is_torchs_modules(activation, normalisation):
    style = Style(3, activation, normalisation)
    made = [init_encoder(init_generator(seed), 5, 6, 4, style) for seed in (0, 1)]
    params, buffers = ({name: torch.stack([one[k][name] for one in made]) for name in made[0][k]} for k in (0, 1))
    x = torch.randn(2, 9, 5)
    norms = {"layer": torch.nn.LayerNorm, "batch": torch.nn.BatchNorm1d, "none": torch.nn.Identity}
    acts = {"tanh": torch.nn.Tanh, "relu": torch.nn.ReLU, "gelu": torch.nn.GELU, "silu": torch.nn.SiLU}
    layers = [torch.nn.BatchNorm1d(5, affine=False)]
    for layer, width in enumerate((5, 6, 6)):
        linear = torch.nn.Linear(width, 6)
        linear.load_state_dict({"weight": made[0][0][f"{layer}.weight"].T, "bias": made[0][0][f"{layer}.bias"]})
        layers += [linear, norms[normalisation](6), acts[activation]()]
    out = torch.nn.Linear(6, 4)
    out.load_state_dict({"weight": made[0][0]["out.weight"].T, "bias": made[0][0]["out.bias"]})
    module = torch.nn.Sequential(*layers, out)
    keys, none = torch.tensor(step_keys(np.arange(2), np.arange(2))), torch.zeros(2)
    trained = encoder(params, buffers, "", x, Dropout(keys, none), style)
    torch.testing.assert_close(trained[0], module(x[0]), rtol=1e-5, atol=1e-5)
    module.eval()
    torch.testing.assert_close(encoder(params, buffers, "", x, None, style)[0], module(x[0]), rtol=1e-5, atol=1e-5)
