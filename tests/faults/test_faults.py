"""A few of the kills of `make faults`, one study for each runner; see `python -m tests.faults --help`."""

import sys

import pytest
from fault_story import Toy, tell, undisturbed

pytestmark = [
    pytest.mark.ray,
    pytest.mark.slow,
    pytest.mark.long,
    pytest.mark.skipif(sys.platform != "linux", reason="looks at processes through /proc"),
]

FAULTS = {
    "processes": ["driver SIGKILL"],
    "lanes": ["worker SIGKILL", "node SIGKILL", "driver SIGKILL"],
}


SMALL = Toy(trials=8, epochs=9, clips=240, lines=15)


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    return undisturbed(tmp_path_factory.mktemp("expected"), SMALL)


@pytest.mark.parametrize(
    ("runner", "seed"),
    [("processes", 2), ("lanes", 3)],
)
def test_a_killed_study_ends_as_the_undisturbed_one(runner, seed, expected, tmp_path):
    story = tell(seed, tmp_path, 3, expected, runner=runner, faults=FAULTS[runner], what=SMALL)
    assert not story.problems, story
    assert [kill.fault for kill in story.kills] == FAULTS[runner]
