"""Lanes with validation rows of their own: each trains and scores as a lone trial does on the rows of its split."""

import dataclasses

import numpy as np
import pytest
import torch
from test_captured import stand_in
from toy import toy_dataset

from avtune.core.errors import UserError
from avtune.core.objective import objective
from avtune.core.trial import Trial
from avtune.data.dataset import Split
from avtune.data.prepare import for_search
from avtune.engine import own_validation
from avtune.engine.captured import Captured
from avtune.engine.features import Features
from avtune.engine.group import Group, lane_trials_of
from avtune.engine.lane_rows import LaneRows
from avtune.engine.lane_trainer import LaneTrainer
from avtune.engine.optimizer import AdamW
from avtune.engine.trainer import train
from avtune.methods import METHODS, check_config, get, static_values
from benchmarks._agreement import apart, run, some_trials

MADE = toy_dataset(train=96, classes=4)
GROUPED = dataclasses.replace(MADE, groups=np.random.default_rng(3).integers(0, 30, 96))
SIZES = {"hidden_dim": 8, "embedding_dim": 4, "batch_size": 16}


def own(dataset=MADE, **more):
    return for_search(dataset, **({"fraction": 0.25, "folds": None, "seed": 1, "reshuffle": True} | more))


def several_labels():
    draw = np.random.default_rng(5)
    labels = draw.random((96, 4)) < 0.2
    labels[np.arange(96), np.arange(96) % 4] = True
    return dataclasses.replace(MADE, train=Split(MADE.train.audio, MADE.train.visual, labels))


def materialised(trials, data):
    """Each trial by itself on scaled copies of its rows, as without `own_rows`."""
    runs = [run([trial], data.for_seed(trial.seed), lanes=1) for trial in trials]
    for one in runs[1:]:
        runs[0].curves.update(one.curves)
        runs[0].weights.update(one.weights)
    return runs[0]


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("psd", {}),
        ("psd", {"per_class": 3}),
        ("triplet", {"mixup": True}),
        ("classifiers", {}),
        ("clip", {}),
        ("cca", {}),
        ("scm", {}),
    ],
)
def test_a_lane_is_the_lone_trial_of_its_split(name, change):
    (data,) = own()
    trials = some_trials(name, 4, SIZES, change, epochs=(2, 3))
    found = apart(materialised(trials, data), run(trials, data, lanes=3, late=1))
    # The copies are scaled in float32, the rows of lanes in the lanes' own type, float64 here.
    if name not in ("cca", "scm"):  # the means of scaled rows, which closed forms keep, are rounding alone
        assert found.weights < 1e-5
    assert found.loss < 1e-5
    assert found.map < 1e-5


@pytest.mark.parametrize("name", ["psd", "scm"])
def test_exact_lanes_are_lone_ones_to_the_last_bit(name):
    (data,) = own()
    trials = some_trials(name, 3, SIZES, epochs=(2, 3))
    alone = [run([one], data, lanes=1, dtype=torch.float32) for one in trials]
    together = run(trials, data, lanes=3, dtype=torch.float32, exact=True)
    for one in alone:
        assert apart(one, together).equal


def test_splits_of_unequal_sizes_share_steps():
    """With groups a split has some rows more or fewer: an epoch has as many steps for all."""
    (data,) = own(GROUPED)
    sizes = {len(data.own_rows.of(data.train.labels, 100 + number).fit) for number in range(4)}
    assert len(sizes) > 1
    trials = some_trials("triplet", 4, SIZES, epochs=(2,))
    alone = [run([one], data, lanes=1) for one in trials]
    together = run(trials, data, lanes=4)
    assert max(apart(one, together).weights for one in alone) < 1e-9
    assert max(apart(one, together).map for one in alone) < 1e-9


def test_fewer_rows_than_an_epoch_has_come_twice():
    (data,) = own()
    data = dataclasses.replace(data, own_rows=dataclasses.replace(data.own_rows, rows=80))
    lanes = LaneTrainer("triplet", static_of("triplet"), data)
    lanes.admit(trial(0))
    fit = data.own_rows.of(data.train.labels, 0).fit
    rows = lanes._steps.plan(slice(0, 1)).rows_LSB.flatten().numpy()
    assert (len(fit), len(rows)) == (72, 80)
    np.testing.assert_array_equal(np.sort(rows[:72]), np.sort(fit))
    np.testing.assert_array_equal(rows[72:], rows[:8])


def test_several_labels_a_clip():
    (data,) = own(several_labels())
    trials = some_trials("triplet", 3, SIZES, epochs=(2,))
    found = apart(materialised(trials, data), run(trials, data, lanes=3))
    assert found.map < 0.02, "the copies have the steps of their own number of rows"
    alone = [run([one], data, lanes=1) for one in trials]
    assert max(apart(one, run(trials, data, lanes=3)).map for one in alone) < 1e-9


def trial(number, method="triplet", **more):
    return Trial(number, method, check_config(get(method), SIZES), seed=number, epochs=2, **more)


def static_of(method):
    return static_values(METHODS[method], trial(0, method).config)


def test_folds_are_those_of_the_trial():
    """All folds of a trial are of one partition, whatever seeds their lanes have."""
    data = own(fraction=None, folds=3)
    lane_trials_of_it = lane_trials_of(trial(5), 3)
    group = Group([LaneTrainer("triplet", static_of("triplet"), fold) for fold in data])
    group.enter(trial(5), lane_trials_of_it, [None] * 3, [])
    held_out = [fold._own.of(one).validation for fold, one in zip(group.folds, lane_trials_of_it, strict=True)]
    np.testing.assert_array_equal(np.sort(np.concatenate(held_out)), np.arange(96))
    (outcome,) = group.train_epoch()
    values = []
    train(trial(5), data, lambda epoch, metrics: values.append(metrics["val_map"]) or False)
    assert outcome.metrics["val_map"] == values[0]


