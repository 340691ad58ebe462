"""A study in MLflow's own SQLite store, also behind its server: the numbers of `trials.csv`, and nothing twice."""

import contextlib
import csv
import importlib.util
import itertools
import os
import shutil
import signal
import socket
import subprocess
import sys
import urllib.request
from dataclasses import replace
from pathlib import Path

import pytest
from toy import SPACE, write_toy

from avtune.cli.main import main
from avtune.report.tracking import SeenTrial, StudyReader
from avtune.study.folder import StudyFolder

FIXTURE = Path(__file__).parents[1] / "fixtures" / "study_v1"
SEARCH = ("search", "toy.h5", "--space", "space.yaml", "--runner", "inline", "--gpus", "0", "--name", "one")
pytestmark = [
    pytest.mark.skipif(importlib.util.find_spec("mlflow") is None, reason="not installed: pip install mlflow"),
    pytest.mark.filterwarnings("ignore"),  # of what it brings with it
    pytest.mark.slow,
]


@pytest.fixture(scope="module")
def tracked(tmp_path_factory):
    """A study that was searched with `--track mlflow:...`, and the client of its store."""
    place = tmp_path_factory.mktemp("mlflow")
    uri = f"sqlite:///{place / 'ml.db'}"
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        patch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
        patch.setattr("avtune.workflows.tracking.WAIT", 300.0)  # its import may take longer than the search
        write_toy(place)
        (place / "space.yaml").write_text(SPACE.replace("finalists: 2, seeds: 2", "finalists: 1, seeds: 2"))
        assert main([*SEARCH, "--track", f"mlflow:{uri}"]) == 0
        from mlflow import MlflowClient

        yield StudyFolder(place / "results" / "one"), uri, MlflowClient(uri)


def runs(client, **tags):
    experiment = client.get_experiment_by_name("avtune")
    found = client.search_runs([experiment.experiment_id], max_results=1000)
    return [one for one in found if tags.items() <= one.data.tags.items()]


def children(client, study_id):
    found = {run.data.tags.get("avtune.trial"): run for run in runs(client, **{"avtune.study": study_id})}
    parent = found.pop(None)
    return parent, {int(number): run for number, run in found.items()}


def history(client, run, name="val_map"):
    return sorted((one.step, one.value) for one in client.get_metric_history(run.info.run_id, name))


def test_the_numbers_are_those_of_trials_csv(tracked):
    folder, _, client = tracked
    seen = StudyReader(folder).read()
    parent, found = children(client, seen.id)
    rows = list(csv.DictReader(folder.trials_csv.read_text().splitlines()))
    assert sorted(found) == [int(row["trial"]) for row in rows]
    for row in rows:
        run = found[int(row["trial"])]
        assert run.data.metrics["best_val_map"] == pytest.approx(float(row["val_map"]), abs=1e-6)
        assert run.data.metrics["best_epoch"] == int(row["best_epoch"])
        assert run.data.metrics["epochs"] == int(row["epochs"])
        assert run.data.metrics["seconds"] == pytest.approx(float(row["seconds"]), abs=1e-3)
        assert {name: run.data.params[name] for name in list(row)[5:-1]} == {
            name: row[name] for name in list(row)[5:-1]
        }
        assert run.data.tags["avtune.state"] == row["state"]
        assert run.info.status == "FINISHED"
        assert run.data.tags["mlflow.parentRunId"] == parent.info.run_id
        trial = seen.trials[int(row["trial"])]
        points = [(epoch, said["val_map"]) for epoch, said in trial.points(seen.rungs).items()]
        assert history(client, run) == points


def test_the_study_has_its_scores_and_its_model(tracked):
    folder, _, client = tracked
    seen = StudyReader(folder).read()
    parent, _ = children(client, seen.id)
    assert parent.info.status == "FINISHED"
    assert parent.info.run_name == "one"
    assert parent.data.params["method"] == "triplet"
    assert parent.data.metrics["test_map"] == seen.results.test.map.mean
    there = {one.path for where in (None, "final") for one in client.list_artifacts(parent.info.run_id, where)}
    assert {
        "final/model.safetensors",
        "final/MODEL_CARD.md",
        "final/metrics.json",
        "report.html",
        "trials.csv",
    } <= there
    local = client.download_artifacts(parent.info.run_id, "report.html")
    assert Path(local).read_bytes() == folder.report_html.read_bytes()


