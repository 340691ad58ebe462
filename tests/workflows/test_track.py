"""Tracking beside a search: whatever becomes of a tracker, the search does not notice. With a package of the test's own
in the place of MLflow's."""

import csv
import importlib.util
import json
import os
import shutil
import signal
from pathlib import Path

import pytest
from command import call
from toy import SPACE, write_toy

import avtune
from avtune.core.errors import UserError
from avtune.report.tracking import SeenTrial, StudyReader, Target
from avtune.study.folder import StudyFolder
from avtune.workflows import tracking

FIXTURE = Path(__file__).parents[1] / "fixtures" / "study_v1"
SEARCH = ("search", "toy.h5", "--space", "space.yaml", "--runner", "inline", "--gpus", "0", "--name", "one")
SMALL = SPACE.replace("trials: 5", "trials: 2").replace("finalists: 2, seeds: 2", "finalists: 1, seeds: 1")

ENTITIES = "class Metric: pass\nclass Param: pass\nclass RunTag: pass\n"
HANGS = """
import os, time
class MlflowClient:
    def __init__(self, tracking_uri):
        open(os.environ["MARK"], "w").write(str(os.getpid()))
        time.sleep(3600)  # a server that never answers
"""
FAILS = """
import os
class MlflowClient:
    def __init__(self, tracking_uri):
        open(os.environ["MARK"], "w").write(str(os.getpid()))
        raise ConnectionError("nobody is there")
"""


@pytest.fixture
def toy(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_toy(tmp_path)
    (tmp_path / "space.yaml").write_text(SMALL)
    monkeypatch.setenv("MARK", str(tmp_path / "mark"))
    return tmp_path


@pytest.fixture
def package(toy, monkeypatch):
    """Puts a package in the place of MLflow's, for this process and those that it starts."""

    def make(source):
        (toy / "site" / "mlflow").mkdir(parents=True)
        (toy / "site" / "mlflow" / "__init__.py").write_text(source)
        (toy / "site" / "mlflow" / "entities.py").write_text(ENTITIES)
        before = os.environ.get("PYTHONPATH", "")
        monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(toy / "site"), *([before] if before else [])]))
        monkeypatch.syspath_prepend(str(toy / "site"))

    return make


def is_running(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def begun(process_mark):
    """Has the wait at the end begin only when the tracker is at its work."""

    class Patient(tracking.Trackers):
        def __exit__(self, *words):
            (process,) = [one for _, one in self._processes]
            process.stdin.close()
            while not process_mark.is_file() and process.poll() is None:
                os.sched_yield()
            super().__exit__(*words)

    return Patient


@pytest.mark.slow
@pytest.mark.parametrize("source", [HANGS, FAILS], ids=["never answers", "refuses"])
def test_a_search_ends_as_without_a_tracker(toy, package, monkeypatch, capsys, source):
    from avtune.workflows import search

    package(source)
    monkeypatch.setattr(tracking, "WAIT", 0.1 if source is HANGS else 60.0)
    monkeypatch.setattr(search, "Trackers", begun(toy / "mark"))
    printed = call(capsys, *SEARCH, "--track", "mlflow:http://127.0.0.1:9")
    assert "winner: trial" in printed
    assert printed.rstrip().endswith("the rest: avtune track results/one mlflow:http://127.0.0.1:9")
    rows = list(csv.DictReader((toy / "results" / "one" / "trials.csv").read_text().splitlines()))
    assert {row["state"] for row in rows} <= {"COMPLETE", "PRUNED"}
    assert not is_running(int((toy / "mark").read_text()))
    if source is FAILS:
        assert "nobody is there" in (toy / "results" / "one" / "tracking" / "mlflow.log").read_text()


def test_what_is_wrong_with_track_is_said_before_a_search(toy, capsys, monkeypatch):
    for given, said in (
        ("mlfow", "allowed: mlflow or wandb"),
        ("mlflow:", "after the colon comes where to"),
        ("tensorboard", "allowed: mlflow or wandb"),
    ):
        assert said in call(capsys, *SEARCH, "--track", given, code=2)
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "wandb" else find(name))
    assert "pip install 'avtune[wandb]'" in call(capsys, *SEARCH, "--track", "wandb", code=2)
    assert not (toy / "results").exists()


def test_one_place_is_tracked_once(package):
    package(FAILS)
    with pytest.raises(UserError, match="is given twice"):
        tracking.checked(["mlflow", "mlflow"])


def test_the_process_follows_the_search_and_not_its_signals(toy, package):
    """It outlives Ctrl-C, which goes to all processes of a terminal, and ends with its input."""
    package(HANGS.replace("time.sleep(3600)", "pass").replace("class MlflowClient:", "class MlflowClient:", 1))
    shutil.copytree(FIXTURE, toy / "study")
    trackers = tracking.Trackers([Target.parse("mlflow")], StudyFolder(toy / "study"), print)
    trackers.start()
    ((_, process),) = trackers._processes
    log = toy / "study" / "tracking" / "mlflow.log"
    while "did not take" not in log.read_text() and process.poll() is None:  # this client can do nothing
        os.sched_yield()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        process.send_signal(number)
    assert process.poll() is None
    trackers.__exit__(None, None, None)
    assert process.returncode == 3


def test_the_reader_sees_what_trials_csv_says(tmp_path):
    shutil.copytree(FIXTURE, tmp_path / "study")
    folder = StudyFolder(tmp_path / "study")
    seen = StudyReader(folder).read()
    rows = list(csv.DictReader(folder.trials_csv.read_text().splitlines()))
    assert len(seen.trials) == len(rows)
    for row in rows:
        trial = seen.trials[int(row["trial"])]
        assert trial.state == row["state"]
        assert trial.summary["best_val_map"] == pytest.approx(float(row["val_map"]), abs=1e-6)
        assert trial.summary["epochs"] == int(row["epochs"])
        assert trial.summary["best_epoch"] == int(row["best_epoch"])
        assert {name: str(value) for name, value in trial.config.items()} == {
            name: row[name] for name in list(row)[5:-1]
        }
        assert trial.points(seen.rungs).keys() >= {trial.best_epoch, len(trial.epochs)}
    assert seen.scores["test_map"] == json.loads(folder.metrics.read_text())["test"]["map"]["mean"]
    assert StudyReader(folder).read().id == seen.id


def test_only_the_rungs_of_a_running_trial_are_sent():
    trial = SeenTrial(0, {}, epochs=[{"val_map": value, "seconds": 1.0} for value in (0.1, 0.5, 0.2, 0.3)])
    assert trial.points({1, 3, 9}) == {1: {"val_map": 0.1}, 3: {"val_map": 0.2}}
    trial.state = "COMPLETE"
    assert sorted(trial.points({1, 3, 9})) == [1, 2, 3, 4]


@pytest.mark.parametrize(("given", "said"), [(5, "track is 5; allowed: text"), ("mlfow", "track is 'mlfow'; allowed")])
def test_python_says_it_too(toy, given, said):
    with pytest.raises(UserError, match=said):
        avtune.search("toy.h5", space="space.yaml", track=given, quiet=True)
