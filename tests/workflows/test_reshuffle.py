"""`validation.reshuffle` and `final.reshuffle`: searches whose trials, or whose finals, have validation rows of their
own."""

import contextlib
import io
import json
import shutil
from pathlib import Path

import pytest
from command import call
from test_continue import interrupted
from test_validation_rows import HELD, MADE, UNSAID, space
from toy import SPACE, toy_dataset, write_toy
from user_code import function_search

from avtune.cli.main import main
from avtune.core.errors import UserError
from avtune.data.prepare import for_search
from avtune.engine.model import load_model
from avtune.engine.trainer import train
from avtune.metrics import retrieval_scores
from avtune.space.settings import Validation
from avtune.study.best import read_best
from avtune.study.folder import StudyFolder
from avtune.workflows.open_study import open_space, open_study
from avtune.workflows.validation_rows import as_recorded, fitted

TRIALS, SEEDS = 5, 3
WAYS = {
    "none": [],
    "both": ["validation.reshuffle=true"],
    "finals": ["final.reshuffle=true"],
    "trials": ["validation.reshuffle=true", "final.reshuffle=false"],
}


SEES = """
    with open("seen.txt", "a") as seen:
        if data.validation is not None:
            print(data.seed, data.validation.audio.sum(), file=seen)
"""


