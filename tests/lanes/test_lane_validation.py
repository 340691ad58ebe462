"""The validation MAP of all lanes against that of each alone."""

import pytest
import torch

from avtune.lanes import validation
from avtune.lanes.validation import lane_map, lane_map_on_cpu
from avtune.metrics import retrieval_scores


def embeddings(kind):
    """(audio [3, 40, 6], visual, labels) of three lanes, and the two scores of each."""
    draw = torch.Generator().manual_seed(0)
    z_a, z_v = (torch.randn(3, 40, 6, generator=draw) for _ in range(2))
    if kind != "random":  # axes and their opposites, whose cosines are exact in any order of summation; rows of zeros
        axes = torch.cat([torch.eye(6), -torch.eye(6), torch.zeros(1, 6)])
        z_a, z_v = (axes[torch.randint(0, 13, (3, 40), generator=draw)] for _ in range(2))
    if kind == "collapsed":  # two of the lanes
        z_a[1:] = z_v[1:] = axes[0]
    labels = torch.randint(0, 4, (40,), generator=draw)
    scores = [retrieval_scores(a.numpy(), v.numpy(), labels.numpy()) for a, v in zip(z_a, z_v, strict=True)]
    return z_a, z_v, labels, [[score.map_a2v, score.map_v2a] for score in scores]


@pytest.mark.parametrize("kind", ["random", "tied", "collapsed"])
@pytest.mark.parametrize("chunk", [1, 700, 1 << 20])
def test_lane_map_is_the_map_of_every_lane(kind, chunk):
    z_a, z_v, labels, expected = embeddings(kind)
    for found, scores in zip(lane_map(z_a, z_v, labels, chunk).tolist(), expected, strict=True):
        assert found == pytest.approx(scores, abs=1e-12)


@pytest.mark.parametrize("kind", ["random", "tied", "collapsed"])
@pytest.mark.parametrize("together", [1, 2, 99])
def test_on_a_cpu_too_whether_lanes_are_scored_together_or_not(kind, together, monkeypatch):
    monkeypatch.setattr(validation, "BLOCK_ITEMS", together * 40**2)
    z_a, z_v, labels, expected = embeddings(kind)
    for found, scores in zip(lane_map_on_cpu(z_a, z_v, labels.numpy(), 1), expected, strict=True):
        assert found == pytest.approx(scores, abs=1e-12)


def test_the_order_of_the_clips_does_not_matter():
    z_a, z_v, labels, _ = embeddings("tied")
    shuffled = torch.randperm(40, generator=torch.Generator().manual_seed(1))
    before = lane_map(z_a, z_v, labels)
    after = lane_map(z_a[:, shuffled], z_v[:, shuffled], labels[shuffled])
    assert torch.allclose(before, after, rtol=0, atol=1e-12)


def test_lane_map_reads_nothing_back():
    """Torch's `meta` device has no values."""
    z_a, z_v, labels, _ = embeddings("random")
    assert lane_map(z_a.to("meta"), z_v.to("meta"), labels.to("meta"), 700).shape == (3, 2)
