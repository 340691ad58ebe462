"""Engines of the runner `lanes` under Ray: killed ones are replaced, and a driver's error comes out."""

import os
import signal
from pathlib import Path

import pytest
from test_runner_conformance import Recorder, data, trials

from avtune.runners import lanes as lanes_runner
from avtune.runners._base import Placement

pytestmark = pytest.mark.ray


@pytest.fixture(scope="module")
def run():
    with lanes_runner.opened(Placement(2, 0, 1, 2), 1 << 20) as call:
        yield lambda source: call(source, data())


def engine_processes():
    """Process ids of this run's engines: Ray's workers with the run's own token, named after what they run."""
    token = f"RAY_AUTH_TOKEN={os.environ['RAY_AUTH_TOKEN']}".encode()
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if b"ImplicitFunc" in (entry / "cmdline").read_bytes() and token in (entry / "environ").read_bytes():
                found.append(int(entry.name))
        except OSError:  # gone, or another user's
            continue
    return found


class Killer(Recorder):
    """Kills an engine once, after the first report of trial 1."""

    killed = 0

    def report(self, number, epoch, metrics):
        if number == 1 and not self.killed:
            pids = engine_processes()
            assert pids, "no engine process found"
            os.kill(pids[0], signal.SIGKILL)
            self.killed = pids[0]
        return super().report(number, epoch, metrics)


def test_trials_of_a_killed_engine_are_trained_by_another(run):
    source = Killer(trials(6, epochs=40))
    run(source)
    assert source.killed
    assert source.exhausted
    assert [failure for failure, _ in source.ends.values()] == [None] * 6
    for reports in source.reports.values():
        last = {}
        for epoch, metrics in reports:
            assert last.setdefault(epoch, metrics["loss"]) == metrics["loss"], "the second run repeats the first"
        assert sorted(last) == list(range(1, 41))


def test_an_error_of_the_source_ends_the_run_and_comes_out(run):
    class Full(Recorder):
        def report(self, number, epoch, metrics):
            raise OSError("no space left")

    with pytest.raises(OSError, match="no space left"):
        run(Full(trials(4)))
