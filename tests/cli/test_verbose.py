"""`--verbose`: what avtune decides, on standard error, for developers."""

import logging
import re

import pytest
from toy import write_toy

from avtune.cli import main as cli
from avtune.cli.main import main

DEBUG = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z DEBUG avtune\.[a-z_.]+: .*"


def untimed(printed):
    """Without what depends on how long something took."""
    lines = [re.sub(r"^\d\d:\d\d:\d\d ", "", line) for line in printed.splitlines()]
    steps = [line for line in lines if line.endswith(" ...") or re.search(r": \d+ s$", line)]
    return [re.sub(r" in \d+ s$", "", line) for line in lines if line not in steps]


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        (["doctor"], False),
        (["--verbose", "doctor"], True),
        (["doctor", "--verbose"], True),
        (["--verbose", "doctor", "--verbose"], True),
    ],
)
def test_it_stands_before_or_after_the_verb(words, shown, capsys, monkeypatch):
    def doctor(given, log):
        logging.getLogger("avtune.workflows.doctor").debug("looks at the disk")
        return 0

    monkeypatch.setitem(cli._VERBS, "doctor", doctor)
    assert main(words) == 0
    said = capsys.readouterr()
    assert said.out == ""
    assert bool(re.fullmatch(DEBUG + "\n", said.err)) == shown
    assert bool(said.err) == shown


def test_it_stands_behind_an_action_too(capsys):
    assert main(["space", "list", "--verbose"]) == 0
    assert "psd" in capsys.readouterr().out


def test_a_search_says_what_it_asks_for_and_whom_it_chooses(capsys, tmp_path):
    data, space = write_toy(tmp_path)
    words = ["search", data, "--space", space, "--results", tmp_path / "results", "--runner", "inline", "--gpus", "0"]
    words += ["--trials", "1", "--set", "final.finalists=1", "--set", "final.seeds=2", "--set", "final.reference=none"]
    assert main([*map(str, words), "--name", "a", "--verbose"]) == 0
    loud = capsys.readouterr()
    lines = loud.err.splitlines()
    assert all(re.fullmatch(DEBUG, line) for line in lines)
    assert any("avtune.study.study: ask: trial 0 is suggested as" in line for line in lines)
    assert any("avtune.finals.finish: winner: trial 0," in line for line in lines)
    assert main([*map(str, words), "--name", "b"]) == 0
    quiet = capsys.readouterr()
    assert quiet.err == ""
    assert untimed(quiet.out.replace("results/b", "results/a")) == untimed(loud.out)
