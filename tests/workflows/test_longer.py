"""Trained long enough, or told so: a whole search at the command line, with an open horizon and with a short one."""

import json
import shlex

import pytest
from command import call
from toy import write_toy

from avtune.data import write_hdf5
from avtune.data.demo import generated

CLASSES = 8
SIZES = ["--set", "space.hidden_dim=32", "--set", "space.embedding_dim=16", "--set", "space.batch_size=64"]
SMALL = ["--space", "demo", "--trials", "1", *SIZES, "--runner", "inline", "--gpus", "0"]
ONE = ["--set", "final.finalists=1", "--set", "final.seeds=1", "--set", "final.reference=none"]


@pytest.fixture(scope="module")
def slow(tmp_path_factory):
    """400 clips that take fifty epochs to learn."""
    path = tmp_path_factory.mktemp("slow") / "slow.h5"
    write_hdf5(generated("slow", [400 // CLASSES] * CLASSES, [36] * CLASSES, 0), path)
    return path


def metrics_of(results, name):
    return json.loads((results / name / "final" / "metrics.json").read_text())


@pytest.mark.slow
def test_a_horizon_that_is_too_short_is_said_everywhere_and_the_command_helps(slow, tmp_path, capsys):
    words = ["search", slow, *SMALL, *ONE, "--set", "space.lr={type: float, low: 5e-4, high: 1e-3, log: true}"]
    printed = call(capsys, *words, "--name", "short", "--results", tmp_path, "--epochs", "16")
    short = metrics_of(tmp_path, "short")
    command = short["still_rises"]["command"]
    sentence = f"still rises at its last epoch, {short['still_rises']['epochs']}"
    study = tmp_path / "short"
    assert sentence in printed
    assert command in printed
    assert sentence in (study / "report.html").read_text()
    assert sentence in (study / "final" / "MODEL_CARD.md").read_text()
    before = [line for line in (study / "curves.jsonl").read_text().splitlines() if '"epoch"' in line]
    printed = call(capsys, *shlex.split(command)[1:], "--runner", "inline", "--gpus", "0")
    assert "changed: early_stopping.epochs: 16 -> 48" in printed
    longer = metrics_of(tmp_path, "short")
    assert longer["test"]["map"]["mean"] > short["test"]["map"]["mean"]
    assert longer["validation"]["map"]["mean"] > short["validation"]["map"]["mean"]
    after = [line for line in (study / "curves.jsonl").read_text().splitlines() if '"epoch"' in line]
    assert after[: len(before)] == before
    assert len(after) > len(before)


@pytest.mark.slow
@pytest.mark.long
def test_an_open_horizon_ends_near_a_long_one(slow, tmp_path, capsys):
    words = ["search", slow, *SMALL, *ONE, "--results", tmp_path]
    plan = call(capsys, *words, "--name", "auto")
    assert "a trial ends when nothing better has come for" in plan
    call(capsys, *words, "--name", "long", "--epochs", "90")
    ours, theirs = metrics_of(tmp_path, "auto"), metrics_of(tmp_path, "long")
    assert "still_rises" not in ours
    call(capsys, "retrain", "auto", "--results", tmp_path, "--trial", "0", "--seeds", "1", "--runner", "inline")
    assert ours["validation"]["map"]["mean"] > theirs["validation"]["map"]["mean"] - 0.01
    assert ours["test"]["map"]["mean"] > theirs["test"]["map"]["mean"] - 0.02


def test_few_steps_an_epoch_are_pointed_out(tmp_path, capsys):
    write_toy(tmp_path)
    words = ["search", tmp_path / "toy.h5", "--space", tmp_path / "space.yaml", "--runner", "inline", "--gpus", "0"]
    printed = call(capsys, *words, *ONE, "--trials", "1", "--results", tmp_path / "results")
    assert "training rows in batches of 16 are" in printed


def test_epochs_of_another_kind_are_refused(tmp_path, capsys):
    write_toy(tmp_path)
    words = ["search", tmp_path / "toy.h5", "--space", tmp_path / "space.yaml", "--results", tmp_path / "results"]
    words += ["--runner", "inline", "--gpus", "0", "--trials", "1", *ONE]
    assert "--set early_stopping.epochs=many" in call(capsys, *words, "--epochs", "many", code=2)
    call(capsys, *words, "--epochs", "3")
    assert "early_stopping.epochs: 3 -> 2" in call(capsys, *words, "--epochs", "2", code=2)
    assert "early_stopping.epochs: 3 -> auto" in call(capsys, *words, "--epochs", "auto", code=2)