def test_to_send_again_changes_nothing(tracked, monkeypatch, capsys):
    folder, uri, client = tracked
    monkeypatch.chdir(folder.root.parent.parent)
    before = [(run.info.run_id, history(client, run)) for run in runs(client)]
    assert main(["track", "one", f"mlflow:{uri}"]) == 0
    assert "has all of results/one" in capsys.readouterr().out
    assert [(run.info.run_id, history(client, run)) for run in runs(client)] == before


class Killed(Exception):
    pass


def killed_after(tracker, most):
    """Has a tracker end at its n-th call."""
    calls = itertools.count(1)

    def planted(real):
        def call(*words, **more):
            if next(calls) > most:
                raise Killed
            return real(*words, **more)

        return call

    for name in ("create_run", "log_batch", "set_terminated", "update_run"):
        setattr(tracker._client, name, planted(getattr(tracker._client, name)))
    return tracker


def test_what_a_kill_left_is_completed_without_doubles(tracked, tmp_path):
    from avtune.report.track_mlflow import MlflowTracker

    folder, uri, client = tracked
    whole = replace(StudyReader(folder).read(), id="another")
    for most in range(1, 30, 4):
        tracker = killed_after(MlflowTracker(uri), most)
        with contextlib.suppress(Killed):
            tracker.sync(whole, ended=True)
    MlflowTracker(uri).sync(whole, ended=True)
    parent, found = children(client, "another")
    assert len(runs(client, **{"avtune.study": "another"})) == len(whole.trials) + 1
    assert parent.info.status == "FINISHED"
    for number, run in found.items():
        trial = whole.trials[number]
        points = [(epoch, said["val_map"]) for epoch, said in trial.points(whole.rungs).items()]
        assert history(client, run) == points
        assert run.info.status == "FINISHED"
        assert run.data.params.keys() == trial.config.keys()


def test_a_trial_goes_on_fails_and_is_trained_again(tracked):
    from avtune.report.track_mlflow import MlflowTracker

    folder, uri, client = tracked
    whole = StudyReader(folder).read()

    def study(trial):
        return replace(whole, id="third", trials={0: trial}, rungs={1, 3}, results=None)

    def epochs(*values):
        return [{"val_map": value} for value in values]

    tracker = MlflowTracker(uri)
    tracker.sync(study(SeenTrial(0, {"margin": 0.5}, epochs=epochs(0.1, 0.2))), ended=False)
    _, found = children(client, "third")
    assert (found[0].info.status, history(client, found[0])) == ("RUNNING", [(1, 0.1)])
    tracker.sync(study(SeenTrial(0, {"margin": 0.5}, epochs=epochs(0.1, 0.2, 0.3))), ended=True)
    _, found = children(client, "third")
    assert (found[0].info.status, history(client, found[0])) == ("KILLED", [(1, 0.1), (3, 0.3)])

    tracker = MlflowTracker(uri)  # the search goes on
    failed = SeenTrial(0, {"margin": 0.5}, epochs=epochs(0.1, 0.2, 0.3, 0.4), state="FAIL", reason="it broke")
    tracker.sync(study(failed), ended=False)
    _, found = children(client, "third")
    assert (found[0].info.status, found[0].data.tags["avtune.failure"]) == ("FAILED", "it broke")
    again = SeenTrial(0, {"margin": 0.5}, attempt=1, epochs=epochs(0.5), state="COMPLETE")
    tracker.sync(study(again), ended=False)
    parent, found = children(client, "third")
    assert (found[0].info.status, history(client, found[0])) == ("FINISHED", [(1, 0.5)])
    assert parent.info.status == "RUNNING"
    longer = SeenTrial(0, {"margin": 0.5}, attempt=1, epochs=epochs(0.5, 0.6), state="COMPLETE")
    tracker.sync(study(longer), ended=True)
    parent, found = children(client, "third")
    assert history(client, found[0]) == [(1, 0.5), (2, 0.6)]
    assert found[0].data.metrics["best_val_map"] == 0.6
    assert parent.info.status == "KILLED"


