"""What `Placement.text` says can be read again."""

from pathlib import Path

import pytest

from avtune.runners._base import Cluster, Placement
from avtune.runners.placement_text import Places, places_of

CLUSTER = Cluster("10.0.0.1:6379", 8, 4, Path("/shared"))


@pytest.mark.parametrize(
    ("placement", "places", "unit"),
    [
        (Placement(2, 0, 1, 4, 8), Places(8, 2), "lanes"),
        (Placement(1, 1, 8, 64, 64), Places(64, 1), "lanes"),
        (Placement(4, 4, 2, 16, 16, cluster=CLUSTER), Places(64, 4), "lanes"),
        (Placement(2, 0, 1), Places(2, 2), "processes"),
        (Placement(1, 0, 1), Places(1, 1), "processes"),
        (Placement(8, 2, 4, cluster=CLUSTER), Places(8, 8), "processes"),
    ],
)
def test_every_kind_of_placement(placement, places, unit):
    assert places_of(f"runner lanes: {placement.text}, bf16") == places
    assert places.unit == unit


def test_a_text_without_one():
    assert places_of("") is None
    assert places_of("at a time") is None
