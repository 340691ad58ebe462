"""A study in Weights & Biases' offline mode, read back from the files that `wandb sync` would send."""

import csv
import importlib.util
import json
import shutil
import struct

import pytest
from toy import SPACE, write_toy

from avtune.cli.main import main
from avtune.report.tracking import StudyReader
from avtune.study.folder import StudyFolder

SEARCH = ("search", "toy.h5", "--space", "space.yaml", "--runner", "inline", "--gpus", "0", "--name", "one")
pytestmark = [
    pytest.mark.skipif(importlib.util.find_spec("wandb") is None, reason="wandb is not installed: pip install wandb"),
    pytest.mark.filterwarnings("ignore"),  # of what it brings with it
    pytest.mark.slow,
]


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """A study that was searched with `--track wandb:tests`."""
    place = tmp_path_factory.mktemp("wandb")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        patch.setenv("WANDB_MODE", "offline")
        patch.setattr("avtune.workflows.tracking.WAIT", 300.0)
        write_toy(place)
        (place / "space.yaml").write_text(SPACE.replace("finalists: 2, seeds: 2", "finalists: 1, seeds: 2"))
        assert main([*SEARCH, "--track", "wandb:tests"]) == 0
        yield StudyFolder(place / "results" / "one")


def records(path):
    """The records of a `.wandb` file: a LevelDB log after a header of 7 bytes, whose blocks of 32 KiB hold pieces with
    a checksum (4 bytes), a length (2) and a kind (1): 1 whole, 2 first, 3 middle, 4 last."""
    from wandb.proto import wandb_internal_pb2

    data, at, whole = path.read_bytes(), 7, b""
    while at + 7 <= len(data):
        if 32768 - at % 32768 < 7:
            at += 32768 - at % 32768
            continue
        _, length, kind = struct.unpack_from("<IHB", data, at)
        whole = (b"" if kind in (1, 2) else whole) + data[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):
            record = wandb_internal_pb2.Record()
            record.ParseFromString(whole)
            yield record


def told(study):
    """Of each run: its record, its history of validation MAP, its summary, its configuration, and its artefacts."""
    found = {}
    for path in sorted((study.root / "tracking" / "wandb").glob("offline-run-*/*.wandb")):
        run, history, summary, config, files = None, [], {}, {}, []
        for record in records(path):
            kind = record.WhichOneof("record_type")
            if kind == "run":
                run = record.run
                config |= {one.key: json.loads(one.value_json) for one in run.config.update}
            elif kind == "history":
                items = {(one.key or one.nested_key[0]): json.loads(one.value_json) for one in record.history.item}
                if "val_map" in items:
                    history.append((items["_step"], items["val_map"]))
            elif kind == "summary":
                summary |= {(one.key or one.nested_key[0]): json.loads(one.value_json) for one in record.summary.update}
            elif kind == "artifact":
                files += [one.path for one in record.artifact.manifest.contents]
        assert run.run_id not in found
        found[run.run_id] = run, history, summary, config, files
    return found


def test_the_numbers_are_those_of_trials_csv(study):
    seen, found = StudyReader(study).read(), told(study)
    rows = list(csv.DictReader(study.trials_csv.read_text().splitlines()))
    trials = {run.display_name: rest for run, *rest in found.values() if run.job_type == "trial"}
    assert sorted(trials) == [f"trial_{int(row['trial']):05d}" for row in rows]
    for row in rows:
        history, summary, config, _ = trials[f"trial_{int(row['trial']):05d}"]
        trial = seen.trials[int(row["trial"])]
        assert history == [(epoch, said["val_map"]) for epoch, said in trial.points(seen.rungs).items()]
        assert summary["best_val_map"] == pytest.approx(float(row["val_map"]), abs=1e-6)
        assert (summary["best_epoch"], summary["epochs"]) == (int(row["best_epoch"]), int(row["epochs"]))
        assert summary["state"] == row["state"]
        assert config["margin"] == float(row["margin"])
    assert {run.run_group for run, *_ in found.values()} == {"one"}
    assert {run.project for run, *_ in found.values()} == {"tests"}


def test_the_study_is_a_run_with_its_scores_and_its_model(study):
    seen = StudyReader(study).read()
    ((run, _, summary, config, files),) = [one for one in told(study).values() if one[0].job_type == "study"]
    assert run.display_name == "one"
    assert summary["test_map"] == seen.results.test.map.mean
    assert config["method"] == "triplet"
    assert {"final/model.safetensors", "final/MODEL_CARD.md", "report.html"} <= set(files)


def test_to_send_again_makes_no_doubles(study, monkeypatch, capsys):
    monkeypatch.chdir(study.root.parent.parent)
    monkeypatch.setenv("WANDB_MODE", "offline")
    before = sorted(told(study))
    assert main(["track", "one", "wandb:tests"]) == 0
    assert sorted(told(study)) == before
    path = study.root / "tracking" / "wandb-tests.json"  # as after a kill between a run and its note
    sent = json.loads(path.read_text())
    del sent["1"]
    path.write_text(json.dumps(sent))
    assert main(["track", "one", "wandb:tests"]) == 0
    assert sorted(told(study)) == before
    assert json.loads(path.read_text()).keys() == {*sent, "1"}
    shutil.rmtree(study.root / "tracking")  # forgotten: the study is another one for W&B then
    assert main(["track", "one", "wandb:tests"]) == 0
    assert len(told(study)) == len(before)
