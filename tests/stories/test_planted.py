"""The stories find faults that are planted: in files, and in avtune itself."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from story_checks import study_problems
from story_files import settings_of, trials_of
from story_known import Known
from story_looks import after_search, counted
from story_remake import Remake
from story_world import World, clips

from avtune.cli.main import main
from avtune.engine.model import Model, load_model

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform != "linux", reason="forks")]

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A finished study with checkpoints and a trial that was retrained, and what trains its runs again."""
    world = World(
        folder=tmp_path_factory.mktemp("planted") / "work",
        kind="plain",
        deterministic=True,
        precision="fp32",
        protocol="validation",
        epochs=2,
        trials=4,
        finalists=2,
        seeds=2,
        sampler="random",
        reference="none",
        data_seed=5,
    )
    world.write()
    before = os.getcwd()
    os.chdir(world.folder)
    try:
        where = ["--runner", "inline", "--gpus", "0"]
        words = ["search", "clips.h5", "--space", "space.yaml", "--name", "one", *where, "--deterministic"]
        assert main([*words, "--keep", "2", "--precision", "fp32"]) == 0
        assert main(["retrain", "one", "--trial", "1", "--epochs", "1", "--seeds", "1", *where]) == 0
    finally:
        os.chdir(before)
    return world.folder / "results" / "one", Remake(clips(world.data_seed))


@pytest.fixture
def known(made, tmp_path):
    """A copy of the study, checked and remembered."""
    root = tmp_path / "one"
    shutil.copytree(made[0], root)
    one = Known(root, root.parent / "clips.h5", current=True, retrained=[root / "retrained_trial_1"])
    assert study_problems(one, made[1], in_order=True) == []
    one.looks = {"that of the retrained trial"}
    assert list(after_search(one)) == []
    return one


def swap_model(root):
    """The winner's weights are those of another trial, of the same shapes; everything says they are the winner's."""
    model, other = load_model(root / "final"), load_model(root / "retrained_trial_1")
    assert dict(model.config) != dict(other.config)
    swapped = Model(model.method, model.config, other.trained, model.scalers, model.class_names, model.about)
    swapped.save(root / "final")


def other_epoch(root):
    best = yaml.safe_load((root / "best.yaml").read_text())
    best["retrain_epochs"] = 3 - best["retrain_epochs"]
    (root / "best.yaml").write_text(yaml.safe_dump(best))


def other_winner(root):
    best = yaml.safe_load((root / "best.yaml").read_text())
    best["trial"] = next(row["trial"] for row in best["finalists"] if row["trial"] != best["trial"])
    (root / "best.yaml").write_text(yaml.safe_dump(best))


def other_score(root):
    path = root / "final" / "metrics.json"
    metrics = json.loads(path.read_text())
    metrics["test"]["map"]["seeds"][1] += 0.001
    path.write_text(json.dumps(metrics))


def other_interval(root):
    path = root / "final" / "metrics.json"
    metrics = json.loads(path.read_text())
    metrics["test"]["map"]["ci95"][0] -= 0.001
    path.write_text(json.dumps(metrics))


def double(name, needle):
    def plant(root):
        lines = (root / name).read_bytes().splitlines(keepends=True)
        at = next(place for place, line in enumerate(lines) if needle in line)
        (root / name).write_bytes(b"".join([*lines[: at + 1], *lines[at:]]))

    return plant


def drop(name, needle):
    def plant(root):
        lines = (root / name).read_bytes().splitlines(keepends=True)
        at = next(place for place, line in enumerate(lines) if needle in line)
        (root / name).write_bytes(b"".join([*lines[:at], *lines[at + 1 :]]))

    return plant


def change(name, pattern, new):
    def plant(root):
        text = (root / name).read_text()
        changed = re.sub(pattern, new, text, count=1)
        assert changed != text
        (root / name).write_text(changed)

    return plant


def swap_checkpoints(root):
    one, other = sorted((root / "checkpoints").glob("trial_*/model.safetensors"))
    one.rename(root / "aside")
    other.rename(one)
    (root / "aside").rename(other)


def leave(name):
    def plant(root):
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text("half")

    return plant


PLANTS = {
    "the weights of another trial": swap_model,
    "the checkpoints of each other": swap_checkpoints,
    "an epoch twice": double("curves.jsonl", b'"epoch":2'),
    "an end twice": double("curves.jsonl", b'"state"'),
    "an epoch is lost": drop("curves.jsonl", b'"epoch":2'),
    "an end is lost": drop("curves.jsonl", b'"state"'),
    "a value is another": change("curves.jsonl", r'"val_map":0\.\d', '"val_map":0.0'),
    "a proposal is lost": drop("journal.log", b'"trial":1'),
    "a proposal twice": double("journal.log", b'"trial":1'),
    "a run of a finalist is lost": drop("repeats.jsonl", b'"run"'),
    "a state in the table": change("trials.csv", "COMPLETE", "PRUNED"),
    "a value in the table": change("trials.csv", r"0\.(\d)\d", r"0.\g<1>x"),
    "a row of the table": drop("trials.csv", b"\n1,"[1:]),
    "the winner is another": other_winner,
    "the epochs are others": other_epoch,
    "a finalist's value": change("best.yaml", r"  - 0\.\d\d", "  - 0.12"),
    "a test score": other_score,
    "an interval": other_interval,
    "the card": change("final/MODEL_CARD.md", r"0\.\d\d\d\d", "0.1234"),
    "half a file": leave(".trials.csv-abcdefgh"),
    "the seeds' weights": leave("final/seeds/one"),
}


@pytest.mark.parametrize("plant", PLANTS.values(), ids=list(PLANTS))
def test_a_fault_in_a_file_is_found(plant, known, made):
    plant(known.root)
    assert study_problems(known, made[1], in_order=True)


def test_a_fault_that_was_there_from_the_beginning_is_found_too(known, made):
    """What is lost is found by comparing with before; a value that never was right, by training again."""
    change("curves.jsonl", r'"val_map":0\.\d', '"val_map":0.0')(known.root)
    fresh = Known(known.root, known.data, current=False)
    assert any("trained again" in text for text in study_problems(fresh, made[1], in_order=True))


@pytest.mark.parametrize("plant", [drop("scored.jsonl", b'"what"'), double("scored.jsonl", b'"what"')])
def test_a_look_that_is_not_counted_or_counted_twice_is_found(plant, known):
    assert list(counted(known)) == []
    plant(known.root)
    assert list(counted(known))


def test_a_study_that_nothing_happened_to_has_no_problem(known, made):
    assert study_problems(known, made[1], in_order=True) == []
    assert len(trials_of(known.root)) == settings_of(known.root)["space"]["search"]["trials"]


@pytest.mark.long
def test_a_bug_of_the_program_is_found(tmp_path):
    words = [sys.executable, str(Path(__file__).with_name("planted.py")), str(tmp_path)]
    told = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    counts = dict(re.findall(r"^(\w+): (\d+) problems", told.stdout, re.MULTILINE))
    assert counts.pop("nothing") == "0", told.stdout + told.stderr
    assert len(counts) == 5, told.stdout + told.stderr
    assert all(int(count) for count in counts.values()), told.stdout
