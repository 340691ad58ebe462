"""Trials that take their engines down, or hang: they fail, and their neighbours do not."""

from dataclasses import replace

import planted
import pytest
from start_up import plant_function
from test_runner_conformance import Recorder, data, trials

from avtune.runners import lanes as lanes_runner
from avtune.runners._base import Placement

pytestmark = pytest.mark.ray


@pytest.fixture(scope="module")
def bad(tmp_path_factory):
    """Runs a source on engines that some trials take down, see `planted.engine`."""
    folder = tmp_path_factory.mktemp("start_up")
    plant_function(folder, "avtune.engine.engine", "planted.engine(module.Engine)")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(folder))
        with lanes_runner.opened(Placement(2, 0, 1, 2, max_failures=2, timeout=3.0), 1 << 20) as call:
            yield lambda source: call(source, data())


@pytest.mark.long
def test_trials_that_take_engines_down_or_hang_fail_and_their_neighbours_do_not(bad):
    listed = trials(5, epochs=4)
    listed[1] = replace(listed[1], seed=planted.DIES)
    listed[2] = replace(listed[2], seed=planted.HANGS)
    source = Recorder(listed)
    bad(source)
    assert source.exhausted
    assert source.ends[1] == ("its engine died (2 times)", "")
    assert source.ends[2][0] == "its engine trained no epoch in 3 s (2 times)"
    assert "in _hang" in source.ends[2][1]
    assert [source.ends[number][0] for number in (0, 3, 4)] == [None] * 3
