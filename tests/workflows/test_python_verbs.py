"""`avtune.retrain`, `avtune.evaluate` of a model, and `avtune.bench`: what the command line's verbs do, counted looks
included. Long: one finished study and one bench, made once, serve most of its tests."""

import argparse
import inspect
import json
import shutil
import sys
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
import yaml
from command import call
from toy import SPACE, toy_dataset, write_toy

import avtune
import avtune.runners.work as work
from avtune.cli.main import parser
from avtune.core.errors import StorageError
from avtune.workflows.options import BenchOptions, DeviceOptions, SearchOptions
from avtune.workflows.python_run import run

HERE = {"runner": "inline", "gpus": 0, "quiet": True}
SMALL = {"trials": 3, "keep": 2, "set": {"final.finalists": 1, "final.seeds": 1, "final.reference": "none"}}
BENCH = {"methods": ["triplet", "cca"], "trials": 1, "epochs": 1, "seeds": 2, "reference": False, **HERE}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder with the toy dataset, a finished study of it and a finished bench."""
    folder = tmp_path_factory.mktemp("made")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        write_toy(folder)
        avtune.search("toy.h5", space=yaml.safe_load(SPACE), name="one", **SMALL, **HERE)
        avtune.bench("toy.h5", name="board", **BENCH)
    return folder


@pytest.fixture
def place(made, tmp_path, monkeypatch):
    """A copy of it, the current folder."""
    shutil.copytree(made, tmp_path / "here")
    monkeypatch.chdir(tmp_path / "here")
    return Path.cwd()


@pytest.fixture
def study(place):
    return avtune.load_study("one")


def looks(study):
    """The count in each place that tells it."""
    told = json.loads((study.path / "final" / "metrics.json").read_text())["times_test_was_scored"]
    assert len((study.path / "scored.jsonl").read_text().splitlines()) == told
    assert (
        f"| scored on the test split so far | {told} configuration" in (study.path / "final/MODEL_CARD.md").read_text()
    )
    assert f"{told} configuration(s) of this study" in " ".join((study.path / "report.html").read_text().split())
    assert study.results.times_test_was_scored == told
    return told


# --- retrain


def test_a_trial_is_retrained_scored_and_counted(study, capsys):
    before = looks(study)
    made = avtune.retrain(study, trial=1, seeds=2, epochs=2, **HERE)
    assert capsys.readouterr() == ("", "")
    assert made.path == study.path / "retrained_trial_1"
    assert (made.results.trial, made.results.epochs, len(made.results.seeds)) == (1, 2, 2)
    assert made.results.times_test_was_scored == looks(study) == before + 1
    assert repr(made).startswith("<Retrained trial 1: 2 epochs over 2 seeds, test MAP ")
    test = toy_dataset().test
    audio, visual = avtune.load_model(made).embed(test.audio, test.visual)
    first = made.results.test.map.seeds[0]
    assert avtune.evaluate(audio=audio, visual=visual, labels=test.labels).map == pytest.approx(first, abs=1e-6)
    assert avtune.evaluate(made, "toy.h5").look == "", "it was counted when it was retrained"
    assert looks(study) == 3


def test_it_is_what_the_command_line_retrains(study, capsys):
    made = avtune.retrain("one", trial=2, seeds=np.int64(1), out="mine", **HERE)
    call(
        capsys, "retrain", "one", "--trial", "2", "--seeds", "1", "--out", "theirs", "--runner", "inline", "--gpus", "0"
    )
    theirs = json.loads(Path("theirs/metrics.json").read_text())
    assert theirs["test"]["map"]["mean"] == made.results.test.map.mean
    assert looks(study) == 3, "the same configuration, trained the same way, counts once"


def test_progress_and_result_are_printed_unless_it_is_quiet(study, capsys):
    avtune.retrain(study, trial=0, seeds=1, runner="inline", gpus=0)
    printed = capsys.readouterr().out
    assert "retraining: 1 run done in " in printed
    assert "trial 0, chosen by hand, retrained for " in printed
    assert printed.endswith(f"model  {study.path / 'retrained_trial_0'}\n")


def test_a_study_of_arrays_is_retrained_with_its_dataset(study):
    path = study.path / "study.yaml"
    settings = yaml.safe_load(path.read_text())
    del settings["dataset"]["spec"]  # as a study of arrays has it
    path.write_text(yaml.safe_dump(settings))
    with pytest.raises(avtune.UserError, match="does not say where its dataset is; name it with data"):
        avtune.retrain(study, **HERE)
    with pytest.raises(avtune.UserError, match=r"the dataset 'toy' is not the one of .*give the right one with data"):
        avtune.retrain(study, data=toy_dataset(seed=1), **HERE)
    assert avtune.retrain(study, data=toy_dataset(), seeds=1, **HERE).results.trial == study.best.trial


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"study": "on"}, "no study is called 'on' in results; did you mean 'one'?"),
        ({"study": 3}, "study is a int; give a name or a path"),
        ({"trial": 9}, "trial is 9; results/one has the trials 0 to 2"),
        ({"trial": "1"}, "trial is '1'; allowed: a whole number"),
        ({"trial": -1}, "trial is -1; "),
        ({"epochs": 0}, "epochs is 0; allowed: a whole number from 1"),
        ({"seeds": True}, "seeds is True; allowed: a whole number"),
        ({"out": "results"}, "results exists; give another out"),
        ({"runner": "inlin"}, "did you mean 'inline'?"),
        ({"lanes": 2}, "lanes"),
        ({"data": "toi.h5"}, "toi.h5"),
        ({"classes": "c.csv"}, "is of the layout six keys, which takes no "),
        ({"data": toy_dataset(), "classes": "c.csv"}, "this dataset is loaded already"),
    ],
)
def test_what_is_wrong_with_a_retraining_is_said(study, options, said):
    before = sorted(study.path.iterdir())
    with pytest.raises(avtune.UserError) as caught:
        avtune.retrain(**{"study": study, "seeds": 1, **HERE, **options})
    assert said in str(caught.value)
    assert "--" not in str(caught.value)
    assert (sorted(study.path.iterdir()), looks(study)) == (before, 2)


def test_a_retraining_that_fails_is_an_error_and_leaves_nothing(study, monkeypatch):
    monkeypatch.setattr(work, "train", lambda *words, **more: 1 / 0)
    with pytest.raises(avtune.UserError, match="retraining failed: ZeroDivisionError"):
        avtune.retrain(study, trial=1, seeds=1, **HERE)
    assert not list(study.path.glob("*retrained_trial_1*"))


# --- evaluate


def test_a_model_that_is_scored_on_its_test_split_counts_once(study, capsys):
    one, other = sorted((study.path / "checkpoints").iterdir())
    found = avtune.evaluate(one, "toy.h5")
    assert found.look.startswith("this look is counted: 3 configurations of ")
    assert found.look in repr(found)
    assert looks(study) == 3
    assert avtune.evaluate(avtune.load_model(one), toy_dataset()).look == ""
    assert looks(study) == 3
    facts = json.loads(call(capsys, "evaluate", other, "toy.h5", "--json"))
    again = avtune.evaluate(other, "toy.h5")
    assert (facts["map"], facts["bootstrap95"]["map"]) == (again.map, list(again.bootstrap95))
    assert (looks(study), again.look) == (4, "")


def test_the_winner_the_training_rows_and_other_clips_are_no_look(study):
    checkpoint = next((study.path / "checkpoints").iterdir())
    assert avtune.evaluate(study, "toy.h5").map == pytest.approx(study.results.test.map.mean, abs=1e-6)
    assert avtune.evaluate(checkpoint, "toy.h5", split="train").clips == 60
    assert avtune.evaluate(checkpoint, toy_dataset(seed=1)).look == ""
    assert looks(study) == 2


def test_a_look_that_cannot_be_counted_is_said(study, tmp_path):
    moved = shutil.copytree(next((study.path / "checkpoints").iterdir()), tmp_path / "moved")
    assert "could not be counted" in avtune.evaluate(moved, "toy.h5", results=tmp_path / "nowhere").look


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "give a model and a dataset, evaluate(study, data), or embeddings"),
        ({"model": "one"}, "give a model and a dataset"),
        ({"data": "toy.h5"}, "give a model and a dataset"),
        ({"model": "one", "data": "toy.h5", "labels": [1]}, "give a model and a dataset"),
        ({"audio": [[1.0]], "visual": [[1.0]]}, "give a model and a dataset"),
        ({"model": "one", "data": "toy.h5", "split": "tests"}, "split is 'tests'; allowed: 'test' or 'train'"),
        ({"model": "on", "data": "toy.h5"}, "on holds no model"),
        ({"model": "one", "data": toy_dataset(dims=(9, 7))}, "the audio features have 9 dimensions"),
    ],
)
def test_what_is_wrong_with_an_evaluation_is_said(study, given, said):
    with pytest.raises(avtune.UserError) as caught:
        avtune.evaluate(**given)
    assert said in str(caught.value)
    assert looks(study) == 2


# --- bench


def test_a_bench_gives_a_table_and_the_studies(place, capsys):
    bench = avtune.bench("toy.h5", name="board", **BENCH)  # finished before: shown again
    assert capsys.readouterr() == ("", "")
    assert (bench.path, bench.name, dict(bench.failures)) == (Path("results/board"), "board", {})
    table = bench.table
    assert sorted(table["method"]) == ["cca", "triplet"]
    assert list(table["rank"]) == [1, 2]
    assert table["map"].is_monotonic_decreasing
    for row, method in zip(bench.board.rows, table["method"], strict=True):
        assert row.method == method
        assert row.map == bench.study(method).results.test.map.mean
    assert bench.p_values.loc["cca", "triplet"] == bench.board.p_values[0, 1]
    assert (place / "results/board/leaderboard.html").is_file()
    loaded = avtune.load_bench("board")
    assert loaded.table.equals(table)
    assert (loaded.p_values.to_numpy() == bench.p_values.to_numpy()).all()
    assert repr(loaded) == repr(bench)
    assert repr(bench).startswith("bench board, in results/board\ntoy: test split, mean over 2 seeds")
    assert "<table" in bench._repr_html_()
    assert list(table["problems"]) == ["", ""]


def test_the_command_line_finds_the_bench_finished(place, capsys):
    files = [path for path in (place / "results/board").rglob("*") if path.is_file() and path.name != "lock"]
    before = {path: path.read_bytes() for path in files}
    words = ["--methods", "triplet,cca", "--trials", "1", "--epochs", "1", "--seeds", "2", "--runner", "inline"]
    words.append("--no-reference")
    printed = call(capsys, "bench", "toy.h5", "--name", "board", *words, "--gpus", "0")
    assert "2 of 2 methods known" in printed
    assert {path: path.read_bytes() for path in files} == before
    settings = yaml.safe_load((place / "results/board/bench.yaml").read_text())
    assert (
        settings["command"]
        == "avtune bench toy.h5 --methods triplet,cca --trials 1 --epochs 1 --seeds 2 --no-reference"
    )


def test_a_method_of_the_users_own_and_one_that_fails(workplace, monkeypatch, capsys):
    monkeypatch.syspath_prepend(workplace)
    import own_method  # one of the examples

    train = work.train

    def broken(trial, *words, **more):
        return 1 / 0 if trial.method == "triplet" else train(trial, *words, **more)

    monkeypatch.setattr(work, "train", broken)
    data, _ = write_toy(workplace)
    methods = [own_method.CrossContrast, "cca", "triplet"]
    bench = avtune.bench(data, name="own", **{**BENCH, "methods": methods, "quiet": False})
    assert sorted(bench.table["method"]) == ["cca", "own_method:CrossContrast"]
    assert "ZeroDivisionError" in bench.failures["triplet"]
    assert "triplet: no result: " in capsys.readouterr().out
    assert bench.study("own_method:CrossContrast").state == "finished"
    assert avtune.load_bench(bench.path).board.pending == ("triplet",)


def test_a_bench_that_is_interrupted_goes_on(place):
    train, calls = work.train, []

    def planted(*words, **more):
        calls.append(1)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return train(*words, **more)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(work, "train", planted)
        with pytest.raises(KeyboardInterrupt) as caught:
            avtune.bench("toy.h5", name="again", **BENCH)
    assert caught.value.__notes__ == ["the bench results/again has been closed; the same call continues it"]
    assert not avtune.load_bench("again").board.rows
    assert len(avtune.bench("toy.h5", name="again", **BENCH).table) == 2


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"methods": "cca"}, "methods is 'cca'; give a list, for example methods=['psd', 'triplet']"),
        ({"methods": ["ccaa"]}, "did you mean 'cca'?"),
        ({"methods": ["cca", "cca"]}, "methods names cca twice"),
        ({"methods": [3]}, "method is a int; give a name, 'module:Name', or the class itself"),
        ({"trials": 0}, "trials is 0; allowed: a whole number from 1"),
        ({"trials": "3"}, "trials is '3'; allowed: a whole number"),
        ({"epochs": "aut"}, "epochs is 'aut'; allowed: auto, or a whole number from 1; did you mean 'auto'?"),
        ({"seeds": 1.5}, "seeds is 1.5; allowed: a whole number"),
        ({"space": "cca"}, "space is 'cca'; give a mapping, for example space={'psd': 'my.yaml'}"),
        ({"space": {"cca": {}}}, "space of cca is a dict; give a name or a path"),
        ({"space": {"triplet": "cca"}}, "is one of cca, not of triplet"),
        ({"gpus": 1000}, "gpus is 1000; "),
        ({"classes": "c.csv"}, "is of the layout six keys, which takes no "),
    ],
)
def test_what_is_wrong_with_a_bench_is_said(place, options, said):
    with pytest.raises(avtune.UserError) as caught:
        avtune.bench("toy.h5", name="new", **{**BENCH, **options})
    assert said in str(caught.value)
    assert "--" not in str(caught.value)
    assert not (place / "results/new").exists()


def test_other_settings_and_what_is_not_there_are_refused(place):
    with pytest.raises(avtune.UserError) as caught:
        avtune.bench("toy.h5", name="board", **{**BENCH, "epochs": 2})
    assert str(caught.value).splitlines()[0] == "results/board was made with other settings: epochs: 1 -> 2"
    assert "add name='board-2' for a new bench" in str(caught.value)
    with pytest.raises(avtune.UserError, match="no bench is called 'bord' in results; did you mean 'board'"):
        avtune.load_bench("bord")
    with pytest.raises(avtune.UserError, match="has no study of 'ccaa'; did you mean 'cca'"):
        avtune.load_bench("board").study("ccaa")
    metrics = place / "results/board/cca/final/metrics.json"
    metrics.write_text("{broken")
    assert "metrics.json" in repr(avtune.load_bench("board"))
    assert "metrics.json" in avtune.load_bench("board")._repr_html_()


def test_a_full_disk_and_an_exit_of_foreign_code_are_errors_that_say_what_is_there():
    def full():
        raise StorageError("results/x/log.txt cannot be written: No space left on device")

    with pytest.raises(StorageError) as caught:
        run(full, lambda: "bench results/x")
    assert str(caught.value).endswith("\nthe bench keeps what it has; the same call continues")
    with pytest.raises(StorageError) as caught:
        run(full)
    assert "keeps" not in str(caught.value)
    with pytest.raises(avtune.UserError, match=r"ended the call \(SystemExit: 3\)"):
        run(lambda: sys.exit(3))
    assert run(lambda: 7) == 7


# --- the options of both

VERBS = {
    "search": avtune.search,
    "bench": avtune.bench,
    "finish": avtune.finish,
    "retrain": avtune.retrain,
    "evaluate": avtune.evaluate,
}
CALLED = {"dataset": "data"}
ABSENT = {  # options of the command line that Python does without, and why
    "search": {
        "slurm": "a script is submitted from the command line",
        "dry_run": "of --slurm",
        "repeat": "a loop over set={'search.seed': ...}",
    },
    "bench": {"format": "BenchView.formatted"},
    "finish": {},
    "retrain": {},
    "evaluate": {
        "embeddings": "audio=, visual= and labels= are these arrays",
        "json": "the result is typed",
        "verbose": "nothing is trained",
    },
}
READING = {"views", "map", "pool", "test_fraction", "several_labels"}
"""How a file is read: of `load_dataset`, whose dataset the others take."""
ADDED = {"quiet": "a command line has > /dev/null", **dict.fromkeys(("audio", "visual", "labels"), "for embeddings")}


def of_command_line(verb):
    """The options of a verb by their names in Python, and their defaults."""
    verbs = next(action for action in parser()._actions if isinstance(action, argparse._SubParsersAction))
    actions = [action for action in verbs.choices[verb]._actions if action.dest != "help"]
    return {CALLED.get(action.dest, action.dest): action.default for action in actions}


@pytest.mark.parametrize("verb", VERBS)
def test_every_option_of_the_command_line_is_an_argument_with_the_same_default(verb):
    arguments, options = inspect.signature(VERBS[verb]).parameters, of_command_line(verb)
    assert {*options} - {*arguments} == {*ABSENT[verb], *READING}
    assert inspect.signature(avtune.load_dataset).parameters.keys() >= READING
    assert {*arguments} - {*options} <= ADDED.keys()
    for name in {*options} & {*arguments} - {"data", "study"}:
        default, ours = options[name], arguments[name].default
        if isinstance(default, Path | list):  # a folder as text; `None` for an option that may be repeated
            default = str(default) if isinstance(default, Path) else None
        if name == "at":
            default = tuple(map(int, default.split(",")))
        assert ours == (False if name == "verbose" else default), name


@pytest.mark.parametrize(
    ("verb", "options"), [("search", SearchOptions), ("bench", BenchOptions), ("retrain", DeviceOptions)]
)
def test_what_makes_a_request_is_an_option_of_both(verb, options):
    names = {field.name for field in fields(options)}
    assert names <= of_command_line(verb).keys()
    assert names <= inspect.signature(VERBS[verb]).parameters.keys()
    apart = {  # that need more than to be passed on
        "search": {
            "data",
            "classes",
            "space",
            "method",
            "train",
            "set",
            "trials",
            "epochs",
            "reference",
            "default",
            "finals",
            "final_seeds",
            "sampler",
            "objective",
            "stop_when_flat",
            *ABSENT["search"],
            "verbose",
        },
        "bench": {"data", "classes", "space", "methods", "train", "format", "verbose"},
        "retrain": {"study", "trial", "epochs", "seeds", "data", "classes", "out", "method", "train", "verbose"},
    }
    assert of_command_line(verb).keys() - names == apart[verb] | READING


def test_the_documentation_names_every_argument_of_search():
    text = (Path(__file__).parents[2] / "docs" / "python.md").read_text()
    listed = text.partition("(`help(avtune.search)`): `")[2].partition("`")[0].split()
    assert {*listed, "data", "quiet"} == {*inspect.signature(avtune.search).parameters}
