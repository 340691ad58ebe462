"""A whole search with one process a trial: interrupted twice, continued to its end, and quiet all the while.

What a SIGTERM does, and that a signal to the process group reaches the driver alone: test_ray_is_private.py.
"""

import contextlib
import itertools
import os
import re
import signal
import sys

import pytest
from live_search import FAILS, HELD, Live, processes

pytestmark = [
    pytest.mark.ray,
    pytest.mark.long,
    pytest.mark.skipif(sys.platform != "linux", reason="looks at processes through /proc"),
]


def kill_all(pid, number):
    """Signals every process of a search, its driver last."""
    home = next(one.environment["HOME"] for one in processes("HOME=") if one.pid == pid)
    for one in processes(f"HOME={home}\0"):
        if one.pid != pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(one.pid, number)
    os.kill(pid, number)


INTERRUPTS = {
    "to the process group, as a terminal does": (os.killpg, signal.SIGINT, 130, "interrupted"),
    "to every process of the run, before a job's time is over": (kill_all, signal.SIGUSR1, 138, "ended by SIGUSR1"),
}


@pytest.fixture(scope="module")
def story(tmp_path_factory):
    """The runs of one study: those that were interrupted while trials were under way, and the one that ended it."""
    folder = tmp_path_factory.mktemp("story")
    runs = []
    for gate, interrupt in enumerate((*INTERRUPTS.values(), None), 2):
        with Live(folder, gate=gate if interrupt else 99) as live:
            if interrupt is not None:
                live.until_held()
                kill, number, _, _ = interrupt
                kill(live.process.pid, number)
            live.code = live.until_ended()
            live.until_nothing_is_left(60)
            live.out, live.err = live.printed
            live.curves = live.lines()
            runs.append(live)
    return runs


@pytest.mark.parametrize("run", range(len(INTERRUPTS)), ids=INTERRUPTS)
def test_an_interrupt_ends_the_run_with_one_line(run, story):
    _, _, code, word = list(INTERRUPTS.values())[run]
    assert story[run].code == code
    assert story[run].err.splitlines() == [f"avtune: {word}; the same command continues"]


def test_the_same_command_continues_and_loses_nothing(story):
    assert story[-1].code == 0
    assert (story[-1].study / "final" / "metrics.json").exists()
    for before, after in itertools.pairwise(story):
        assert after.curves[: len(before.curves)] == before.curves
        assert len(before.curves) < len(after.curves)


def test_every_trial_ends_once_and_no_epoch_is_counted_twice(story):
    curves = story[-1].curves
    ends = {line["trial"]: line["state"] for line in curves if "state" in line}
    assert [line["trial"] for line in curves if "state" in line] == list(ends)
    assert sorted(ends) == list(range(5))
    assert [number for number, state in ends.items() if state == "FAIL"] == [FAILS], "an interrupt fails no trial"
    epochs = [(line["trial"], line["epoch"]) for line in curves if "epoch" in line]
    assert len(epochs) == len(set(epochs))
    assert {(HELD, epoch) for epoch in range(1, 6)} <= set(epochs)


def test_only_our_own_lines_are_printed(story):
    assert story[-1].err == ""
    for run in story:
        assert "study      results/one" in run.out
        assert not re.search(r"\bray|warning|\btun(e|er|ing)\b|traceback|[─-╿]", run.out, re.IGNORECASE)


def test_a_failed_trial_is_one_line_with_its_traceback_in_the_log(story):
    lines = [line for run in story for line in run.out.splitlines() if re.search(r"\btrial \d+ failed", line)]
    assert len(lines) == 1
    assert re.search(rf"\btrial {FAILS} failed: RuntimeError: planted failure", lines[0])
    log = (story[-1].study / "log.txt").read_text()
    assert log.count("Traceback (most recent call last)") == 1
    assert "its second line" in log
