"""`--finals full` and `race` from the command line: what is run, recorded, shown and verified."""

import contextlib
import io
import json
import shutil
from pathlib import Path

import pytest
import yaml
from command import call
from test_continue import interrupted
from toy import write_toy

from avtune.cli.main import main
from avtune.finals.run_record import runs_that_ended_well
from avtune.study.best import read_best
from avtune.study.folder import StudyFolder
from avtune.study.results import load_results
from avtune.workflows import choose_space
from avtune.workflows.bench.rules import Rules
from avtune.workflows.study_view import StudyView

SEEDS = 4
TRIALS = 4  # of the search; its trainings come first


def search(name, *words):
    return ["search", "toy.h5", "--name", name, "--gpus", "0", *words]


def new(name, *words):
    given = ["--space", "space.yaml", "--runner", "inline", "--trials", str(TRIALS), "--epochs", "3"]
    return search(name, *given, "--set", f"final.seeds={SEEDS}", *words)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Two studies that differ in their finals, below a folder with their dataset; and what the race has printed."""
    place, out = tmp_path_factory.mktemp("policies"), io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        write_toy(place)
        assert main(new("full", "--finals", "full")) == 0
        with contextlib.redirect_stdout(out):
            assert main(new("race")) == 0
    return place, out.getvalue()


@pytest.fixture
def here(finished, tmp_path, monkeypatch, capsys):
    shutil.copytree(finished[0], tmp_path / "here")
    monkeypatch.chdir(tmp_path / "here")
    capsys.readouterr()
    return finished[1]


def folder(name):
    return StudyFolder(Path("results") / name)


def final(name):
    return folder(name).settings()["space"]["final"]


def runs(name):
    return [json.loads(line)["run"] for line in folder(name).repeats.read_text().splitlines()]


def test_a_race_is_what_a_search_has_by_itself_and_it_names_the_same_winner(here, capsys):
    assert (final("full")["policy"], final("race")["policy"]) == ("full", "race")
    full, race = read_best(folder("full")), read_best(folder("race"))
    assert (race.trial, race.retrain_epochs) == (full.trial, full.retrain_epochs)
    by_name = {row.called: row for row in full.finalists}
    dropped = [row for row in race.finalists if row.dropped]
    assert dropped, "else this test shows nothing"
    for row in race.finalists:
        if not row.dropped:
            assert row == by_name[row.called], "who has all seeds has the values of full finals"
    assert all(2 <= len(row.seeds) < SEEDS for row in dropped)
    assert set(runs("race")) < set(runs("full"))
    assert len(runs("full")) - len(runs("race")) == sum(SEEDS - len(row.seeds) for row in dropped)
    facts = [json.loads(folder(name).metrics.read_text()) for name in ("full", "race")]
    assert "race" not in facts[0]
    told = {row.called: len(row.seeds) for row in race.finalists}
    assert facts[1]["race"] == {"seeds": SEEDS, "error": 0.05, "finalists": told}
    assert facts[1]["test"] == facts[0]["test"]
    assert len(facts[1]["default"]["map"]["seeds"]) == SEEDS, "on the test split they are compared over all seeds"


def test_what_was_dropped_is_shown(here, capsys):
    row = next(row for row in read_best(folder("race")).finalists if row.dropped)
    words = f"{len(row.seeds)} of {SEEDS}, cannot win"
    assert words in here
    assert f"finalists, repeated over up to {SEEDS} seeds" in here
    card, page = folder("race").model_card.read_text(), (folder("race").root / "report.html").read_text()
    assert "a race: finalists that could not win any more" in card
    assert words in page
    assert "The finals were a race" in page
    view = StudyView(folder("race").root)
    assert set(view.finalists["dropped"].dropna()) == {True}
    assert "cannot win" not in call(capsys, "status", "full")


def test_both_are_verified(here, capsys):
    for name in ("full", "race"):
        assert "no difference" in call(capsys, "verify", name)
    path = folder("race").best_yaml
    best = yaml.safe_load(path.read_text())
    next(row for row in best["finalists"] if row.get("dropped"))["dropped"] = False
    path.write_text(yaml.safe_dump(best, sort_keys=False))
    assert main(["verify", "race"]) == 1
    assert "dropped is False" in capsys.readouterr().out


@pytest.mark.parametrize("at", [5, 8])
def test_a_race_that_is_killed_goes_on_to_the_same_end(here, capsys, at):
    with interrupted(TRIALS + at):
        call(capsys, *new("killed"), code=130)
    call(capsys, *search("killed"))
    assert sorted(runs("killed")) == sorted(runs("race"))
    assert folder("killed").best_yaml.read_text() == folder("race").best_yaml.read_text()
    assert "no difference" in call(capsys, "verify", "killed")


def test_the_policy_may_be_changed_and_what_is_done_is_not_done_again(here, capsys):
    before = set(runs("race"))
    said = call(capsys, *search("race", "--finals", "full"))
    assert "changed: final.policy: race -> full" in said
    assert final("race")["policy"] == "full"
    assert read_best(folder("race")) == read_best(folder("full"))
    assert set(runs("race")) == set(runs("full")) > before
    assert "changed" not in call(capsys, *search("race", "--finals", "full"))
    assert "no difference" in call(capsys, "verify", "race")


def test_a_study_of_before_keeps_full_finals(here, capsys):
    path = folder("full").study_yaml
    settings = yaml.safe_load(path.read_text())
    del settings["space"]["final"]["policy"]
    path.write_text(yaml.safe_dump(settings, sort_keys=False))
    done = runs("full")
    for words in ([], ["--finals", "full"]):
        assert "changed" not in call(capsys, *search("full", *words))
    assert "changed: final.policy: full -> race" in call(capsys, *search("full", "--finals", "race"))
    assert read_best(folder("full")) == read_best(folder("race"))
    path.write_text(yaml.safe_dump(settings, sort_keys=False))
    call(capsys, *search("full", "--trials", str(TRIALS + 1)))
    assert "policy" not in final("full")
    assert not load_results(folder("full").metrics).race
    assert set(done) <= runs_that_ended_well(folder("full").repeats)


def test_more_seeds_may_follow_and_the_first_ones_are_not_run_again(here, capsys):
    before = set(runs("full"))
    said = call(capsys, *search("full", "--final-seeds", str(SEEDS + 1)))
    assert f"changed: final.seeds: {SEEDS} -> {SEEDS + 1}" in said
    assert f"test split: mean over {SEEDS + 1} seeds" in said
    assert set(runs("full")) > before
    assert "no difference" in call(capsys, "verify", "full")
    said = call(capsys, *search("full", "--final-seeds", "0"), code=2)
    assert "final.seeds is 0; allowed: a whole number from 1 to" in said


def test_a_wrong_policy_names_the_right_ones(here, capsys):
    said = call(capsys, *search("other", "--space", "space.yaml", "--finals", "rase"), code=2)
    assert "full or race" in said
    assert "did you mean 'race'" in said


def test_a_bench_has_full_finals():
    space = choose_space.chosen(None, "psd", overrides=["final.policy=race"])
    assert space.final.races
    assert not Rules().applied(space).final.races
