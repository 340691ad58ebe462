"""What developers read: the loggers on standard error, and the lines of `log.txt`."""

import io
import logging
import re
import sys
from types import SimpleNamespace

import pytest

from avtune.core import log
from avtune.core.errors import StorageError
from avtune.core.output import Output, standard_error
from avtune.study.folder import StudyFolder

LOGGER = logging.getLogger("avtune.somewhere")
STAMP = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d"


def test_the_loggers_are_shown_in_the_block_only(capsys):
    top = logging.getLogger("avtune")
    before = top.level, top.propagate, list(top.handlers)
    LOGGER.debug("before")
    with log.shown():
        assert log.is_shown()
        LOGGER.debug("trial %d", 3)
        logging.getLogger("other").debug("not ours")
    LOGGER.debug("after")
    assert not log.is_shown()
    assert (top.level, top.propagate, top.handlers) == before
    said = capsys.readouterr()
    assert re.fullmatch(rf"{STAMP}\.\d{{3}}Z DEBUG avtune\.somewhere: trial 3\n", said.err)
    assert said.out == ""


def test_nothing_that_steers_a_terminal_is_sent(capsys):
    with log.shown():
        LOGGER.info("a\x1b[31m")
    assert capsys.readouterr().err.endswith(" INFO avtune.somewhere: a\\x1b[31m\n")


def test_our_lines_are_not_among_what_user_code_prints(capsys, tmp_path):
    output = Output(tmp_path / "output" / "trial_0.txt")
    with log.shown(), output.captured():
        print("theirs")
        LOGGER.debug("ours")
    output.close()
    kept = (tmp_path / "output" / "trial_0.txt").read_text()
    assert "theirs" in kept
    assert "ours" not in kept
    assert capsys.readouterr().err.endswith("ours\n")


@pytest.mark.parametrize("terminal", [False, True])
def test_a_live_table_takes_over_a_terminal_and_no_file(terminal, monkeypatch):
    file = io.StringIO()
    file.isatty = lambda: terminal
    proxy = SimpleNamespace(rich_proxied_file=file)  # what Rich puts in place of `sys.stderr`
    monkeypatch.setattr(sys, "stderr", proxy)
    assert standard_error() is (proxy if terminal else file)


def test_what_another_process_said_is_shown_with_its_name(capsys):
    kept = log.Kept()
    with kept.keeping():
        LOGGER.debug("%d lanes", 4)
    LOGGER.debug("not kept")
    lines = kept.taken()
    assert kept.taken() == []
    log.show_again("engine 0", lines)
    assert capsys.readouterr().err == "", "not shown here"
    with log.shown():
        log.show_again("engine 0", lines)
    assert capsys.readouterr().err.endswith(" DEBUG avtune.somewhere: engine 0: 4 lanes\n")


def test_every_line_of_a_study_s_log_has_time_and_level(tmp_path):
    folder = StudyFolder(tmp_path)
    folder.note("engine 0: 4 trials at a time")
    folder.note("trial 3 failed\n  in train\n", "WARNING")
    lines = folder.log.read_text().splitlines()
    assert [re.sub(rf"^{STAMP}Z ", "", line) for line in lines] == [
        "INFO engine 0: 4 trials at a time",
        "WARNING trial 3 failed",
        "WARNING   in train",
    ]
    with pytest.raises(StorageError, match=r"log\.txt cannot be written"):
        log.append_note(tmp_path / "gone" / "log.txt", "x")
