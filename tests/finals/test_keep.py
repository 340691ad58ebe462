"""`--keep K`: the weights of a study's K best trials, as models, and no others."""

import json
from pathlib import Path

import pytest
import torch
from command import call
from toy import toy_dataset, write_toy

from avtune.core.trial import Trial
from avtune.data.prepare import for_search
from avtune.engine.model import load_model
from avtune.engine.trainer import train
from avtune.finals.checkpoints import Checkpoints
from avtune.runners.work import save_weights
from avtune.study.curve import Curve
from avtune.study.folder import StudyFolder
from avtune.study.record import Record
from avtune.study.study import Study
from avtune.workflows.open_study import horizon_of, open_space

# What is looked at are the trials' models.
FEW_FINALS = ["--no-reference", "--no-default", "--set", "final.finalists=1", "--set", "final.seeds=1"]


@pytest.fixture
def words(tmp_path):
    data, space = write_toy(tmp_path)
    common = ["--space", space, "--runner", "inline", "--gpus", "0", "--precision", "fp32"]
    return ["search", data, *common, "--name", "one", "--results", tmp_path / "results"]


def study_of(words):
    folder = StudyFolder(Path(words[-1]) / "one")
    return Study(folder, open_space(folder), precision="fp32")


def kept(study):
    return sorted(path.name for path in study.folder.checkpoints.iterdir())


def names(records):
    return sorted(f"trial_{record.number}" for record in records)


def complete(study):
    return [record for record in study.ranking() if record.state == "COMPLETE"]


def test_they_are_the_best_ones_with_the_weights_they_ended_with(words, capsys):
    printed = call(capsys, *words, "--keep", 2, "--set", "early_stopping.grace=5")
    study = study_of(words)
    best = complete(study)
    assert len(best) > 2
    assert kept(study) == names(best[:2])
    assert f"checkpoints: trials {best[0].number}, {best[1].number}" in printed
    model = load_model(study.folder.checkpoints / f"trial_{best[0].number}")
    data = for_search(toy_dataset(), fraction=0.25, folds=None, seed=1)
    again = train(best[0].trial, data, lambda epoch, metrics: True, device="cpu")
    assert model.trained.params.keys() == again.params.keys()
    assert all(torch.equal(model.trained.params[name], value) for name, value in again.params.items())
    evaluated = json.loads(
        call(capsys, "evaluate", study.folder.checkpoints / f"trial_{best[0].number}", words[1], "--json")
    )
    assert 0 < evaluated["map"] <= 1


def test_a_study_that_is_extended_keeps_the_best_of_all(words, capsys):
    call(capsys, *words, "--keep", 2)
    call(capsys, *words, "--trials", 12)
    study = study_of(words)
    assert kept(study) == names(complete(study)[:2])
    call(capsys, *words, "--keep", 1)
    assert kept(study) == names(complete(study)[:1])


def test_without_it_there_are_none(words, capsys):
    assert "checkpoints" not in call(capsys, *words)
    assert not study_of(words).folder.checkpoints.exists()


def test_the_disk_holds_as_many_as_asked_for(tmp_path):
    folder = StudyFolder(tmp_path)
    folder.checkpoints.mkdir()
    checkpoints = Checkpoints(folder, 3)
    values = [0.5, 0.9, 0.1, 0.7, 0.7, 0.2, 0.8]
    for number, value in enumerate(values):
        trial = Trial(number, "triplet", {}, 0, 1, save_to=str(folder.checkpoint(number)))
        save_weights(trial, {"w": torch.ones(1)}, {}, 1)
        state = "PRUNED" if number == 1 else "COMPLETE"
        checkpoints.ended(Record(trial, state=state, values=Curve([value])))
        assert len(list(folder.checkpoints.iterdir())) <= 3
    assert sorted(path.name for path in folder.checkpoints.iterdir()) == [f"{n}.safetensors" for n in (3, 4, 6)]


def test_what_cannot_be_kept_is_said(words, capsys):
    assert call(capsys, *words, "--keep", -1, code=2).startswith("avtune: --keep is -1; allowed: a whole number from 0")
    assert not (Path(words[-1]) / "one").exists()


def test_with_an_open_horizon_the_weights_are_those_of_the_best_epoch(words, capsys):
    call(capsys, *words, "--keep", 1, "--epochs", "auto", "--trials", 2, *FEW_FINALS)
    folder = StudyFolder(Path(words[-1]) / "one")
    space, rows = open_space(folder), folder.settings()["rows"]
    study = Study(folder, space, precision="fp32", checkpoints=True, horizon=horizon_of(space, rows))
    best = complete(study)[0]
    assert best.trial.keep_best
    assert best.ended_flat
    assert best.best_epoch < best.values.last
    model = load_model(folder.checkpoints / f"trial_{best.number}")
    assert model.trained.epochs == best.best_epoch
    data = for_search(toy_dataset(), fraction=0.25, folds=None, seed=1)
    again = train(best.trial, data, lambda epoch, metrics: True, device="cpu")
    assert again.epochs == best.best_epoch
    assert all(torch.equal(model.trained.params[name], value) for name, value in again.params.items())


def test_what_a_kill_left_of_a_model_that_was_being_written_goes(words, capsys):
    call(capsys, *words, "--keep", 1)
    (model,) = study_of(words).folder.checkpoints.iterdir()
    files = sorted(path.name for path in model.iterdir())
    for name in files:
        (model / f".{name}-ab_cd012").write_text("half of it")
    call(capsys, *words)
    assert sorted(path.name for path in model.iterdir()) == files
