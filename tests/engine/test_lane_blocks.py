"""Which lanes a CPU trains together."""

import itertools

import pytest
from toy import toy_prepared

from avtune.core.trial import Trial
from avtune.engine import blocks as engine_blocks
from avtune.engine.lane_trainer import LaneTrainer
from avtune.methods import METHODS, check_config, static_values


def group(lanes, block=None, **hypers):
    config = check_config(METHODS["triplet"], {"embedding_dim": 4, **hypers})
    made = LaneTrainer(
        "triplet", static_values(METHODS["triplet"], config), toy_prepared(), capacity=lanes, block=block
    )
    for number in range(lanes):
        made.store.admit(Trial(number, "triplet", config, seed=number, epochs=2))
    return made


def sizes(made):
    blocks = made.blocks()
    assert blocks[0].start == 0
    assert all(one.stop == other.start for one, other in itertools.pairwise(blocks))
    assert blocks[-1].stop == made.num_active
    return [block.stop - block.start for block in blocks]


@pytest.mark.parametrize(("lanes", "expected"), [(1, [1]), (2, [1, 1]), (3, [2, 1]), (4, [2, 2]), (7, [4, 3])])
def test_wide_lanes_are_trained_half_at_a_time(lanes, expected):
    assert sizes(group(lanes)) == expected


@pytest.mark.parametrize(("lanes", "expected"), [(1, [1]), (4, [4]), (16, [16]), (17, [9, 8])])
def test_narrow_lanes_are_trained_together(lanes, expected):
    assert sizes(group(lanes, hidden_dim=8)) == expected


@pytest.mark.parametrize(("fit", "expected"), [(3, [3, 3, 2]), (1.5, [1] * 8), (0.1, [1] * 8), (99, [4, 4])])
def test_of_wide_lanes_only_as_many_as_a_block_has_room_for(fit, expected, monkeypatch):
    made = group(8)
    params, _ = made.store.weights(made.store.trials[0])
    monkeypatch.setattr(engine_blocks, "BLOCK_BYTES", int(fit * sum(value.nbytes for value in params.values())))
    assert sizes(made) == expected


def test_a_block_that_was_asked_for_is_not_changed():
    assert sizes(group(5, block=5)) == [5]
