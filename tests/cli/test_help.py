"""Help texts: they fit, begin with what is usual, and their examples are legal; test_help_examples.py runs these."""

import argparse
import re
import shlex

import pytest

from avtune.cli.main import parser


def parsers(top=None):
    """Every parser of the command line."""
    top = parser() if top is None else top
    yield top
    for action in top._actions:
        if isinstance(action, argparse._SubParsersAction):
            for below in action.choices.values():
                yield from parsers(below)


PARSERS = {one.prog: one for one in parsers()}


def examples(prog):
    """The command lines at the end of a help text, in words."""
    text = PARSERS[prog].format_help()
    lines = re.split(r"\nexamples?:\n", text)[1].strip().splitlines()
    return [shlex.split(line.partition(" > ")[0]) for line in lines]


@pytest.mark.parametrize("prog", PARSERS)
def test_it_fits_and_ends_with_an_example_that_is_legal(prog):
    text = PARSERS[prog].format_help()
    assert max(map(len, text.splitlines())) <= 80
    assert text.startswith(f"usage: {prog} ")
    assert text.splitlines()[0].endswith(("[options]", "[options] ..."))
    commands = examples(prog)
    assert commands
    for words in commands:
        assert " ".join(words).startswith(prog) or prog == "avtune"
        given = parser().parse_args(words[1:])
        assert given.verb == words[1]


def test_every_option_has_words():
    for prog, one in PARSERS.items():
        options = [one for one in one._actions if not isinstance(one, argparse._SubParsersAction)]
        assert [action.dest for action in options if not action.help] == [], prog


def test_the_common_case_of_a_search_comes_first():
    text = PARSERS["avtune search"].format_help()
    groups = re.findall(r"^(\w[\w ]*):$", text, re.MULTILINE)
    said = ["positional arguments", "what is searched", "output", "resources", "finals", "how a file is read", "other"]
    assert groups == [*said, "examples"]
    assert re.findall(r"^  (--\w+)", text, re.MULTILINE)[0] == "--trials"


@pytest.mark.parametrize("columns", [60, 200])
def test_it_is_no_wider_than_the_terminal(columns, monkeypatch):
    monkeypatch.setattr("avtune.cli.arguments.width", lambda: columns)
    assert max(len(line) for line in PARSERS["avtune search"].format_help().splitlines()) <= min(columns, 80)


GROUPED = [prog for prog, one in PARSERS.items() if one._has_groups]


@pytest.mark.parametrize("prog", GROUPED)
def test_a_verbs_own_options_come_before_those_that_verbs_share(prog):
    text = PARSERS[prog].format_help()
    assert PARSERS[prog].format_help() == text, "asked for twice"
    first, _, last = text.partition("\nother:\n")
    shared = {"--help", "--verbose", "--results", "--json"}
    assert set(re.findall(r"^  (?:-h, )?(--[\w-]+)", last.partition("\nexample")[0], re.MULTILINE)) <= shared
    groups = re.findall(r"^(\w[\w ]*):$", first, re.MULTILINE)
    assert groups[0] in ("positional arguments", "options")
    assert "how a file is read" not in groups[:2] or prog.startswith("avtune data")


@pytest.mark.parametrize("prog", PARSERS)
def test_what_must_be_given_is_in_the_usage_line_and_first_among_the_options(prog):
    text = PARSERS[prog].format_help()
    needed = [one.option_strings[-1] for one in PARSERS[prog]._actions if one.required and one.option_strings]
    for option in needed:
        assert f" {option} " in text.splitlines()[0]
    assert re.findall(r"^  (--[\w-]+)", text, re.MULTILINE)[: len(needed)] == needed


def test_words_that_may_be_repeated_say_so():
    assert PARSERS["avtune compare"].format_help().startswith("usage: avtune compare STUDY STUDY ... [options]\n")
    for prog in ("avtune search", "avtune plan", "avtune bench", "avtune curves", "avtune space check"):
        option = re.search(r"^  --set .*?(?=\n  -|\n\n)", PARSERS[prog].format_help(), re.DOTALL | re.MULTILINE)
        assert "may be repeated" in " ".join(option[0].split()), prog