@pytest.fixture
def server(tmp_path, monkeypatch):
    """The address of a server on this machine, with a store in SQLite."""
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    monkeypatch.setenv("MLFLOW_SERVER_ENABLE_JOB_EXECUTION", "false")  # processes that nothing here needs
    with socket.create_server(("127.0.0.1", 0)) as one:
        port = one.getsockname()[1]
    stores = ["--backend-store-uri", f"sqlite:///{tmp_path}/ml.db", "--artifacts-destination", str(tmp_path / "files")]
    command = [sys.executable, "-P", "-W", "ignore", "-m", "mlflow", "server", "--port", str(port), "--workers", "1"]
    address, log = f"http://127.0.0.1:{port}", tmp_path / "server.log"
    with log.open("wb") as said:
        process = subprocess.Popen([*command, *stores], cwd=tmp_path, stdout=said, stderr=said, process_group=0)
    try:
        while not answers(f"{address}/health"):
            with contextlib.suppress(subprocess.TimeoutExpired):
                pytest.fail(f"it ended with {process.wait(0.2)}: {log.read_text()}")
        yield address
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def answers(address):
    try:
        with urllib.request.urlopen(address, timeout=10) as answer:
            return answer.status == 200
    except OSError:
        return False


def test_a_server_returns_the_numbers_of_trials_csv(server, tmp_path, capsys):
    from mlflow import MlflowClient

    folder = StudyFolder(tmp_path / "study")
    shutil.copytree(FIXTURE, folder.root)
    assert main(["track", str(folder.root), f"mlflow:{server}"]) == 0, capsys.readouterr()
    seen, client = StudyReader(folder).read(), MlflowClient(server)
    parent, found = children(client, seen.id)
    rows = list(csv.DictReader(folder.trials_csv.read_text().splitlines()))
    assert sorted(found) == [int(row["trial"]) for row in rows]
    for row in rows:
        run, trial = found[int(row["trial"])], seen.trials[int(row["trial"])]
        assert run.data.metrics["best_val_map"] == pytest.approx(float(row["val_map"]), abs=1e-6)
        assert run.data.tags["avtune.state"] == row["state"]
        points = [(epoch, said["val_map"]) for epoch, said in trial.points(seen.rungs).items()]
        assert history(client, run) == points
    assert parent.data.metrics["test_map"] == seen.results.test.map.mean
    kept = client.download_artifacts(parent.info.run_id, "final/metrics.json", str(tmp_path))
    assert Path(kept).read_bytes() == folder.metrics.read_bytes()


def test_neither_telemetry_nor_a_package_of_the_current_folder(tmp_path):
    """What the process of a tracker is started with."""
    (tmp_path / "mlflow.py").write_text("raise SystemExit('hostile')")
    code = (
        "from avtune.report.track_process import tracker_of; from avtune.report.tracking import Target; import os;"
        f"tracker_of(Target('mlflow', 'sqlite:///{tmp_path}/ml.db'));"
        "print(os.environ['MLFLOW_DISABLE_TELEMETRY'], os.environ['DO_NOT_TRACK'])"
    )
    command = [sys.executable, "-P", "-c", code]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert ended.stdout.split() == ["true", "true"]


def test_a_study_that_was_extended_is_sent_again(tracked):
    from avtune.report.track_mlflow import MlflowTracker

    folder, uri, client = tracked
    whole = replace(StudyReader(folder).read(), id="extended", trials={}, results=None)
    MlflowTracker(uri).sync(whole, ended=True)
    for trials in (40, 50):
        more = replace(whole, facts={**whole.facts, "search.trials": trials, "acc": "new"})
        MlflowTracker(uri).sync(more, ended=True)
        parent, _ = children(client, "extended")
        assert parent.data.params == {**{name: str(value) for name, value in whole.facts.items()}, "acc": "new"}
        assert parent.data.tags["avtune.now.search.trials"] == str(trials)
