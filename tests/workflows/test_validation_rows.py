"""The publisher's validation split, groups and equal rows: in a search's split, in what it records and says."""

import dataclasses

import h5py
import numpy as np
import pytest
import yaml
from toy import SPACE, toy_dataset, write_toy

from avtune.cli.main import main
from avtune.core.errors import UserError
from avtune.core.run_key import search_basis
from avtune.data import read
from avtune.data.dataset import Split
from avtune.data.prepare import folds_of, for_search, search_scalers
from avtune.methods import METHODS, hypers_of
from avtune.space.parse import parse
from avtune.space.settings import Validation
from avtune.workflows import validation_rows
from avtune.workflows.validation_rows import as_recorded, fitted, many_rows_notes

MADE = toy_dataset()
HELD = dataclasses.replace(MADE, validation=np.arange(48, 60))
WHOLE = MADE.train
TWINS = dataclasses.replace(
    MADE, train=Split(*(np.concatenate([one, one[:6]]) for one in (WHOLE.audio, WHOLE.visual, WHOLE.labels)))
)
UNSAID = SPACE.replace("validation: {fraction: 0.25}", "")


def space(text=UNSAID, overrides=()):
    return parse(text, file="a.yaml", hypers_of=hypers_of, method_names=METHODS, overrides=overrides)


def test_a_given_validation_split_is_used_where_nobody_asks_for_another():
    assert fitted(space(), MADE) == space()
    found = fitted(space(), HELD).validation
    assert found == Validation(fraction=None, split="given")
    assert fitted(space(SPACE), HELD).validation.fraction == 0.25
    asked = ["validation.fraction=0.2"]
    assert fitted(space(overrides=asked), HELD, asked).validation == Validation()
    asked = ["validation.split=given"]
    assert fitted(space(SPACE, asked), HELD, asked).validation.split == "given"
    with pytest.raises(UserError, match=r"has no validation split, and validation.split is given"):
        fitted(space(SPACE, asked), MADE, asked)
    with pytest.raises(UserError, match="validation has both split and fraction"):
        space(SPACE.replace("{fraction: 0.25}", "{fraction: 0.25, split: given}"))


def test_the_rows_of_a_given_split_are_validated_on():
    (prepared,) = for_search(HELD, fraction=None, folds=None, seed=1, given=True)
    assert (len(prepared.train), len(prepared.validation)) == (48, 12)
    (fold,) = folds_of(HELD, fraction=None, folds=None, seed=1, given=True)
    assert sorted(fold.validation) == list(range(48, 60))
    scalers = search_scalers(HELD, fraction=None, folds=None, seed=1, given=True)
    np.testing.assert_array_equal(prepared.train.audio, scalers.audio.transform(HELD.train.audio[fold.fit]))
    with pytest.raises(UserError, match="has no validation split"):
        for_search(MADE, fraction=None, folds=None, seed=1, given=True)


def test_equal_rows_stay_together_in_new_studies_alone():
    found = fitted(space(), TWINS)
    assert found.validation == Validation(equal_rows="together")
    (fold,) = folds_of(TWINS, fraction=0.2, folds=None, seed=0, equal_rows=True)
    sides = np.isin(np.arange(66), fold.validation)
    assert (sides[:6] == sides[60:]).all()
    assert as_recorded(found, space()).validation == Validation(), "a study that was begun before keeps its split"
    assert as_recorded(space(), found).validation == found.validation
    again = space(yaml.safe_dump(found.as_dict()))
    assert again.validation == found.validation


def test_what_decides_the_split_is_in_the_names_of_runs():
    plain = search_basis("digest", 0.2, None, 0, "")
    assert search_basis("digest", 0.2, None, 0, "", *Validation().more) == plain
    ways = Validation(), Validation(equal_rows="together"), Validation(None, None, "given")
    names = {search_basis("digest", one.fraction, one.folds, 0, "", *one.more) for one in ways}
    assert len(names) == 3


@pytest.mark.slow
def test_a_search_of_a_file_with_a_validation_split(tmp_path, capsys):
    path, _ = write_toy(tmp_path)
    with h5py.File(path, "a") as file:
        for key in ("audio", "visual", "lab"):
            whole = file[f"{key}_train"][()]
            del file[f"{key}_train"]
            file[f"{key}_train"], file[f"{key}_val"] = whole[:48], whole[48:]
        file["group_train"], file["group_val"] = np.arange(48) // 2, np.arange(12) // 2 + 24
    assert read(path).digest != MADE.digest
    words = [
        "search",
        path,
        "--space",
        tmp_path / "space.yaml",
        "--results",
        tmp_path / "results",
        "--runner",
        "inline",
    ]
    words += ["--gpus", "0", "--set", "validation.split=given", "--trials", "2", "--epochs", "2"]
    assert main([str(word) for word in words]) == 0
    said = capsys.readouterr().out
    assert "12 of the training clips set aside for validation, training clips in 30 groups" in said
    assert "validation the data set's own validation split" in said
    settings = yaml.safe_load((tmp_path / "results/toy/study.yaml").read_text())
    assert settings["space"]["validation"] == {"split": "given"}
    assert settings["rows"] == 48
    assert main([str(word) for word in words]) == 0, "the same command continues"


def test_many_validation_rows_are_said_with_what_helps(monkeypatch):
    assert many_rows_notes(Validation(), MADE) == []
    monkeypatch.setattr(validation_rows, "MANY_ROWS", 11)
    monkeypatch.setattr(validation_rows, "_ENOUGH", 6)
    assert len(MADE.train) == 60
    (note,) = many_rows_notes(Validation(), MADE)
    assert note.startswith("12 validation rows are compared with each other")
    assert note.endswith("--set validation.fraction=0.1 compares about 6")
    assert many_rows_notes(Validation(fraction=0.18), MADE) == []
    assert many_rows_notes(Validation(fraction=None, folds=5), MADE)[0].startswith("12 ")
    assert many_rows_notes(Validation(fraction=None, split="given"), HELD)[0].startswith("12 ")


def test_a_study_that_an_earlier_version_has_split_otherwise_does_not_go_on(tmp_path, capsys):
    """Its trials would be of two splits."""
    data, file = write_toy(tmp_path)
    words = [
        "search",
        data,
        "--space",
        file,
        "--results",
        tmp_path,
        "--name",
        "old",
        "--runner",
        "inline",
        "--gpus",
        "0",
    ]
    words = [str(word) for word in words] + ["--set", "final.seeds=1", "--epochs", "1"]
    assert main([*words, "--trials", "1"]) == 0
    kept = tmp_path / "old/study.yaml"
    assert "rows: 45" in kept.read_text()
    kept.write_text(kept.read_text().replace("rows: 45", "rows: 40"))
    capsys.readouterr()
    assert main([*words, "--trials", "2"]) == 2
    said = capsys.readouterr().err
    assert "old trains on 40 rows, and its training set is split now so that 45 are trained on" in said
    assert "begin a new study (--name)" in said
