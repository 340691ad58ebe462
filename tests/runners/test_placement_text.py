"""What `Placement.text` says can be read again."""

from pathlib import Path

import pytest

from avtune.runners._base import Cluster, Placement
from avtune.runners.placement_text import Places, places_of

CLUSTER = Cluster("10.0.0.1:6379", 8, 4, Path("/shared"))


@pytest.mark.parametrize(
    ("placement", "at_a_time", "processes"),
    [
        (Placement(2, 0, 1, 4, 8), 8, 2),
        (Placement(1, 1, 8, 64, 64), 64, 1),
        (Placement(4, 4, 2, 16, 16, cluster=CLUSTER), 64, 4),
        (Placement(2, 0, 1), 2, 2),
        (Placement(1, 0, 1), 1, 1),
        (Placement(8, 2, 4, cluster=CLUSTER), 8, 8),
    ],
)
@pytest.mark.parametrize(("runner", "unit"), [("lanes", "lanes"), ("processes", "processes"), ("inline", "processes")])
def test_every_kind_of_placement(placement, at_a_time, processes, runner, unit):
    assert places_of(f"runner {runner}: {placement.text}, bf16") == Places(at_a_time, processes, unit)


def test_a_text_without_one():
    assert places_of("") is None
    assert places_of("at a time") is None
