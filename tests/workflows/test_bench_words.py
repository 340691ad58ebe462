"""What the tables of a bench say of how it was made, for boards that are made without training."""

import argparse
import csv
import io
import json
import shlex
from dataclasses import replace
from html import unescape

import pytest
from command import call
from hypothesis import given, settings
from hypothesis import strategies as st
from made_boards import made_board

from avtune.cli.main import parser
from avtune.study.results import Race
from avtune.workflows.bench.board import Board, board
from avtune.workflows.bench.leaderboard import cells, detectable_text, markdown, notes, p_text, text
from avtune.workflows.bench.leaderboard_csv import comma_separated
from avtune.workflows.bench.leaderboard_page import leaderboard_page
from avtune.workflows.bench.paper import caption, escaped_latex, markdown_table
from avtune.workflows.bench.result_json import result_json
from avtune.workflows.bench.rules import Rules, command_of

REFERENCE = "classifiers (reference)"


def bench_with(methods=("psd", "cca", REFERENCE), *, seeds=3, selected_on="validation", times=1, **about) -> Board:
    made = made_board({name: -0.1 * place for place, name in enumerate(methods)}, seeds=seeds)
    rows = [
        replace(row, results=replace(row.results, selected_on=selected_on, times_test_was_scored=times))
        for row in made.rows
    ]
    reference = {"reference": "classifiers", "seed": 0} if REFERENCE in methods else {"seed": 0}
    return board({**made.about, **reference, **about}, rows, {}, (), {})


def test_selected_on_test_is_said_in_every_format():
    found = bench_with(protocol="published", selected_on="test")
    said = caption(found)
    assert "selected on test" in said
    assert "scored on the test split after each of its epochs" in said
    told = "\n".join(notes(found))
    for words in (said, told):
        assert "scored once on the test split" not in words
    assert {row["selected_on"] for row in csv.DictReader(io.StringIO(comma_separated(found)))} == {"test"}
    made = json.loads(result_json(found))
    assert made["protocol"]["name"] == "published"
    assert {row["selected_on"] for row in made["results"]} == {"test"}
    assert "and each is scored once" in markdown(found, version=1), "verify knows the words of before"
    usual = bench_with()
    assert "scored once on the test split" in caption(usual)
    assert "each is scored once on the test split" in "\n".join(notes(usual))
    assert {row["selected_on"] for row in csv.DictReader(io.StringIO(comma_separated(usual)))} == {"validation"}
    assert json.loads(result_json(usual))["protocol"]["name"] == "validation"


def test_the_rows_that_are_validated_on_are_those_of_the_bench():
    assert "compared on the same 20% of the training rows" in caption(bench_with())
    assert "compared on the same 12.5% of the training rows" in caption(bench_with(fraction=0.125))
    own = bench_with(validation={"split": "given"})
    for words in (caption(own), "\n".join(notes(own))):
        assert "the data set's own validation split" in words
        assert "% of the training rows" not in words
    protocol = json.loads(result_json(own))["protocol"]
    assert (protocol["fraction"], protocol["validation"]) == (None, {"split": "given"})


def test_a_number_of_steps_that_was_set_is_the_one_that_is_told():
    for sets, steps in (([], "2,000"), (["early_stopping.steps=500"], "500"), (["search.lag=3"], "2,000")):
        found = bench_with(epochs="auto", set=sets)
        for words in (caption(found), "\n".join(notes(found))):
            assert f"for {steps} optimiser steps at most" in words
    assert json.loads(result_json(bench_with(set=["search.lag=3"])))["protocol"]["set"] == ["search.lag=3"]


def test_a_reference_row_and_further_looks_are_exceptions_that_every_format_names():
    found = bench_with(times=2)
    assert f"{REFERENCE}: a plain method's default configuration, not searched." in caption(found)
    said = "Scored on the test split more than once, each time with another configuration, epochs or seeds: psd,"
    assert said in caption(found)
    assert "More than one configuration has been scored on the test split by: psd," in markdown(found, version=2)
    trials = {row["method"]: row["trials"] for row in csv.DictReader(io.StringIO(comma_separated(found)))}
    assert trials == {"psd": "4", "cca": "4", REFERENCE: "1"}
    made = json.loads(result_json(found))["results"]
    assert {row["model_name"]: str(row["trials"]) for row in made} == trials
    assert "not searched" not in caption(bench_with(("psd", "cca")))


def test_a_row_that_chose_among_more_finalists_is_named():
    found = bench_with(("psd", "cca"))
    rows = [replace(row, repeated=3 + 2 * (row.method == "psd")) for row in found.rows]
    found = board(found.about, rows, {}, (), {})
    said = "More than 3 configurations were repeated, since the bench was extended, of: psd (5)."
    assert said in caption(found)
    assert said in notes(found)
    assert said not in notes(found, version=1)


def test_a_row_whose_finals_were_a_race_is_named():
    found = bench_with(("psd", "mine:train"))
    race = Race(3, 0.05, {"0": 3, "1": 2})
    rows = [replace(row, results=replace(row.results, race=race if ":" in row.method else None)) for row in found.rows]
    found = board(found.about, rows, {}, (), {})
    said = "Finalists that could not win any more have fewer seeds (a race) of: mine:train."
    assert said in caption(found)
    assert said in notes(found)
    assert said not in notes(found, version=2)


def test_a_training_function_does_not_train_as_the_methods_do():
    found = bench_with(("psd", "mine:train"), epochs="auto")
    rows = [replace(row, results=replace(row.results, untrained=None)) for row in found.rows if ":" in row.method]
    found = board(found.about, [*(row for row in found.rows if ":" not in row.method), *rows], {}, (), {})
    said = "Trained for as many epochs as its own space says, not until a curve is flat: mine:train."
    assert said in caption(found)
    assert said in notes(found)


