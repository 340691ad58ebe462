"""A story of `make node-stories`; see `python -m tests.node_stories --help`."""

import json
import sys
from dataclasses import asdict
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[1] / "faults"))

from fault_story import undisturbed
from node_apart import told_apart
from node_machines import missing
from node_story import DRIVER, ENGINE, WHAT, Told, drawn

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="machines are namespaces")


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.long
def test_a_search_without_a_shared_folder_goes_on_and_ends_as_on_one_machine(tmp_path):
    """An engine on the machine that does not see the folder is killed, then the driver; lane files travel both ways."""
    if why := missing():
        pytest.skip(why)
    story = told_apart(Told(0, 2, False), [ENGINE, DRIVER], tmp_path, undisturbed(tmp_path, WHAT))
    assert story.problems == []
    assert story.events == [ENGINE, DRIVER]
    assert story.commands == 2


def test_a_story_that_has_been_told_is_not_told_again(tmp_path):
    told = Told(7, 2, True, ["node added"], 1, 9, 3.0, "lanes", ["lost"])
    (tmp_path / "7.json").write_text(json.dumps(asdict(told)))
    assert told_apart(*drawn(7), tmp_path, {}) == told


def test_a_seed_tells_the_same_story_again():
    stories = [drawn(seed) for seed in range(40)]
    assert stories == [drawn(seed) for seed in range(40)]
    assert {told.shared for told, _ in stories} == {True, False}
    assert {told.machines for told, _ in stories} == {2, 4, 8}
