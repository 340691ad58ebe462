"""Methods where clips have several labels, bool [L, B, C]. A method that says `multi_label` is tested by being
registered."""

import numpy as np
import pytest
import torch
from test_method_conformance import DIMS, SMALL, SOLVED, full_config, solve
from toy import toy_prepared

from avtune.core.errors import UserError
from avtune.core.relevance import relevance
from avtune.core.trial import Trial
from avtune.data.dataset import Split
from avtune.data.prepare import Prepared
from avtune.engine import user_code
from avtune.engine.lane_trainer import LaneTrainer
from avtune.engine.row_orders import balanced_rows
from avtune.lanes.mixup import class_partners
from avtune.lanes.modules import label_shares
from avtune.methods import METHODS, Batch, ClosedForm, static_values
from avtune.methods._contract import Sample, broken
from avtune.methods._correlation import class_sums, cluster_moments, mixed_moments
from avtune.methods._losses import label_cross_entropy, label_l2
from avtune.report.methods import details, overview
from benchmarks._agreement import changes, run, run_alone, some_trials

BY_NAME = [name for name, method in METHODS.items() if method.multi_label]
CASES = [
    pytest.param(name, change, id=f"{name}-{label}")
    for name in BY_NAME
    for label, change in changes(METHODS[name])
    if not issubclass(METHODS[name], ClosedForm)
]


def several_of(data, seed=0):
    """The same clips, some with a second label."""
    draw = np.random.default_rng(seed)

    def of(split):
        hot = np.eye(data.num_classes, dtype=bool)[split.labels]
        more = draw.random(len(hot)) < 0.3
        hot[more, (split.labels[more] + 1) % data.num_classes] = True
        return Split(split.audio, split.visual, hot)

    return Prepared(of(data.train), of(data.validation), data.num_classes)


@pytest.mark.parametrize(("name", "change"), CASES)
def test_one_column_a_class_has_the_loss_and_gradient_of_numbers(name, change):
    sample = Sample(METHODS[name], full_config(name, change), DIMS, lanes=2, rows=12, dtype=torch.float64)
    found = []
    for columns in (False, True):
        params, buffers, batch, hyper, progress = sample.all_lanes()
        labels = torch.eye(DIMS[2], dtype=torch.bool)[batch.labels] if columns else batch.labels
        leaves = {key: value.requires_grad_() for key, value in params.items()}
        given = Batch(batch.audio, batch.visual, labels, batch.dropout_keys)
        losses = sample.method.loss(leaves, buffers, given, hyper, progress)
        grads = torch.autograd.grad(losses["loss"].sum(), list(leaves.values()), materialize_grads=True)
        found.append([*losses.values(), *grads, *buffers.values()])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-11)


OTHERS = [
    ("supcon", {"contrast": "all"}),
    ("aadml", {"graph": "same_class"}),
    ("vae_cca", {"centers": "learned"}),
    ("psd", {"mining": "semihard", "label_loss": "cross_entropy"}),
]


@pytest.mark.parametrize(("name", "change"), [*((name, {}) for name in BY_NAME), *OTHERS])
def test_keeps_to_the_contract_with_several_labels(name, change):
    """Finite, a lane is the lone trial, clips do not touch each other, nothing is changed in place."""
    assert broken(METHODS[name], full_config(name, change), DIMS, multi_label=True) is None


