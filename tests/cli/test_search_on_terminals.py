"""What a search writes to terminals of several kinds, and to a pipe."""

import re
import unicodedata

import pytest
from terminal import terminal
from toy import write_toy

from avtune.cli.bench_console import lay_out
from avtune.cli.main import main
from avtune.cli.progress import Progress
from avtune.workflows.bench.leaderboard import HEADER

assert terminal  # a fixture
SMALL = ["--trials", "3", "--set", "final.finalists=1", "--set", "final.seeds=2", "--set", "final.reference=none"]
WORDS = ["search", "toy.h5", "--space", "space.yaml", "--results", "r", "--runner", "inline", "--gpus", "0", *SMALL]
EVENT = re.compile(r"\d\d:\d\d:\d\d \S.*")


@pytest.fixture
def toy(tmp_path, monkeypatch):
    write_toy(tmp_path)
    monkeypatch.chdir(tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize(("columns", "encoding", "no_color"), [(80, "utf-8", False), (40, "ascii", True)])
def test_nothing_wraps_also_after_a_resize(columns, encoding, no_color, toy, terminal, monkeypatch):
    screen = terminal(columns, 24, encoding)
    ended, resized = Progress.ended, []

    def resize(self, record):
        ended(self, record)
        if record.number == 1:
            self.display._region.refresh()
            screen.resize(columns - 10, 24)
            resized.append(len(screen.lines))
            self.display._region.refresh()

    monkeypatch.setattr(Progress, "ended", resize)
    if no_color:
        monkeypatch.setenv("NO_COLOR", "1")
    assert main(WORDS) == 0
    lines = screen.lines
    assert [line for line in lines[: resized[0]] if len(line) > columns] == []
    assert [line for line in lines[resized[0] :] if len(line) > columns - 10] == []
    text = "\n".join(lines)
    for word in ("finalists, repeated over 2 seeds", "retrained winner", "r/toy/report.html"):
        assert word in " ".join(text.split()), word
    assert ("±" in text) == (encoding == "utf-8")
    assert (b"\x1b[1m" in screen.raw) == (not no_color)
    assert screen.raw.count(b"\x1b[?25l") == screen.raw.count(b"\x1b[?25h"), "the cursor is shown again"
    shown = screen.screen(reflows=True)
    assert not any("to come" in line for line in shown), "the table has gone"
    assert sum("3 of 3 trials ended" in line for line in shown) == 1, "the summary has taken its place"


@pytest.mark.slow
def test_a_pipe_gets_plain_lines_with_the_time(toy, capsys):
    assert main(WORDS) == 0
    printed = capsys.readouterr().out
    assert {char for char in printed if unicodedata.category(char) == "Cc"} == {"\n"}
    events = [line[9:] for line in printed.splitlines() if EVENT.fullmatch(line)]
    ended = [line for line in events if re.match(r"\[\d/3\] trial \d", line)]
    assert [line[:5] for line in ended] == ["[1/3]", "[2/3]", "[3/3]"]
    for stage in ("finalists", "retraining"):
        told = [line for line in events if line.startswith(f"{stage}:")]
        assert re.fullmatch(rf"{stage}: \d runs", told[0])
        assert re.fullmatch(rf"{stage}: \d runs done in \d+ s", told[-1])
    assert len(events) == len(set(events)), "an event has one line"


def test_a_narrow_terminal_shows_the_columns_that_rank_a_leaderboard(terminal):
    rows = [["1", "psd", *["0.5000 ± 0.1000"] * 5, "+0.0100 (p 0.001)", "0.1", "17", "a"]]
    assert len(rows[0]) == len(HEADER)
    assert "".join(lay_out(HEADER, rows)).count("0.5000") == 5, "a file has all of them"
    terminal(80, 24)
    header, row, more = lay_out(HEADER, rows)
    assert header.split() == ["method", "map", "tuned", "-", "default", "group"]
    assert row.split() == ["1", "psd", "0.5000", "±", "0.1000", "+0.0100", "(p", "0.001)", "a"]
    assert "all columns" in more


def test_lines_are_folded_on_a_terminal_and_nowhere_else(terminal, capsys):
    from avtune.cli import console

    long = "dataset    " + "word " * 30
    console.say(long)
    assert capsys.readouterr().out == f"{long}\n"
    screen = terminal(60, 24)
    console.say(long.rstrip(), "x" * 70)
    *lines, path, end = screen.lines
    assert lines[0].startswith("dataset    word")
    assert all(line.startswith(" " * 11 + "word") for line in lines[1:])
    assert max(map(len, lines)) <= 60
    assert (path, end) == ("x" * 70, ""), "a path can be copied"
