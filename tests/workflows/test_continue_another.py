"""A command that meets a study of another method, or with other settings, under its name: each message has a way out
that works."""

import re
from pathlib import Path

import pytest
import yaml
from command import call
from toy import write_toy
from user_code import function_search, method_search

BASE = ["search", "toy.h5", "--runner", "inline", "--gpus", "0"]
SMALL = [
    word
    for setting in (
        "space.hidden_dim=8", "space.embedding_dim=4", "space.batch_size=16", "search.trials=2", "final.seeds=1",
        "early_stopping.epochs=2", "early_stopping.grace=2", "final.finalists=1", "final.reference=none",
    )
    for word in ("--set", setting)
]  # fmt: skip


@pytest.fixture
def toy(workplace, capsys):
    """A finished study of `psd` under the default name."""
    write_toy(workplace)
    Path("triplet.yaml").write_text(Path("space.yaml").read_text())
    call(capsys, *BASE, *SMALL)
    return workplace


@pytest.mark.parametrize("named", [["--method", "triplet"], ["--space", "triplet.yaml"]])
def test_a_study_of_another_method(toy, capsys, named):
    printed = call(capsys, *BASE, *named, *SMALL, code=2)
    assert "results/toy is a study of psd, not of triplet" in printed
    name = re.search(r"--name (\S+)", printed)[1]
    assert name == "toy-triplet"
    assert "method     triplet" in call(capsys, *BASE, *named, *SMALL, "--name", name)
    assert "finished" in call(capsys, *BASE, *named, *SMALL, "--name", name)


def test_a_method_that_there_is_not_is_no_reason_for_another_study(toy, capsys):
    printed = call(capsys, *BASE, "--method", "triplett", *SMALL, code=2)
    assert "no method is called 'triplett'; did you mean 'triplet'?" in printed
    assert "--name" not in printed


def test_code_of_ones_own_meets_a_study_of_ours(toy, capsys):
    words = [word for word in method_search("pass") if word not in ("--name", "one")]
    assert "add --name toy-Mine" in call(capsys, *words, code=2)
    words = [word for word in function_search("pass") if word not in ("--name", "one")]
    assert "add --name toy-train" in call(capsys, *words, code=2)


def test_a_study_of_code_of_ones_own_that_is_not_named(workplace, capsys, forget):
    words = [word for word in function_search("pass") if word not in ("--name", "one")]
    call(capsys, *words)
    forget()
    printed = call(capsys, *BASE, code=2)
    assert "only the command line may name" in printed
    assert "add --train mine:train to continue it, or --name toy-2" in printed
    assert "finished" in call(capsys, *words)


def test_other_settings(toy, capsys):
    words = [*BASE, *SMALL, "--deterministic"]
    printed = call(capsys, *words, code=2)
    assert "deterministic: False -> True" in printed
    name = re.search(r"--name (\S+)", printed)[1]
    assert name == "toy-2"
    call(capsys, *words, "--name", name)
    assert "--name toy-3" in call(capsys, *words, code=2)


def keep_of():
    return yaml.safe_load(Path("results/toy/study.yaml").read_text())["keep"]


def test_keep_on_a_finished_study_says_that_it_comes_too_late(toy, capsys):
    printed = call(capsys, *BASE, "--keep", "3")
    assert "note: --keep 3 adds nothing here: the weights of trials are kept while they train" in printed
    assert "avtune retrain results/toy --trial N" in printed
    assert not Path("results/toy/checkpoints").exists()
    assert keep_of() == 0
    assert "--keep" not in call(capsys, *BASE)
    printed = call(capsys, *BASE, "--keep", "1", "--trials", "4")
    assert "note: --keep 1 begins here: the weights of trials that have ended are gone" in printed
    assert len(list(Path("results/toy/checkpoints").iterdir())) == 1
    assert keep_of() == 1
    assert "adds nothing here" in call(capsys, *BASE, "--keep", "2")
    assert keep_of() == 1
    assert "note: --keep" not in call(capsys, *BASE, "--keep", "0")
    assert keep_of() == 0
