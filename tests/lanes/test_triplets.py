"""Triplet sums against the dense B x B x B formulas, in value and gradient."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from avtune.lanes import triplets
from avtune.lanes.triplets import hard_triplets, semihard_triplets, weighted_triplets
from benchmarks._oracles import dense_weighted, example, loop_hard, loop_semihard, soft_weights, with_gradients


def check(fast, slow, *arguments: Tensor, tolerance: float = 1e-9) -> None:
    """Equal values, and equal gradients."""
    for found, wanted in zip(*(with_gradients(form, *arguments) for form in (fast, slow)), strict=True):
        torch.testing.assert_close(found, wanted, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("grid", [0, 2, 8])
@pytest.mark.parametrize("weights", ["masks", "soft"])
def test_weighted_equals_dense(grid: int, weights: str) -> None:
    dist, same, margin, draw = example(0, grid=grid)
    pos, neg = (same.double(), (~same).double()) if weights == "masks" else soft_weights(same, draw)
    check(weighted_triplets, dense_weighted, dist, pos, neg, margin)


@given(st.integers(0, 2**31), st.integers(1, 3), st.integers(1, 9), st.sampled_from([0, 1, 4]))
@settings(deadline=None, max_examples=60)
def test_weighted_equals_dense_on_small_shapes(seed: int, lanes: int, batch: int, grid: int) -> None:
    dist, _, margin, draw = example(seed, lanes, batch, grid=grid)
    pos, neg = (torch.randint(0, 3, dist.shape, generator=draw).double() for _ in range(2))
    check(weighted_triplets, dense_weighted, dist, pos, neg, margin)


@pytest.mark.parametrize("packed", [True, False])
@given(seed=st.integers(0, 2**31), batch=st.integers(1, 9), grid=st.sampled_from([1, 4, 256]))
@settings(deadline=None, max_examples=60)
def test_weighted_in_float32_is_dense_where_float32_is_exact(packed: bool, seed: int, batch: int, grid: int) -> None:
    """Distances, margins and weights on dyadic grids: no rounding, and ties at zero cost must have gradient 0."""
    dist, _, margin, draw = example(seed, 2, batch, dtype=torch.float32, grid=grid)
    with torch.no_grad():
        dist -= 1
        dist[dist == 0] *= -1  # -0.0
    pos, neg = (torch.randint(0, 3, dist.shape, generator=draw).float() for _ in range(2))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(triplets, "PACKED_BATCH", 512 if packed else 0)
        check(weighted_triplets, dense_weighted, dist, pos, neg, margin, tolerance=0)


@pytest.mark.parametrize("batch", [40, 256, 300])
@pytest.mark.parametrize("packed", [512, 0])
def test_weighted_in_float32_is_close_to_float64(monkeypatch: pytest.MonkeyPatch, batch: int, packed: int) -> None:
    monkeypatch.setattr(triplets, "PACKED_BATCH", packed)
    dist, same, margin, _ = example(0, 2, batch)
    pos, neg = (mask.double() / batch for mask in (same, ~same))
    wanted = weighted_triplets(dist, pos, neg, margin)
    found = weighted_triplets(dist.float(), pos.float(), neg.float(), margin.float())
    torch.testing.assert_close(found.double(), wanted, rtol=1e-5, atol=1e-7)
    # A triplet at the edge may count or not: of the gradients' size, at most a few of `batch` terms.
    gradients = [torch.autograd.grad(value.sum().double(), dist)[0] for value in (found, wanted)]
    torch.testing.assert_close(*gradients, rtol=1e-4, atol=3 / batch**2)


def test_weighted_passes_gradcheck() -> None:
    dist, same, margin, draw = example(3, 2, 6)
    pos, neg = soft_weights(same, draw)
    assert torch.autograd.gradcheck(weighted_triplets, (dist, pos, neg, margin))


def test_weights_and_margin_are_constants() -> None:
    dist, same, margin, draw = example(0)
    pos, neg = (x.requires_grad_() for x in soft_weights(same, draw))
    margin.requires_grad_()
    weighted_triplets(dist, pos, neg, margin).sum().backward()
    assert dist.grad is not None
    assert pos.grad is neg.grad is margin.grad is None


def test_bool_weights_are_masks() -> None:
    dist, same, margin, _ = example(0)
    torch.testing.assert_close(
        weighted_triplets(dist, same, ~same, margin), dense_weighted(dist, same.double(), (~same).double(), margin)
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_lanes_do_not_touch_one_another(monkeypatch: pytest.MonkeyPatch, dtype) -> None:
    monkeypatch.setattr(triplets, "CPU_CHUNK", 100)  # chunks that cut through lanes
    dist, same, margin, draw = example(0, lanes=4, dtype=dtype)
    pos, neg = soft_weights(same, draw, dtype)
    together = weighted_triplets(dist, pos, neg, margin)
    gradient = torch.autograd.grad(together.sum(), dist)[0]
    for lane in range(4):
        alone = [x[lane : lane + 1].detach().clone() for x in (dist, pos, neg, margin)]
        alone[0].requires_grad_()
        value = weighted_triplets(*alone)
        assert torch.equal(value[0], together[lane])
        assert torch.equal(torch.autograd.grad(value.sum(), alone[0])[0][0], gradient[lane])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_number_of_threads_does_not_change_a_bit(dtype) -> None:
    dist, same, margin, draw = example(0, batch=150, dtype=dtype)
    pos, neg = soft_weights(same, draw, dtype)
    before = torch.get_num_threads()
    values = []
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            values.append(weighted_triplets(dist, pos, neg, margin))
    finally:
        torch.set_num_threads(before)
    assert torch.equal(*values)


def test_views_and_repeated_calls() -> None:
    dist, same, margin, draw = example(0)
    pos, neg = soft_weights(same, draw)
    flipped = dist.transpose(1, 2)
    both = weighted_triplets(dist, pos, neg, margin) + weighted_triplets(flipped, pos, neg, margin)
    wanted = dense_weighted(dist, pos, neg, margin) + dense_weighted(flipped, pos, neg, margin)
    gradients = [torch.autograd.grad(value.square().sum(), dist)[0] for value in (both, wanted)]
    torch.testing.assert_close(*gradients, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_not_a_number_is_passed_on(dtype) -> None:
    dist, same, margin, _ = example(0, dtype=dtype)
    with torch.no_grad():
        dist[1, 2, 3] = torch.nan
    value = weighted_triplets(dist, same, ~same, margin)
    assert value[1, 2].isnan()
    assert value.isnan().sum() == 1


@pytest.mark.parametrize("grid", [0, 4])
@pytest.mark.parametrize(("fast", "slow"), [(hard_triplets, loop_hard), (semihard_triplets, loop_semihard)])
@given(seed=st.integers(0, 2**31), batch=st.integers(1, 9), chance=st.sampled_from([0.1, 0.5]))
@settings(deadline=None, max_examples=40)
def test_mined_equals_loops(fast, slow, grid: int, seed: int, batch: int, chance: float) -> None:
    """Masks of any kind: overlapping, with rows without positives or negatives."""
    dist, _, margin, draw = example(seed, 2, batch, grid=grid)
    pos, neg = (torch.rand(dist.shape, generator=draw) < chance for _ in range(2))
    found, wanted = fast(dist, pos, neg, margin), slow(dist, pos, neg, margin)
    for part in (0, 1):
        torch.testing.assert_close(found[part], wanted[part], rtol=1e-9, atol=1e-9)
    if not grid:  # tied distances share the gradient in more than one right way
        gradients = [
            torch.autograd.grad(value.square().sum(), dist)[0] if value.requires_grad else torch.zeros_like(dist)
            for value in (found[0], wanted[0])
        ]
        torch.testing.assert_close(*gradients, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("mine", [hard_triplets, semihard_triplets])
def test_mined_without_any_triplet_is_zero_with_zero_gradient(mine) -> None:
    dist, same, margin, _ = example(0)
    for pos, neg in ((same, same & False), (same & False, ~same)):
        values, counts = mine(dist, pos, neg, margin)
        assert not values.any()
        assert not counts.any()
        assert not torch.autograd.grad(values.sum(), dist)[0].any()


@pytest.mark.parametrize("mine", [hard_triplets, semihard_triplets])
def test_mined_in_float32_and_lane_by_lane(mine) -> None:
    dist, same, margin, _ = example(0, dtype=torch.float32)
    values, counts = mine(dist, same, ~same, margin)
    assert values.dtype == counts.dtype == torch.float32
    exact = mine(dist.double(), same, ~same, margin.double())
    torch.testing.assert_close(values, exact[0].float(), rtol=1e-5, atol=1e-6)
    for lane in range(3):
        alone = mine(dist[lane][None], same[lane][None], ~same[lane][None], margin[lane][None])
        assert torch.equal(alone[0][0], values[lane])
        assert torch.equal(alone[1][0], counts[lane])