@pytest.mark.parametrize("name", ["psd", "classifiers", "tnn_ccca"])
def test_a_run_in_lanes_is_the_run_alone(name):
    data = several_of(toy_prepared())
    trials = some_trials(name, 3, SMALL, epochs=(2, 1, 2))
    alone, together = run_alone(trials, data), run(trials, data, lanes=3, late=1)
    for number, curve in alone.curves.items():
        np.testing.assert_allclose(together.curves[number], curve, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("name", ["proxy_anchor", "classifiers", "tnn_ccca", "vae_cca"])
def test_an_epoch_reads_nothing_back_from_the_device(name):
    whole = several_of(toy_prepared())
    data = Prepared(whole.train, None, whole.num_classes)
    trial = Trial(0, name, full_config(name, batch_size=len(data.train)), seed=1, epochs=1)
    group = LaneTrainer(name, static_values(METHODS[name], trial.config), data, device="meta")
    group.store.admit(trial)
    assert all(value.device.type == "meta" for value in group._train_block(slice(0, 1)).values())


@pytest.mark.parametrize("name", [param.values[0] for param in SOLVED])
def test_a_closed_form_of_one_column_a_class_is_that_of_numbers(name):
    data = toy_prepared()
    hot = np.eye(data.num_classes, dtype=bool)[data.train.labels]
    columns = Prepared(Split(data.train.audio, data.train.visual, hot), None, data.num_classes)
    (_, one, _), (_, other, _) = solve(name, data), solve(name, columns)
    for key, value in one.items():
        torch.testing.assert_close(other[key], value, rtol=1e-3, atol=1e-4)


def labels_of(rows=9, classes=4, lanes=2):
    draw = torch.Generator().manual_seed(0)
    labels = torch.rand(lanes, rows, classes, generator=draw) < 0.4
    labels[:, torch.arange(rows), torch.arange(rows) % classes] = True
    return labels, [torch.randn(lanes, rows, width, generator=draw, dtype=torch.float64) for width in (3, 5)]


def test_pairs_weigh_by_the_labels_that_they_share():
    labels, (audio, visual) = labels_of()
    zero = torch.zeros(2, dtype=torch.float64)
    mixed = mixed_moments(class_sums(audio, visual, labels, 4), zero)
    plain = mixed_moments(class_sums(audio, visual, labels, 4), zero + 1)
    cluster = cluster_moments(audio, visual, labels, 4)
    for lane in range(2):
        a, v, hot = (x[lane].numpy() for x in (audio, visual, labels))
        share = hot / hot.sum(1)[:, None]
        weights = np.array([[sum(x * y for x, y in zip(one, other, strict=True)) for other in share] for one in share])
        both = np.cov(np.hstack([a, v]).T)
        np.testing.assert_allclose(plain.cov_aa[lane], both[:3, :3])  # as if there were no labels
        np.testing.assert_allclose(plain.cov_av[lane], both[:3, 3:])
        centred = (a - a.mean(0)).T @ weights @ (v - v.mean(0)) / weights.sum()
        np.testing.assert_allclose(mixed.cov_av[lane], centred, atol=1e-12)
        left, right = np.repeat(a, len(a), 0), np.tile(v, (len(v), 1))
        paired = np.cov(np.hstack([left, right]).T, aweights=weights.reshape(-1), bias=True)
        np.testing.assert_allclose(cluster.cov_aa[lane], paired[:3, :3], atol=1e-12)
        np.testing.assert_allclose(cluster.cov_vv[lane], paired[3:, 3:], atol=1e-12)
        np.testing.assert_allclose(cluster.cov_av[lane], paired[:3, 3:], atol=1e-12)


@pytest.mark.parametrize("smoothing", [0.0, 0.3])
def test_labelled_losses_by_loops(smoothing):
    labels, (z_a, _) = labels_of()
    z_v, head = z_a.flip(1), torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    for lane in range(2):
        entropy = distance = 0.0
        for z in (z_a[lane].numpy(), z_v[lane].numpy()):
            for row, own in zip(z @ head[lane].numpy(), labels[lane].numpy(), strict=True):
                logs = [value - np.log(np.exp(row).sum()) for value in row]
                entropy -= ((1 - smoothing) * np.mean(np.array(logs)[own]) + smoothing * np.mean(logs)) / 9
                distance += np.sqrt(((row - (1 - smoothing) * own - smoothing / 4) ** 2).sum()) / 9
        parts = torch.full((2,), smoothing, dtype=torch.float64)
        assert label_cross_entropy(head, z_a, z_v, labels, parts)[lane].item() == pytest.approx(entropy)
        assert label_l2(head, z_a, z_v, labels, 4, parts)[lane].item() == pytest.approx(distance)


def test_centre_loss_by_loops():
    labels, (e_a, _) = labels_of()
    method = METHODS["vae_cca"]({**full_config("vae_cca"), "centers": "learned", "embedding_dim": 3}, 3, 5, 4)
    centers = torch.randn(2, 4, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    batch = Batch(e_a, e_a, labels, torch.zeros(2, dtype=torch.int32))
    found = method._center({"centers": centers}, batch, e_a, 2 * e_a)
    for lane in range(2):
        of, sizes, total = labels[lane].numpy(), labels[lane].numpy().sum(0), 0.0
        for e in (e_a[lane].numpy(), 2 * e_a[lane].numpy()):
            for row, own in zip(e, of, strict=True):
                apart = [((row - centers[lane, c].numpy()) ** 2).sum() / sizes[c] for c in np.flatnonzero(own)]
                total += np.mean(apart) / 9 / 8
        assert found[lane].item() == pytest.approx(total)


def test_mixup_and_balanced_batches_keep_to_shared_labels():
    data = several_of(toy_prepared())
    labels = torch.tensor(data.train.labels[:12])[None].expand(2, -1, -1)
    partners = class_partners(labels, torch.tensor([3, 4], dtype=torch.int32))
    shares = relevance(labels, labels)
    assert shares.gather(-1, partners[..., None]).all()
    others = partners != torch.arange(12)
    assert torch.equal(others, shares.sum(-1) > 1)
    assert not torch.equal(partners[0], partners[1])
    batches = balanced_rows(1, 0, data.train.labels, 12, 3).reshape(-1, 12)
    for rows in batches:
        assert (data.train.labels[rows].sum(0) >= 3).all()
    trials = some_trials("supcon", 2, SMALL | {"per_class": 3}, {"mixup": True}, epochs=(2, 2))
    alone, together = run_alone(trials, data), run(trials, data, lanes=2)
    for number, curve in alone.curves.items():
        np.testing.assert_allclose(together.curves[number], curve, rtol=1e-10, atol=1e-10)


def test_shares_of_a_clip_sum_to_one():
    labels, _ = labels_of()
    torch.testing.assert_close(label_shares(labels, 4, torch.float64).sum(-1), torch.ones(2, 9).double())


class TakesNumbers(METHODS["clip"]):
    """A method that says nothing of several labels."""

    multi_label = False


class Wrong(METHODS["supcon"]):
    """One that says that it can, and compares labels as numbers."""

    def loss(self, params, buffers, batch, hyper, progress):
        same = batch.labels[:, :, None] == batch.labels[:, None, :]
        z_a, z_v = self.trained(params, buffers, batch, hyper)
        return {"loss": (same * torch.bmm(z_a, z_v.transpose(1, 2))).mean((1, 2))}


def test_a_method_that_cannot_says_so_in_a_sentence(monkeypatch):
    monkeypatch.setitem(METHODS, "mine:TakesNumbers", TakesNumbers)
    monkeypatch.setitem(METHODS, "numbers", TakesNumbers)
    user_code.check_labels("numbers", multi_label=False)
    user_code.check_labels("psd", multi_label=True)
    with pytest.raises(UserError, match=r"numbers learns from one label a clip, .* methods that can: aadml, acmr"):
        user_code.check_labels("numbers", multi_label=True)
    with pytest.raises(UserError, match="say multi_label = True in your code"):
        user_code.check_labels("mine:TakesNumbers", multi_label=True)
    assert overview()[-1] == "Of clips of several labels all but mine:TakesNumbers, numbers learn too."
    assert "labels     one a clip" in details("numbers")


def test_a_training_function_says_so_itself(monkeypatch):
    def train(config, data, report): ...

    monkeypatch.setitem(user_code._functions, "mine:train", train)
    with pytest.raises(UserError, match="mine:train learns from one label a clip"):
        user_code.check_labels("mine:train", multi_label=True)
    train.multi_label = True
    user_code.check_labels("mine:train", multi_label=True)


def test_a_users_method_that_claims_it_in_vain_is_found_out():
    config = full_config("supcon")
    assert broken(Wrong, config, DIMS) is None
    assert "loss raises RuntimeError" in broken(Wrong, config, DIMS, multi_label=True)
