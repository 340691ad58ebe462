"""The terms of `psd` against slow double and triple loops written from their definitions."""

import math

import pytest
import torch
from slow_losses import slow_triplets
from test_method_conformance import Setting

from avtune.lanes.modules import Dropout, encoder
from avtune.methods import METHODS, Progress


def distances(z_a, z_v):
    unit_a, unit_v = z_a / z_a.norm(dim=1, keepdim=True), z_v / z_v.norm(dim=1, keepdim=True)
    return 1 - unit_a @ unit_v.T


def slow_soft(d, scores, tau, margin):
    rows = range(len(d))
    total = 0.0
    for i in rows:
        weights = [math.exp(scores[i][j] / tau) for j in rows]
        s = [w / sum(weights) for w in weights]
        far = [1 - value for value in s]
        q = [value / sum(far) for value in far]
        total += sum(s[p] * q[n] * max(0, d[i][p] - d[i][n] + margin) for p in rows for n in rows)
    return total / len(d)


def embeddings(setting):
    """Training-mode embeddings [L, B, D] of both views without dropout."""
    none = Dropout(setting.batch.dropout_keys, torch.zeros(3).double())
    buffers = {name: value.clone() for name, value in setting.buffers.items()}
    return [
        encoder(setting.params, buffers, f"{view}.", getattr(setting.batch, view), none) for view in ("audio", "visual")
    ]


@pytest.mark.parametrize("mining", ["all", "hard", "semihard"])
@pytest.mark.parametrize("swap", [False, True])
def test_cross_modal_loss_is_the_triple_loop(mining, swap):
    setting = Setting("psd", {"mining": mining, "soft_swap": swap})
    setting.hyper["dropout"] *= 0
    setting.hyper["margin"] += 0.3
    losses = setting.loss()
    ratios = setting.method.schedules(setting.hyper, setting.progress)["r"].tolist()
    z_a, z_v = embeddings(setting)
    for lane in range(3):
        labels = setting.batch.labels[lane].tolist()
        margin, tau, r = setting.hyper["margin"][lane].item(), setting.hyper["tau"][lane].item(), ratios[lane]
        known = round(r * len(labels))
        assert 1 < known < len(labels) - 1
        total = 0.0
        d_av = distances(z_a[lane], z_v[lane])
        for d, other in ((d_av, d_av.T), (d_av.T, d_av)):
            hard = slow_triplets(d[:known, :known].tolist(), labels[:known], margin, mining)
            scores = 1 - (other if swap else d)[known:, known:]
            soft = slow_soft(d[known:, known:].tolist(), scores.tolist(), tau, margin)
            total += (r * hard + (1 - r) * soft) / 2
        assert losses["l_cross"][lane].item() == pytest.approx(total, rel=1e-9)


def test_labelled_and_distance_terms_are_their_formulas():
    setting = Setting("psd", {})
    setting.hyper["dropout"] *= 0
    losses = setting.loss()
    z_a, z_v = embeddings(setting)
    for lane in range(3):
        head = setting.params["head.weight"][lane]
        labelled = paired = 0.0
        for i, label in enumerate(setting.batch.labels[lane].tolist()):
            one_hot = [float(c == label) for c in range(3)]
            for z in (z_a, z_v):
                labelled += math.dist((z[lane, i] @ head).tolist(), one_hot)
            paired += math.dist(z_a[lane, i].tolist(), z_v[lane, i].tolist())
        rows = setting.batch.labels.shape[1]
        assert losses["l_lab"][lane].item() == pytest.approx(labelled / rows)
        assert losses["l_dis"][lane].item() == pytest.approx(paired / rows)


def test_cross_entropy_option_is_torchs():
    setting = Setting("psd", {"label_loss": "cross_entropy"})
    setting.hyper["dropout"] *= 0
    z_a, z_v = embeddings(setting)
    for lane in range(3):
        wanted = sum(
            torch.nn.functional.cross_entropy(z[lane] @ setting.params["head.weight"][lane], setting.batch.labels[lane])
            for z in (z_a, z_v)
        )
        torch.testing.assert_close(setting.loss()["l_lab"][lane], wanted)


def test_decorrelation_option_is_the_off_diagonal_energy():
    setting = Setting("psd", {"distance_loss": "decorrelation"})
    setting.hyper["dropout"] *= 0
    z_a, z_v = embeddings(setting)
    width = z_a.shape[-1]
    for lane in range(3):
        both = torch.corrcoef(torch.cat([z_a[lane], z_v[lane]], 1).T)[:width, width:]
        wanted = (both.square().sum() - both.diagonal().square().sum()) / width
        torch.testing.assert_close(setting.loss()["l_dis"][lane], wanted, rtol=1e-3, atol=1e-6)


