"""A search and TensorBoard: what the server shows is what the study's files say."""

import csv
import shutil

import pytest
import yaml
from board_server import Served
from toy import write_toy

from avtune.cli.main import main

SEARCH = ("search", "toy.h5", "--space", "space.yaml", "--runner", "inline", "--gpus", "0", "--name", "one")
SMALL = ("--set", "final.finalists=1", "--trials")


@pytest.fixture
def toy(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_toy(tmp_path)
    return tmp_path


def values_of(row):
    return {one["name"]["tag"]: one["value"] for one in row["metricValues"]}


def check(study):
    """Compares what the server shows with `trials.csv` and `best.yaml`."""
    rows = Served(study / "tensorboard").rows()
    trials = list(csv.DictReader((study / "trials.csv").read_text().splitlines()))
    shown = {name: row for name, row in rows.items() if not name.startswith("finals/")}
    assert sorted(shown) == [f"trial_{int(one['trial']):05d}" for one in trials]
    for one in trials:
        row = shown[f"trial_{int(one['trial']):05d}"]
        got = values_of(row)
        assert got["map/val_best"] == pytest.approx(float(one["val_map"]), abs=1e-6)
        assert got["usage/epochs"] == float(one["epochs"])
        assert row["hparams"]["1.margin"] == pytest.approx(float(one["margin"]))
        assert row["sessions"][0]["status"] == "STATUS_SUCCESS"
    best = yaml.safe_load((study / "best.yaml").read_text())
    for one in best["finalists"]:
        name = one["trial"] if one["trial"] == "default" else f"trial_{one['trial']:05d}"
        row = rows[f"finals/{name}"]
        assert len(row["sessions"]) == len(one["seeds"])
        assert values_of(row)["map/val_best"] == pytest.approx(one["val_map_mean"], abs=1e-6)


@pytest.mark.slow
def test_a_study_that_is_extended_and_that_an_older_avtune_began(toy):
    study = toy / "results" / "one"
    assert main([*SEARCH, *SMALL, "3"]) == 0
    check(study)
    shutil.rmtree(study / "tensorboard" / "winner")
    assert main(list(SEARCH)) == 0  # as after a kill
    assert Served(study / "tensorboard").get("projector/runs") == ["winner"]
    columns = study / "tensorboard" / "events.out.tfevents.000001"
    columns.write_bytes(columns.read_bytes().replace(b"map/val_best", b"val/mapXbest"))  # of the length of the other
    (study / "tensorboard" / "trial_00000" / "events.out.tfevents.000001").unlink()
    assert main([*SEARCH, "--trials", "4"]) == 0
    check(study)
    texts = Served(study / "tensorboard").get("text/text", run="winner", tag="test scores")
    assert "retrained winner" in texts[0]["text"]
