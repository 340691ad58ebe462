"""Worker processes that die, report nonsense or leave slowly: the traps of Ray Tune, each with its test."""

import contextlib
import os
import signal
from pathlib import Path

import numpy as np
import pytest
from start_up import plant_function
from test_runner_conformance import Recorder, data

from avtune.core.trial import Trial
from avtune.runners import processes as processes_runner
from avtune.runners._base import Placement

pytestmark = pytest.mark.ray


@contextlib.contextmanager
def opened(folder, timeout=None):
    """Runs a source with `planted.train` in place of the training, planted through Python's own start-up hook."""
    plant_function(folder, "avtune.runners.work", "module.train = planted.train")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(folder))
        with processes_runner.opened(Placement(2, 0, 1, max_failures=2, timeout=timeout), 1 << 20) as call:
            yield lambda source: call(source, data())


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    with opened(tmp_path_factory.mktemp("start_up")) as call:
        yield call


def trials(kind, count):
    return [Trial(number, kind, {}, 0, 3) for number in range(count)]


class Killer(Recorder):
    """Kills the process of trial 1 after its first epoch, so many times; the planted training tells its process id."""

    def __init__(self, listed, times):
        super().__init__(listed)
        self.left = times

    def report(self, number, epoch, metrics):
        if number == 1 and epoch == 1 and self.left:
            os.kill(int(metrics["pid"]), signal.SIGKILL)
            self.left -= 1
        return super().report(number, epoch, metrics)


@pytest.mark.long
def test_a_trial_that_hangs_fails_with_its_stack_and_the_others_go_on(tmp_path):
    """Before the others: it has a Ray of its own, with a time limit."""
    source = Recorder(trials("hangs", 3))
    with opened(tmp_path, timeout=3.0) as run:
        run(source)
    assert source.exhausted
    assert source.ends[1][0] == "it trained no epoch in 3 s (2 times)"
    assert "in _hangs" in source.ends[1][1]
    assert [source.ends[number][0] for number in (0, 2)] == [None] * 2


def test_a_trial_whose_process_is_killed_is_trained_again(run):
    source = Killer(trials("pids", 4), times=1)
    run(source)
    assert source.exhausted
    assert [failure for failure, _ in source.ends.values()] == [None] * 4
    assert [epoch for epoch, _ in source.reports[1]] == [1, 1, 2, 3]


@pytest.mark.long
def test_a_trial_whose_process_is_killed_again_and_again_fails_and_the_others_go_on(run):
    source = Killer(trials("pids", 4), times=9)
    run(source)
    assert source.exhausted
    assert source.ends[1][0] == "its process died (2 times)"
    assert source.left == 7
    assert [source.ends[number][0] for number in (0, 2, 3)] == [None] * 3


def test_tune_prints_nothing_of_a_trial_that_dies_before_its_first_epoch(run, capfd):
    source = Recorder(trials("dies", 2))
    run(source)
    assert source.ends[1][0] == "its process died (2 times)"
    assert source.ends[0][0] is None
    assert capfd.readouterr() == ("", "")


def test_trials_keep_the_working_directory(run):
    source = Recorder(trials("pids", 1))
    run(source)
    assert source.reports[0][0][1]["cwd"] == str(Path.cwd())


def test_odd_metric_values_reach_the_source_and_hurt_nobody(run):
    source = Recorder(trials("odd", 4))
    run(source)
    assert source.exhausted
    seen = [source.reports[number][0][1].get("val_map") for number in range(4)]
    assert seen[0] is None
    assert np.isnan(seen[1])
    assert "object" in seen[2]
    assert seen[3] is None


@pytest.mark.long
def test_slow_leavers_do_not_hang_reused_workers(run):
    """A worker that needs longer than Tune's default of 2 s to leave a stopped trial is used again all the same."""
    source = Recorder(trials("slow", 3), stop_after={0: 1, 1: 1})
    run(source)
    assert source.exhausted
    assert [failure for failure, _ in source.ends.values()] == [None] * 3
    pids = {metrics["pid"] for reports in source.reports.values() for _, metrics in reports}
    assert len(pids) < 3, "workers served again"


def test_an_error_of_the_source_ends_the_run_and_comes_out(run):
    class Full(Recorder):
        def report(self, number, epoch, metrics):
            raise OSError("no space left")

    with pytest.raises(OSError, match="no space left"):
        run(Full(trials("pids", 4)))