def test_class_probability_option_agrees_on_confident_classes():
    setting = Setting("psd", {"soft_labels": "class_probability"})
    free = torch.ones(3, 12).double()
    z = torch.eye(5).double()[:3][setting.batch.labels]
    setting.params["head.weight"] = torch.eye(5).double()[None, :, :3].repeat(3, 1, 1)
    setting.hyper["tau"] = torch.full((3,), 0.01).double()
    none = torch.zeros(3, 12, 12).double()
    soft, _ = setting.method._soft_labels(
        setting.params, setting.buffers, setting.batch, setting.hyper, (none, none), z, z, free
    )
    same = setting.batch.labels[:, :, None] == setting.batch.labels[:, None, :]
    torch.testing.assert_close(soft, same.double() / same.sum(2, keepdim=True))


@pytest.mark.parametrize("source", ["similarity", "class_probability"])
@pytest.mark.parametrize("teacher", ["self", "ema"])
def test_soft_labels_are_distributions_over_unannotated_columns(source, teacher):
    setting = Setting("psd", {"soft_labels": source, "teacher": teacher})
    free = torch.arange(12) >= torch.tensor([[0], [5], [11]])
    z_a, z_v = embeddings(setting)
    d = torch.stack([distances(a, v) for a, v in zip(z_a, z_v, strict=True)])
    for soft in setting.method._soft_labels(
        setting.params, setting.buffers, setting.batch, setting.hyper, (d, d.transpose(1, 2)), z_a, z_v, free.double()
    ):
        torch.testing.assert_close(soft.sum(2), free.double())
        assert (soft[~(free[:, :, None] & free[:, None, :])] == 0).all()


def test_the_averaged_teacher_follows_the_weights():
    setting = Setting("psd", {"teacher": "ema"})
    before = setting.buffers["teacher.head.weight"].clone()
    setting.params["head.weight"] = setting.params["head.weight"] + 1
    setting.hyper["ema_decay"] = torch.tensor([0.0, 0.5, 0.9]).double()
    setting.method.after_step(setting.params, setting.buffers, setting.hyper)
    moved = (setting.buffers["teacher.head.weight"] - before).flatten(1).mean(1)
    torch.testing.assert_close(moved, torch.tensor([1.0, 0.5, 0.1]).double())


@pytest.mark.parametrize(
    ("schedule", "middle"),
    [("exponential", 0.8 * 0.5**4), ("linear", 0.8 * 0.75), ("cosine", 0.8 * 0.75)],
)
def test_r_starts_at_r_init_and_shrinks(schedule, middle):
    setting = Setting("psd", {"r_schedule": schedule})
    values = {"r_init": 0.8, "r_shrink": 0.5, "r_min": 0.0}
    hyper = {name: torch.full((3,), value).double() for name, value in values.items()}
    progress = Progress(torch.tensor([0.0, 4.0, 8.0]).double(), torch.full((3,), 9.0).double())
    r = setting.method.schedules(hyper, progress)["r"]
    assert r[0].item() == pytest.approx(0.8)
    assert r[1].item() == pytest.approx(middle)
    assert r[2].item() == pytest.approx(0.8 * 0.5**8 if schedule == "exponential" else 0.4)
    hyper["r_min"] = torch.full((3,), 0.6).double()
    assert setting.method.schedules(hyper, progress)["r"].min().item() == pytest.approx(0.6)


@pytest.mark.parametrize("schedule", ["exponential", "linear", "cosine"])
def test_r_never_rises_to_an_r_min_above_r_init(schedule):
    setting = Setting("psd", {"r_schedule": schedule})
    hyper = {name: torch.full((3,), value) for name, value in {"r_init": 0.3, "r_shrink": 0.5, "r_min": 0.5}.items()}
    progress = Progress(torch.tensor([0.0, 4.0, 8.0]), torch.full((3,), 9.0))
    assert setting.method.schedules(hyper, progress)["r"].tolist() == pytest.approx([0.3] * 3)


def test_triplet_is_psd_with_every_clip_annotated():
    psd, triplet = Setting("psd", {}), Setting("triplet", {})
    psd.hyper |= {"r_init": torch.ones(3).double(), "r_shrink": torch.ones(3).double()}
    for term, value in triplet.loss().items():
        torch.testing.assert_close(psd.loss()[term], value)


def test_hard_triplet_only_mines_hard():
    mining = next(hyper for hyper in METHODS["hard_triplet"].hypers if hyper.name == "mining")
    assert mining.values == ("hard",)
    hard, other = Setting("hard_triplet", {}), Setting("triplet", {"mining": "hard"})
    torch.testing.assert_close(hard.loss()["loss"], other.loss()["loss"])
