"""The validation MAP of all lanes against that of each alone."""

import numpy as np
import pytest
import torch

from avtune.core.objective import objective
from avtune.engine import validation
from avtune.engine.lane_map import lane_map
from avtune.engine.validation import lane_map_on_cpu
from avtune.metrics import cutoffs, retrieval_scores
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


@pytest.mark.parametrize("chunk", [1, 1 << 20])
def test_clips_of_several_labels(chunk, monkeypatch):
    generator = torch.Generator().manual_seed(2)
    labels = torch.rand(36, 5, generator=generator) < 0.3
    labels[torch.arange(36), torch.arange(36) % 5] = True
    z_a, z_v = (torch.randn(2, 36, 3, generator=generator).round(decimals=1) for _ in "av")
    lone = [retrieval_scores(a.numpy(), v.numpy(), labels.numpy()) for a, v in zip(z_a, z_v, strict=True)]
    expected = [pytest.approx((one.map_a2v, one.map_v2a), abs=1e-6) for one in lone]
    assert lane_map(z_a, z_v, labels, chunk).tolist() == expected
    monkeypatch.setattr(validation, "BLOCK_ITEMS", 2 * 36**2 if chunk > 1 else 1)
    assert lane_map_on_cpu(z_a, z_v, labels.numpy(), 1) == [(one.map_a2v, one.map_v2a) for one in lone]


def test_classes_of_very_different_sizes_and_labels_that_are_no_numbers_from_zero():
    generator = torch.Generator().manual_seed(2)
    labels = torch.tensor([7] * 30 + [-3] * 5 + [100])
    z_a, z_v = (torch.randn(2, 36, 3, generator=generator).round(decimals=1) for _ in "av")
    for lane, found in enumerate(lane_map(z_a, z_v, labels, 100).tolist()):
        scores = retrieval_scores(z_a[lane].numpy(), z_v[lane].numpy(), labels.numpy())
        assert found == pytest.approx((scores.map_a2v, scores.map_v2a), abs=1e-6)


def slow_objective(audio, visual, labels, text):
    """The value of an objective of one lane, from the scores that `evaluate` shows."""
    views = audio.numpy(), visual.numpy(), labels.numpy()
    if "->" in text:
        scores = retrieval_scores(*views)
        return 0.7 * scores.map_a2v + 0.3 * scores.map_v2a
    found = cutoffs(*views, ks=[5])
    name = {"map@r": "map_at_r", "ndcg": "ndcg"}.get(text, "map_at_k")
    return float(np.mean([getattr(found, f"{name}_a2v"), getattr(found, f"{name}_v2a")]))


@pytest.mark.parametrize("kind", ["random", "tied", "collapsed"])
@pytest.mark.parametrize("text", ["map@r", "map@5", "ndcg", "7*audio->visual+3*visual->audio"])
def test_what_is_maximised_is_the_score_of_every_lane_beside_its_map(kind, text, monkeypatch):
    z_a, z_v, labels, maps = scored_embeddings(kind)
    wanted = objective(text)
    true = [slow_objective(*lane, labels, text) for lane in zip(z_a, z_v, strict=True)]
    for together in (1, 2):
        monkeypatch.setattr(validation, "BLOCK_ITEMS", together * 40**2)
        on_cpu = lane_map_on_cpu(z_a, z_v, labels.numpy(), 1, wanted)
        named = [validation.named_scores(one, wanted) for one in on_cpu]
        assert [one["val_objective"] for one in named] == pytest.approx(true, abs=1e-12)
        assert [one["val_map"] for one in named] == pytest.approx([sum(both) / 2 for both in maps], abs=1e-12)
    for chunk in (700, 1 << 20):
        on_gpu = lane_map(z_a, z_v, labels, chunk, wanted).tolist()
        named = [validation.named_scores(tuple(one), wanted) for one in on_gpu]
        assert [one["val_objective"] for one in named] == pytest.approx(true, abs=1e-12)


def test_a_cut_off_beyond_the_clips_looks_at_all_of_them():
    z_a, z_v, labels, maps = scored_embeddings("tied")
    beyond = objective("map@500")
    for found in (
        lane_map_on_cpu(z_a, z_v, labels.numpy(), 1, beyond),
        lane_map(z_a, z_v, labels, 99, beyond).tolist(),
    ):
        assert [one[2] for one in found] == pytest.approx([sum(both) / 2 for both in maps], abs=1e-12)
