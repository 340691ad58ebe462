import numpy as np
import pytest
import torch

from avtune.core.seeds import mix
from avtune.lanes.noise import init_generator, random_bytes, row_order, step_keys


def keys_of(*seeds, step=0):
    return torch.tensor(step_keys(np.array(seeds, np.int64), np.full(len(seeds), step, np.int64)))


def test_bytes_are_uniform():
    counts = torch.bincount(random_bytes(keys_of(5), 1 << 20, 0).reshape(-1).long(), minlength=256).double()
    expected = (1 << 20) / 256
    chi_square = ((counts - expected) ** 2 / expected).sum().item()
    assert 170 < chi_square < 350  # 255 degrees of freedom: mean 255, sd 23


@pytest.mark.parametrize("other", ["seed", "step", "stream", "neighbour"])
def test_different_uses_are_uncorrelated(other):
    size = 1 << 18
    one = random_bytes(keys_of(7), size, 0)
    two = {
        "seed": random_bytes(keys_of(8), size, 0),
        "step": random_bytes(keys_of(7, step=1), size, 0),
        "stream": random_bytes(keys_of(7), size, 1),
        "neighbour": torch.roll(one, 1),
    }[other]
    correlation = torch.corrcoef(torch.stack([one.reshape(-1), two.reshape(-1)]).double())[0, 1].item()
    assert abs(correlation) < 5 / size**0.5


def test_a_lane_draws_what_it_draws_alone():
    together = random_bytes(keys_of(1, 2, 3), 1001, 2)
    assert torch.equal(together[1:2], random_bytes(keys_of(2), 1001, 2))


def test_more_bytes_begin_with_the_same():
    assert torch.equal(random_bytes(keys_of(1), 64, 0), random_bytes(keys_of(1), 640, 0)[:, :64])


def test_large_seeds_are_taken():
    assert len(np.unique(step_keys(np.array([2**62 + 1, 2**62 + 2, 5]), np.array([0, 0, 10**9])))) == 3


def test_row_orders_are_permutations_that_change_with_seed_and_epoch():
    orders = [row_order(seed, epoch, 50) for seed in (1, 2) for epoch in (0, 1)]
    assert all(sorted(order) == list(range(50)) for order in orders)
    assert len({tuple(order) for order in orders}) == 4
    assert np.array_equal(row_order(1, 0, 50), orders[0])


def test_initial_weights_depend_on_the_seed_alone():
    one, two, other = (torch.rand(5, generator=init_generator(seed)) for seed in (3, 3, 4))
    assert torch.equal(one, two)
    assert not torch.equal(one, other)


def test_mixed_seeds_differ_by_part_and_order():
    made = {mix(1, 2), mix(2, 1), mix(1, "a"), mix(1, "b"), mix(1), mix(1, 0), mix("ab"), mix("ba"), mix(-1)}
    assert len(made) == 9
    assert all(0 <= seed < 2**63 for seed in made)
    assert mix(1, "order", 2) == 3310163084308514950
