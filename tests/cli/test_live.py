"""The region at the foot of a terminal: whole at any width, after a resize, and whatever else is printed."""

import logging
import sys
import warnings

import pytest
from terminal import terminal

from avtune.cli.display import Display, event, is_live, step
from avtune.cli.live import Region
from avtune.core import log
from avtune.core.output import Output

assert terminal  # a fixture


def rows_of(columns, rows):
    """A region as wide as the terminal, of five rows."""
    return [(f"{place}{'=' * (columns - 2)}|", "bold") for place in range(5)]


def region(lines=rows_of):
    """One that is drawn when it is told to, and not by its thread."""
    made = Region(lines)
    made.auto_refresh = False
    made.start()
    made.refresh()
    return made


def whole(width):
    return [line for line, _ in rows_of(width - 1, 0)]


@pytest.mark.parametrize("columns", [20, 40, 80, 200])
def test_it_is_drawn_over_itself(columns, terminal):
    screen = terminal(columns, 24)
    one = region()
    one.refresh()
    print("a line", flush=True)
    one.refresh()
    assert screen.screen() == ["a line", *whole(columns)]
    one.stop()
    assert screen.screen() == ["a line"]


@pytest.mark.parametrize(("term", "reflows"), [("xterm-256color", True), ("linux", False), ("screen", False)])
@pytest.mark.parametrize("columns", [79, 50, 41, 30])
def test_a_terminal_that_becomes_narrower(term, reflows, columns, terminal):
    screen = terminal(80, 24, term=term)
    print("a line before", flush=True)
    one = region()
    screen.resize(columns, 24)
    one.refresh()
    print("a line after", flush=True)
    assert screen.screen(reflows) == ["a line before", "a line after", *whole(columns)]
    screen.resize(90, 24)
    one.refresh()
    assert screen.screen(reflows) == ["a line before", "a line after", *whole(90)]


def test_a_terminal_with_few_rows_shows_what_fits(terminal):
    screen = terminal(40, 4)
    one = region()
    one.refresh()
    assert screen.screen() == whole(40)[:3]


def test_logging_and_warnings_come_above_it(terminal):
    screen = terminal(80, 24, stderr=True)
    one = region()
    with log.shown():
        logging.getLogger("avtune.somewhere").debug("a decision")
    sys.stderr.write(warnings.formatwarning("odd numbers", UserWarning, "some.py", 3))  # as `warnings` does
    logging.lastResort.emit(logging.LogRecord("root", logging.WARNING, "", 1, "a record", (), None))
    print("half a line", end="")
    one.refresh()
    print(" and its end", flush=True)
    shown = screen.screen()
    assert shown[-5:] == whole(80)
    above = " ".join(shown[:-5])
    for words in ("a decision", "UserWarning: odd numbers", "a record", "half a line and its end"):
        assert words in above
    one.stop()
    assert sys.stdout is screen.stream


def test_standard_error_that_is_a_file_stays_one(terminal, tmp_path, monkeypatch):
    screen = terminal()
    with (tmp_path / "err").open("w") as file:
        monkeypatch.setattr(sys, "stderr", file)
        one = region()
        print("for the file", file=sys.stderr)
        one.refresh()
        one.stop()
    assert (tmp_path / "err").read_text() == "for the file\n"
    assert "for the file" not in str(screen.raw)


@pytest.mark.parametrize("no_color", [False, True])
def test_colour_is_off_when_asked(no_color, terminal, monkeypatch):
    screen = terminal()
    if no_color:
        monkeypatch.setenv("NO_COLOR", "1")
    region().stop()
    assert (b"\x1b[1m" in screen.raw) != no_color
    assert b"\x1b[3" not in screen.raw


def test_a_name_cannot_steer_the_terminal(terminal):
    screen = terminal()
    one = region(lambda columns, rows: [("a\x1b[2Jb\nc", "")])
    assert screen.screen() == [r"a\x1b[2Jb\nc"]
    one.stop()


def test_letters_that_the_terminal_lacks_are_written_in_ascii(terminal):
    screen = terminal(encoding="ascii")
    from avtune.cli import console

    console.show_everything()
    one = region(lambda columns, rows: [("0.5 ± 0.1 … größe", "")])
    console.say("0.5 ± 0.1")
    assert screen.screen() == ["0.5 +/- 0.1", r"0.5 +/- 0.1 ... gr\xf6\xdfe"]
    one.stop()


@pytest.mark.parametrize("term", ["dumb", ""])
def test_a_terminal_that_cannot_be_drawn_on_gets_plain_lines(term, terminal):
    screen = terminal(term=term)
    assert not is_live()
    with Display() as display:
        display.table(rows_of)
        event("a line")
    assert screen.raw == b"a line\r\n"


def test_a_step_is_shown_while_it_lasts(terminal):
    screen = terminal()
    with step("loading a file"):
        assert screen.screen() == []  # not yet: most steps are over before the first drawing
    with Display() as display:
        display.step("loading a file")
        display._region.refresh()
        assert screen.screen() == ["loading a file (0 s)"]
        display.done()
    assert screen.screen() == []


def test_a_step_that_raises_leaves_the_terminal_as_it_was(terminal):
    screen = terminal()

    def broken():
        with Display() as display:
            display.step("loading a file")
            display._region.refresh()
            raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        broken()
    assert sys.stdout is screen.stream
    assert screen.raw.rstrip().endswith(b"\x1b[?25h\r\x1b[1A\x1b[2K"), "the cursor is shown again"


def test_a_step_is_not_told_to_the_file_of_a_trial_that_prints(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("avtune.cli.display.SHOWN_AFTER", 0.0)
    output = Output(tmp_path / "trial.txt")
    with Display() as display, output.captured():
        print("by the code")
        display.step("the first epoch")
        display._timer.join()
    output.close()
    assert "the first epoch" not in (tmp_path / "trial.txt").read_text()
    assert "the first epoch ..." in capsys.readouterr().out


def test_elsewhere_a_step_gets_a_line_once_it_takes_long(capsys, monkeypatch):
    with step("loading a file"):
        pass
    assert capsys.readouterr().out == ""
    monkeypatch.setattr("avtune.cli.display.SHOWN_AFTER", 0.0)
    with Display() as display:
        display.step("loading a file")
        display._timer.join()
        display.step("training")
        display._timer.join()
    lines = capsys.readouterr().out.splitlines()
    assert [line[:9].count(":") for line in lines] == [2] * 4
    assert [line[9:] for line in lines] == [
        "loading a file ...",
        "loading a file: 0 s",
        "training ...",
        "training: 0 s",
    ]
