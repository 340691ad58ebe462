"""The validation MAP of all lanes against that of each alone."""

import pytest
import torch

from avtune.engine import validation
from avtune.engine.validation import lane_map, lane_map_on_cpu
from benchmarks._oracles import scored_embeddings


@pytest.mark.parametrize("kind", ["random", "tied", "collapsed"])
@pytest.mark.parametrize("chunk", [1, 700, 1 << 20])
def test_lane_map_is_the_map_of_every_lane(kind, chunk):
    z_a, z_v, labels, expected = scored_embeddings(kind)
    for found, scores in zip(lane_map(z_a, z_v, labels, chunk).tolist(), expected, strict=True):
        assert found == pytest.approx(scores, abs=1e-12)


@pytest.mark.parametrize("kind", ["random", "tied", "collapsed"])
@pytest.mark.parametrize("together", [1, 2, 99])
def test_on_a_cpu_too_whether_lanes_are_scored_together_or_not(kind, together, monkeypatch):
    monkeypatch.setattr(validation, "BLOCK_ITEMS", together * 40**2)
    z_a, z_v, labels, expected = scored_embeddings(kind)
    for found, scores in zip(lane_map_on_cpu(z_a, z_v, labels.numpy(), 1), expected, strict=True):
        assert found == pytest.approx(scores, abs=1e-12)


def test_the_order_of_the_clips_does_not_matter():
    z_a, z_v, labels, _ = scored_embeddings("tied")
    shuffled = torch.randperm(40, generator=torch.Generator().manual_seed(1))
    before = lane_map(z_a, z_v, labels)
    after = lane_map(z_a[:, shuffled], z_v[:, shuffled], labels[shuffled])
    assert torch.allclose(before, after, rtol=0, atol=1e-12)


def test_lane_map_reads_nothing_back():
    """Torch's `meta` device has no values."""
    z_a, z_v, labels, _ = scored_embeddings("random")
    assert lane_map(z_a.to("meta"), z_v.to("meta"), labels.to("meta"), 700).shape == (3, 2)