def new(name, *words, runner="inline"):
    given = ["--space", "space.yaml", "--runner", runner, "--precision", "fp32", "--keep", 1]
    sets = ["search.sampler=random", "early_stopping.grace=6", f"final.seeds={SEEDS}", "final.reference=classifiers"]
    sets += WAYS.get(name, [])
    options = [word for one in sets for word in ("--set", one)]
    return [str(word) for word in ("search", "toy.h5", "--name", name, "--gpus", 0, *given, *options, *words)]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Studies that differ in their validation rows alone, and what each has printed."""
    place, said = tmp_path_factory.mktemp("reshuffle"), {}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        write_toy(place)
        for name in WAYS:
            with contextlib.redirect_stdout(io.StringIO()) as out:
                assert main(new(name)) == 0
            said[name] = out.getvalue()
    return place, said


@pytest.fixture
def here(finished, tmp_path, monkeypatch, capsys):
    shutil.copytree(finished[0], tmp_path / "here")
    monkeypatch.chdir(tmp_path / "here")
    capsys.readouterr()
    return finished[1]


def folder(name):
    return StudyFolder(Path("results") / name)


def trial_curves(name):
    """Validation MAP by trial and epoch."""
    found = {}
    for line in folder(name).curves.read_text().splitlines():
        facts = json.loads(line)
        if "epoch" in facts:
            found.setdefault(facts["trial"], {})[facts["epoch"]] = facts["val_map"]
    return found


def runs(name):
    return {json.loads(line)["run"] for line in folder(name).repeats.read_text().splitlines()}


def own(**more):
    (data,) = for_search(toy_dataset(), fraction=0.25, folds=None, seed=1, reshuffle=True)
    return data


def test_which_runs_have_rows_of_their_own(here):
    curves = {name: trial_curves(name) for name in WAYS}
    assert curves["both"] == curves["trials"] != curves["none"] == curves["finals"]
    finals = {name: [row.seeds for row in read_best(folder(name)).finalists if row.is_default] for name in WAYS}
    assert finals["both"] == finals["finals"] != finals["none"] == finals["trials"]


@pytest.mark.parametrize("number", [0, 3])
def test_a_trial_is_scored_on_the_rows_of_its_seed(here, number):
    """Trained again on copies of these rows."""
    study = open_study(folder("both"), open_space(folder("both")))
    study.close()
    trial, found = study.records[number].trial, []
    train(trial, own().for_seed(trial.seed), lambda epoch, metrics: found.append(metrics["val_map"]) or True)
    assert found == pytest.approx(list(trial_curves("both")[number].values()), abs=1e-4)


def test_the_plan_and_the_record_say_it(here):
    said = {
        name: next(line for line in text.splitlines() if line.startswith("validation")) for name, text in here.items()
    }
    assert said["none"].endswith("25% of the training rows")
    assert said["both"].endswith("25% of the training rows; others for each trial, and in the finals for each seed")
    assert said["finals"].endswith("25% of the training rows; in the finals others for each seed")
    assert said["trials"].endswith("; others for each trial, in the finals those of the study's seed")
    for name in WAYS:
        recorded = folder(name).settings()["space"]
        assert recorded["validation"] == {"fraction": 0.25} | (
            {"reshuffle": True} if name in ("both", "trials") else {}
        )
        assert recorded["final"].get("reshuffle") == {"finals": True, "trials": False}.get(name)
        assert folder(name).settings()["rows"] == 45
        rows = said[name].removeprefix("validation ")
        assert rows in folder(name).model_card.read_text()
        assert rows.replace("'", "&#39;") in (folder(name).root / "report.html").read_text()


@pytest.mark.parametrize("name", WAYS)
def test_they_are_verified(here, capsys, name):
    assert "no difference" in call(capsys, "verify", name)


def test_no_run_is_taken_for_one_on_other_rows(here):
    retrained = runs("none") & runs("both")
    assert runs("none") - retrained
    assert not (runs("none") - retrained) & runs("both")
    assert len(runs("finals") & runs("both")) > len(retrained), "finals on rows of their own are the same runs"


def test_a_kept_trial_has_the_scaler_of_its_rows(here):
    (place,) = folder("both").checkpoints.iterdir()
    model = load_model(place)
    assert model.about["trained_on"] == "the training rows of the trial"
    fold = own().own_rows.of(toy_dataset().train.labels, int(model.about["seed"]))
    held_out = toy_dataset().train.take(fold.validation)
    score = retrieval_scores(*model.embed(held_out.audio, held_out.visual), held_out.labels)
    number = int(place.name.removeprefix("trial_"))
    assert score.map == pytest.approx(list(trial_curves("both")[number].values())[-1], abs=1e-4)


@pytest.mark.parametrize("at", [3, TRIALS + 2])
def test_a_search_that_is_killed_goes_on_to_the_same_end(here, capsys, at):
    words = [*new("killed"), "--set", "validation.reshuffle=true"]
    with interrupted(at):
        call(capsys, *words, code=130)
    call(capsys, "search", "toy.h5", "--name", "killed", "--gpus", 0)
    assert trial_curves("killed") == trial_curves("both")
    assert folder("killed").best_yaml.read_text() == folder("both").best_yaml.read_text()


def test_finals_may_be_given_other_rows_later(here, capsys):
    said = call(capsys, "search", "toy.h5", "--name", "none", "--gpus", 0, "--set", "final.reshuffle=true")
    assert "changed: final.reshuffle: as the trials -> true" in said
    assert [row.seeds for row in read_best(folder("none")).finalists] == [
        row.seeds for row in read_best(folder("finals")).finalists
    ]
    said = call(capsys, "search", "toy.h5", "--name", "none", "--gpus", 0, "--set", "validation.reshuffle=true", code=2)
    assert "was made with other settings: validation.reshuffle" in said


@pytest.mark.ray
@pytest.mark.parametrize("runner", ["lanes", pytest.param("processes", marks=pytest.mark.long)])
def test_every_runner_gives_a_trial_its_rows(here, capsys, runner):
    words = [*new(runner, runner=runner), "--set", "validation.reshuffle=true", "--cpus", 1]
    call(capsys, *words)
    found, wanted = trial_curves(runner), trial_curves("both")
    assert found.keys() == wanted.keys()
    for number, curve in wanted.items():
        assert list(found[number].values()) == pytest.approx(list(curve.values()), abs=5e-3)


def test_a_training_function_sees_the_rows_of_its_seed(workplace, capsys):
    call(capsys, *function_search(SEES, "--set", "validation.reshuffle=true"))
    seen = {int(seed): float(total) for seed, total in map(str.split, Path("seen.txt").read_text().splitlines())}
    assert len(set(seen.values())) == len(seen) == 4 + 1, "four trials, and one seed of all finalists"
    (data,) = for_search(toy_dataset(), fraction=0.2, folds=None, seed=0, reshuffle=True)
    for seed, total in seen.items():
        assert total == pytest.approx(float(data.for_seed(seed).validation.audio.sum()), rel=1e-4, abs=1e-3)


def test_what_excludes_each_other_is_refused():
    both = SPACE.replace("{fraction: 0.25}", "{split: given, reshuffle: true}")
    with pytest.raises(UserError, match=r"validation.reshuffle draws .* validation.split is given"):
        space(both)
    with pytest.raises(UserError, match=r"final.reshuffle draws .* validation.split is given; keep one"):
        space(SPACE.replace("{fraction: 0.25}", "{split: given}"), ["final.reshuffle=true"])
    with pytest.raises(UserError, match=r"reshuffle is 'yes!'; allowed: true or false"):
        space(SPACE, ["validation.reshuffle=yes!"])
    asked = ["final.reshuffle=true"]
    with pytest.raises(UserError, match=r"has rows of its own for that\nwhat helps: --set validation.fraction=0.2"):
        fitted(space(UNSAID, asked), HELD, asked)
    recorded = fitted(space(), HELD)
    with pytest.raises(UserError, match="the study has those of its data set"):
        as_recorded(space(UNSAID, asked), recorded)
    assert fitted(space(UNSAID, asked), MADE, asked).final.reshuffle


def test_asking_for_rows_of_their_own_is_asking_for_others_than_the_publishers():
    found = fitted(space(UNSAID, ["validation.reshuffle=true"]), HELD, ["validation.reshuffle=true"])
    assert found.validation == Validation(reshuffle=True)
    assert found.of_finals() == found
    assert not space(UNSAID, WAYS["trials"]).of_finals().validation.reshuffle