@pytest.mark.parametrize(
    ("seeds", "said"),
    [
        (3, " difference must hold over the seeds too: p is the larger one of that test's and of Welch's t-test"),
        (1, "he test is of these trained models: other seeds may give another answer"),
    ],
)
def test_it_is_said_what_the_test_is_of(seeds, said):
    found = bench_with(seeds=seeds)
    for words in (caption(found), unescape(leaderboard_page(found)), "\n".join(notes(found)), "\n".join(text(found))):
        assert said in words
    assert said not in markdown(found, version=2), "verify knows the words of before"


def test_few_clips_have_all_their_swaps_tried_and_it_is_said():
    few, many = bench_with(), bench_with()
    few = board(few.about, [replace(row, ap=row.ap[:8], default_ap=None) for row in few.rows], {}, (), {})
    for found, said in ((few, "all 256 swaps"), (many, f"{many.rounds:,} rounds")):
        for words in (caption(found), "\n".join(notes(found))):
            assert said in words
            assert ("rounds" in words) == (found is many)
    assert "10,000 rounds" in markdown(few, version=2)


def test_a_p_below_the_level_does_not_look_as_if_it_were_not():
    found = bench_with()
    assert [p_text(p) for p in (0.0498, 0.04996, 0.05, 0.0123, 0.0004)] == [
        "p 0.0498", "p 0.04996", "p 0.050", "p 0.012", "p < 0.001",
    ]  # fmt: skip
    found = replace(found, gain_p=(0.0498,) * 3)
    assert cells(found)[0][7].endswith("(p 0.0498)")
    assert cells(found, version=2)[0][7].endswith("(p 0.050)"), "verify knows the words of before"


def test_one_seed_has_no_interval_that_the_heading_could_speak_of():
    assert text(bench_with(seeds=1))[0] == "toy: test split, one seed"
    assert text(bench_with(seeds=2))[0].endswith("mean over 2 seeds, 95 % interval over the seeds")


@pytest.mark.parametrize("words", ["a---b", "--x", "it''s", "``q", "a,,b", "what?`", "a----b"])
def test_latex_makes_no_character_of_two(words):
    made = escaped_latex(words)
    assert made.replace("{}", "") == words
    for pair in ("--", "''", "``", ",,", "?`", "!`"):
        assert pair not in made


def test_a_name_reads_the_same_in_markdown():
    found = bench_with()
    name = "a &lt; ~~b~~ $c$ \x1b[1m"
    found = replace(found, about={**found.about, "dataset": {**found.about["dataset"], "name": name}})
    assert r"a &amp;lt; \~\~b\~\~ \$c\$  \[1m".replace("  ", " ") in markdown_table(found)


@given(st.text(alphabet="-'`,?!ab_"))
@settings(deadline=None, max_examples=200)
def test_latex_keeps_every_character(words):
    made = escaped_latex(words)
    assert made.replace("{}", "").replace("\\", "") == words
    assert "--" not in made


def test_the_command_can_be_typed():
    reading = {"several_labels": True, "classes": "/some/where/names.txt", "test_fraction": 0.2}
    command = command_of("/my data/it's.h5", "cca", [], Rules(set=("space.lr=1e-3",)), reading, deterministic=True)
    given = parser().parse_args(shlex.split(command)[1:])
    assert (given.dataset, given.classes, given.several_labels, given.test_fraction) == (
        "it's.h5", "names.txt", True, 0.2,
    )  # fmt: skip
    assert (given.methods, given.set, given.deterministic) == ("cca", ["space.lr=1e-3"], True)


@pytest.mark.parametrize(
    "option", ["--trials=8", "--seeds=3", "--methods=cca", "--no-reference", "--set=search.lag=3", "--deterministic"]
)
def test_a_bench_that_is_there_is_printed_as_it_is(option, tmp_path, capsys):
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "bench.yaml").write_text("format: 1\n")
    said = call(capsys, "bench", "b", "--results", tmp_path, "--format", "latex", option, code=2)
    assert f"b is a bench that is there, which --format prints as it is; leave out {option.split('=')[0]}" in said


def test_no_option_of_a_run_is_ignored_of_a_bench_that_is_there(tmp_path, capsys):
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "bench.yaml").write_text("format: 1\n")
    verbs = next(one for one in parser()._actions if isinstance(one, argparse._SubParsersAction))
    options = [one for one in verbs.choices["bench"]._actions if one.option_strings]
    others = {"help", "verbose", "results", "format"}
    assert len(options) > 25
    for option in options:
        if option.dest not in others:
            word = option.option_strings[-1]
            text = "operator:setitem" if option.dest == "train" else "x=y"
            value = [] if option.nargs == 0 else ["7" if option.type in (int, float) else text]
            said = call(capsys, "bench", "b", "--results", tmp_path, "--format", "csv", word, *value, code=2)
            assert f"leave out {word}" in said


def test_rows_that_score_the_same_do_not_show_how_much_could_be_seen():
    """E.g. two names of one method: no difference of 0.0000 MAP would have been found."""
    made = bench_with(("psd",), seeds=1).rows[0]
    found = board(bench_with(seeds=1).about, [made, replace(made, method="other")], {}, (), {})
    assert found.p_values[0, 1] == 1
    assert detectable_text(found) == ""
    assert found.undecided == []
    assert json.loads(result_json(found))["comparison"]["smallest_detectable"][0] == [0.0, None]
    assert "1.000 (not known: nothing scatters)" in leaderboard_page(found)
