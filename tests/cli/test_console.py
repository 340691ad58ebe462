"""What is printed, on streams of any kind."""

import io
import sys

import pytest
from rich.console import Console
from toy import write_toy

from avtune.cli import console
from avtune.cli.main import main


@pytest.fixture
def stream(monkeypatch):
    """Standard output and error in an encoding; returns what was written to each."""

    def stream(encoding, errors="strict"):
        raw = [io.BytesIO(), io.BytesIO()]
        for name, one in zip(("stdout", "stderr"), raw, strict=True):
            monkeypatch.setattr(sys, name, io.TextIOWrapper(one, encoding=encoding, errors=errors, write_through=True))
        return lambda: [one.getvalue().decode(encoding) for one in raw]

    return stream


@pytest.mark.parametrize("errors", ["strict", "surrogateescape"])
def test_what_a_stream_cannot_show_is_in_ascii(stream, errors):
    written = stream("ascii", errors)
    console.show_everything()
    console.say("0.5 ± 0.1 … größe")
    console.error("größe")
    Console().print("│ größe")
    assert written()[0].splitlines() == ["0.5 +/- 0.1 ... gr\\xf6\\xdfe", "\\u2502 gr\\xf6\\xdfe"]
    assert written()[1] == "avtune: gr\\xf6\\xdfe\n"


def test_what_it_can_show_is_as_it_was(stream):
    written = stream("utf-8")
    console.show_everything()
    console.say("0.5 ± 0.1")
    assert written()[0] == "0.5 ± 0.1\n"


def test_what_a_user_has_chosen_stays(stream):
    written = stream("ascii", "replace")
    console.show_everything()
    console.say("0.5 ± 0.1")
    assert written()[0] == "0.5 ? 0.1\n"


def test_a_stream_that_is_no_file_is_left_alone(monkeypatch):
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    console.show_everything()
    console.say("±")
    assert sys.stdout.getvalue() == "±\n"
    monkeypatch.setattr(sys, "stdout", None)
    console.show_everything()


@pytest.mark.slow
def test_a_search_ends_on_a_terminal_without_its_letters(stream, tmp_path):
    data, space = write_toy(tmp_path)
    words = ["search", str(data), "--space", str(space), "--name", "one", "--results", str(tmp_path / "results")]
    small = ["--trials", "2", "--set", "final.finalists=1", "--set", "final.seeds=2", "--set", "final.reference=none"]
    written = stream("ascii")
    assert main([*words, "--runner", "inline", "--gpus", "0", *small]) == 0
    assert "retrained winner" in written()[0]
    assert " +/- " in written()[0]
    assert written()[1] == ""
