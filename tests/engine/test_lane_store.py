"""The fused tensors of a lane group, without training."""

import pytest
import torch

from avtune.core.trial import Trial
from avtune.engine.lane_store import LARGE, LaneStore
from avtune.methods import METHODS, check_config, static_values

KIND = METHODS["triplet"]
WIDE = {"hidden_dim": 256, "embedding_dim": 8}


def store_of(capacity=3, exact=False, dims=(130, 140, 4)):
    method = KIND(static_values(KIND, check_config(KIND, WIDE)), *dims)
    return LaneStore(method, capacity=capacity, device=torch.device("cpu"), dtype=torch.float32, exact=exact)


def trial(number):
    return Trial(
        number, "triplet", check_config(KIND, WIDE | {"margin": number / 10}), seed=number, epochs=9, horizon=7
    )


def equal(left, right):
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


def test_the_last_lane_moves_into_one_that_is_freed():
    store, trials = store_of(), [trial(number) for number in range(3)]
    for epoch, one in enumerate(trials):
        store.admit(one, epoch=epoch)
    state = store.state(trials[2])
    store.release(trials[0])
    assert store.trials == [trials[2], trials[1]]
    assert equal(store.state(trials[2]), state)
    view = store.view(slice(0, 2))
    assert view.hyper["margin"].tolist() == pytest.approx([0.2, 0.1])
    assert view.progress.epoch.tolist() == [2, 1]
    assert view.progress.epochs.tolist() == [7, 7]


@pytest.mark.parametrize("exact", [False, True])
def test_a_state_goes_on_in_another_store(exact):
    one, other = store_of(exact=exact), store_of(capacity=2, exact=not exact)
    one.admit(trial(1))
    for value in (*one.view(slice(0, 1)).params.values(), *one.moments.values()):
        value.normal_()
    other.admit(trial(2))
    other.admit(trial(1), one.state(trial(1)), epoch=4)
    assert equal(other.state(trial(1)), one.state(trial(1)))
    assert other.epochs.tolist() == [0, 4]


def test_a_state_of_another_group_is_refused():
    store = store_of()
    other = store_of(dims=(131, 140, 4))
    other.admit(trial(0))
    with pytest.raises(ValueError, match=r"the state of a lane of another group: buffers\.audio"):
        store.admit(trial(0), other.state(trial(0)))


def test_small_parameters_are_views_of_one_stack():
    store = store_of()
    store.admit(trial(0))
    small = store.small["params"]
    for name, value in store.view(slice(0, 1)).params.items():
        is_view = value.untyped_storage().data_ptr() == small.untyped_storage().data_ptr()
        assert is_view == (value[0].numel() < LARGE), name


def test_lanes_of_an_exact_store_are_aligned_like_tensors_of_their_own():
    store = store_of(exact=True)
    for number in range(3):
        store.admit(trial(number))
    for name, value in store.view(slice(0, 3)).params.items():
        if value[0].numel() >= LARGE:
            assert {(value[lane].data_ptr() - value[0].data_ptr()) % 512 for lane in range(3)} == {0}, name