def test_a_trial_goes_on_elsewhere_on_its_rows():
    (data,) = own()
    first, other = (LaneTrainer("psd", static_of("psd"), data, capacity=2) for _ in range(2))
    first.admit(trial(3, "psd"))
    first.train_epoch()
    state = first.store.state(first.store.trials[0])
    (there,) = first.train_epoch()
    other.admit(trial(8, "psd"))
    other.admit(trial(3, "psd"), state, 1)
    here = other.train_epoch()[1]
    assert here.metrics["val_map"] == pytest.approx(there.metrics["val_map"], abs=1e-6)
    assert here.metrics["loss"] == pytest.approx(there.metrics["loss"], rel=1e-4)


def test_recorded_steps_scale_the_rows_of_their_lanes(monkeypatch):
    """One recording serves lanes whose trials, and so whose scalers, have changed."""
    times = iter(range(1000, 0, -1))
    monkeypatch.setattr(
        "avtune.engine.captured.clocked", lambda call, count, device: [call() for _ in range(count)] and next(times)
    )
    (data,) = own()

    def story(record):
        lanes = LaneTrainer("triplet", static_of("triplet"), data, capacity=2, dtype=torch.float64, block=2)
        lanes._steps._optimizer = AdamW(kernel=False)
        if record:
            lanes._captured = Captured(lanes._steps, stand_in, torch.device("cpu"))
        for number in (0, 1):
            lanes.admit(trial(number))
        losses = [one.metrics["loss"] for one in lanes.train_epoch()]
        lanes.store.release(lanes.store.trials[0])
        lanes.admit(trial(2))
        losses += [one.metrics["loss"] for one in lanes.train_epoch()]
        assert bool(record) == bool(lanes._captured and lanes._captured.used)
        return losses

    assert story(record=True) == pytest.approx(story(record=False), rel=1e-6)


@pytest.mark.parametrize("spelled", ["map", "map@r", "map@10", "ndcg", "2*audio->visual+visual->audio"])
def test_the_objective_is_of_the_lanes_rows(spelled):
    wanted = objective(spelled, ("audio", "visual"))
    (data,) = own(objective=wanted)
    trials = some_trials("cca", 2, {}, epochs=(1,))
    static = static_values(METHODS["cca"], trials[0].config)
    group = LaneTrainer("cca", static, data, capacity=2)
    for one in trials:
        group.admit(one)
    for result, one in zip(group.train_epoch(), trials, strict=True):
        alone = LaneTrainer("cca", static, data.for_seed(one.seed))
        alone.admit(one)
        assert result.metrics == pytest.approx(
            alone.train_epoch()[0].metrics | {k: result.metrics[k] for k in ("seconds", "clips_per_second")}, abs=1e-6
        )


def test_the_way_of_a_gpu_scores_the_same(monkeypatch):
    (data,) = own(GROUPED)
    lanes = LaneTrainer("triplet", static_of("triplet"), data, capacity=3)
    for number in range(3):
        lanes.admit(trial(number))
    cpu = lanes._validate([slice(0, 3)])
    monkeypatch.setattr(own_validation, "EMBED_ROWS", 12)
    monkeypatch.setattr(
        own_validation,
        "lane_map_on_cpu",
        lambda z_a, z_v, labels, threads, wanted: own_validation.lane_map(
            z_a, z_v, torch.tensor(labels), objective=wanted
        ).tolist(),
    )
    gpu = lanes._validate([slice(0, 3)])
    for one, other in zip(cpu, gpu, strict=True):
        assert one == pytest.approx(other, abs=1e-6)


def test_what_is_not_finite_is_the_lanes_alone():
    (data,) = own()
    lanes = LaneTrainer("triplet", static_of("triplet"), data, capacity=2)
    for number in range(2):
        lanes.admit(trial(number))
    name = next(iter(lanes.store._stacks["params"]))
    lanes.store._stacks["params"][name][0] = float("nan")
    scores = lanes._validate([slice(0, 2)])
    assert scores[0] is None
    assert 0 < scores[1]["val_map"] <= 1


def test_rows_of_trials_that_are_gone_are_forgotten():
    (data,) = own()
    lanes = LaneTrainer("triplet", static_of("triplet"), data)
    for number in range(5):
        lanes.admit(trial(number))
        lanes.train_epoch()
        lanes.store.release(lanes.store.trials[0])
    assert len(lanes._own._found) == 1
    assert isinstance(lanes._own, LaneRows)


def test_a_value_that_cannot_be_scaled_is_refused_as_it_is_of_a_lone_trial():
    audio = MADE.train.audio.copy()
    audio[:, 1] *= 1e-30
    audio[7, 1] = 3e38
    (data,) = own(dataclasses.replace(MADE, train=Split(audio, MADE.train.visual, MADE.train.labels)))
    rows = LaneRows(data, Features.of(data, torch.device("cpu"), torch.float32).train)
    found = []
    for seed in range(12):
        refused = []
        for look in (data.for_seed, lambda seed: rows.of(Trial(0, "psd", {}, seed, 1))):
            try:
                look(seed)
                refused.append("")
            except UserError as error:
                refused.append(str(error))
        assert refused[0] == refused[1]
        found.append(refused[0])
    assert "feature 1 (from 0) has a value too far" in "".join(found)
    assert "" in found
