"""`supcon` against loops over anchors, positives and everything else."""

import math

import pytest
from slow_losses import cos, slow_encoder
from test_method_conformance import Setting


def slow_supcon(anchors, others, labels, other_labels, tau, skip):
    """Mean over anchors of the mean over positives p of -log(exp(s_p) / sum over others of exp(s)); `skip(i, j)`: the
    other is the anchor itself."""
    total = 0.0
    for i, (x, label) in enumerate(zip(anchors, labels, strict=True)):
        there = [j for j in range(len(others)) if not skip(i, j)]
        whole = sum(math.exp(cos(x, others[j]) / tau) for j in there)
        positives = [j for j in there if other_labels[j] == label]
        total -= sum(math.log(math.exp(cos(x, others[p]) / tau) / whole) for p in positives) / len(positives)
    return total / len(anchors)


@pytest.mark.parametrize("contrast", ["across", "all"])
def test_loss_is_the_papers_by_loops(contrast):
    setting = Setting("supcon", {"contrast": contrast})
    setting.hyper["dropout"] *= 0
    losses = setting.loss()
    for lane in range(3):
        labels = setting.batch.labels[lane].tolist()
        tau = setting.hyper["tau"][lane].item()
        views = [slow_encoder(setting, view, lane) for view in ("audio", "visual")]
        wanted = []
        for place, anchors in enumerate(views):
            if contrast == "across":
                wanted.append(slow_supcon(anchors, views[1 - place], labels, labels, tau, lambda i, j: False))
            else:
                first = place * len(labels)
                both = views[0] + views[1]
                wanted.append(
                    slow_supcon(anchors, both, labels, labels * 2, tau, lambda i, j, first=first: j == first + i)
                )
        assert losses["l_audio"][lane].item() == pytest.approx(wanted[0], abs=1e-9)
        assert losses["l_visual"][lane].item() == pytest.approx(wanted[1], abs=1e-9)
        assert losses["loss"][lane].item() == pytest.approx(sum(wanted) / 2, abs=1e-9)


def test_classes_of_one_clip_each_make_it_clips_loss():
    one, other = Setting("supcon", {"tau": 0.2}), Setting("clip", {"tau": 0.2})
    for setting in (one, other):
        setting.hyper["dropout"] *= 0
        setting.batch.labels[:] = setting.batch.labels.new_tensor(range(12))
    other.params |= one.params
    assert one.loss()["loss"].tolist() == pytest.approx(other.loss()["loss"].tolist(), abs=1e-10)
