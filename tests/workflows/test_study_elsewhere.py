"""On which folder the machines of a cluster are looked at for a study that is not where `--results` says."""

import shutil

import pytest
import yaml
from command import call
from test_continue import interrupted
from toy import SPACE, toy_dataset, write_toy

import avtune
from avtune.core.errors import UserError
from avtune.runners.ray import cluster

SMALL = {"trials": 5, "epochs": 2, "set": {"final.finalists": 1, "final.seeds": 1}, "quiet": True, "gpus": 0}


@pytest.fixture
def study(tmp_path, monkeypatch):
    """A study that was interrupted, in another folder than the current one's `results`."""
    monkeypatch.chdir(tmp_path)
    write_toy(tmp_path)
    with interrupted(3), pytest.raises(KeyboardInterrupt):
        avtune.search("toy.h5", space=yaml.safe_load(SPACE), name="one", runner="inline", **SMALL)
    (tmp_path / "elsewhere").mkdir()
    shutil.move(tmp_path / "results" / "one", tmp_path / "elsewhere" / "one")
    return tmp_path / "elsewhere" / "one"


@pytest.fixture
def looked(monkeypatch):
    """The folders on which machines were looked at; the search goes no further."""
    folders = []

    def find(given, shared, *, gpus):
        folders.append(shared)
        raise UserError("no further")

    monkeypatch.setattr(cluster, "find_cluster", find)
    return folders


ON_A_CLUSTER = ("--cluster", "10.0.0.5:6379", "--gpus", "0")


def test_the_command_line_looks_where_the_study_is(study, looked, capsys):
    for verb in ("retrain", "finish"):
        assert call(capsys, verb, "elsewhere/one", *ON_A_CLUSTER, code=2) == "avtune: no further\n"
    assert looked == [study.parent, study.parent]


def test_python_looks_where_the_study_is(study, looked):
    for verb in (avtune.retrain, avtune.finish):
        with pytest.raises(UserError, match="no further"):
            verb(study, data=toy_dataset(), cluster="10.0.0.5:6379", gpus=0, quiet=True)
    assert looked == [study.parent, study.parent]


def test_a_model_that_is_to_be_elsewhere_is_written_there(study, looked, capsys, tmp_path):
    call(capsys, "retrain", study, "--out", "models/mine", *ON_A_CLUSTER, code=2)
    call(capsys, "retrain", study, "--out", "elsewhere/mine", *ON_A_CLUSTER, code=2)
    assert looked == [tmp_path / "models", study.parent]
