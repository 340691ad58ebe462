"""What MLflow refuses: parameters that change, and names with signs in them. With a client in the place of its own that
refuses as it does, so that these tests need no package."""

import importlib
import re
import shutil
import sys
from dataclasses import replace
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType, SimpleNamespace
from unittest.mock import MagicMock

import pytest
from command import call

from avtune.core.errors import UserError
from avtune.report.tracking import SeenTrial, StudyReader, Target
from avtune.study.folder import StudyFolder
from avtune.workflows import tracking

FIXTURE = Path(__file__).parents[1] / "fixtures" / "study_v1"


class Refused(Exception):
    error_code = "INVALID_PARAMETER_VALUE"


class Store:
    """Runs by their ids."""

    def __init__(self):
        self.runs = {}
        self.refusal = None

    def client(self, tracking_uri=None):
        return Client(self)


class Client:
    """As much of an `MlflowClient` as a study is sent with."""

    def __init__(self, store):
        self._store = store

    def get_experiment_by_name(self, name):
        return SimpleNamespace(experiment_id="1")

    def search_runs(self, experiments, condition, max_results, page_token):
        class Page(list):
            token = None

        study = re.search(r"= '(.*)'", condition)[1]
        return Page(run for run in self._store.runs.values() if run.data.tags.get("avtune.study") == study)

    def create_run(self, experiment_id, tags, run_name):
        run_id = f"run {len(self._store.runs)}"
        info = SimpleNamespace(run_id=run_id, experiment_id=experiment_id, start_time=1000, status="RUNNING")
        data = SimpleNamespace(tags=dict(tags), params={}, metrics={})
        self._store.runs[run_id] = SimpleNamespace(info=info, data=data)
        return self._store.runs[run_id]

    def update_run(self, run_id, status):
        self._store.runs[run_id].info.status = status

    set_terminated = update_run

    def log_artifact(self, *words):
        pass

    def set_tag(self, run_id, name, value):
        self._store.runs[run_id].data.tags[name] = value

    def log_batch(self, run_id, metrics=(), params=(), tags=()):
        data = self._store.runs[run_id].data
        if self._store.refusal is not None:
            raise self._store.refusal
        for one in (*metrics, *params):
            if not re.fullmatch(r"[/\w.\- :]{1,250}", one.key) or one.key.startswith(("/", "..")) or "//" in one.key:
                raise Refused(f"Invalid value {one.key!r}")
        for one in params:
            if data.params.setdefault(one.key, one.value) != one.value:
                raise Refused(f"Changing param values is not allowed: {one.key}")
        data.metrics |= {one.key: one.value for one in metrics}
        data.tags |= {one.key: one.value for one in tags}


def named(*keys):
    return lambda *values: SimpleNamespace(**dict(zip(keys, values, strict=False)))


@pytest.fixture
def store(monkeypatch):
    """What is sent with `MlflowTracker` from now on."""
    made = Store()
    package, entities = ModuleType("mlflow"), ModuleType("mlflow.entities")
    package.__spec__, package.MlflowClient = ModuleSpec("mlflow", None), made.client
    entities.Metric, entities.Param = named("key", "value", "timestamp", "step"), named("key", "value")
    entities.RunTag = named("key", "value")
    monkeypatch.setitem(sys.modules, "mlflow", package)
    monkeypatch.setitem(sys.modules, "mlflow.entities", entities)
    monkeypatch.delitem(sys.modules, "avtune.report.track_mlflow", raising=False)
    yield made
    sys.modules.pop("avtune.report.track_mlflow", None)


@pytest.mark.parametrize(
    ("where", "given", "file"),
    [
        (None, (None, "avtune"), "wandb-avtune.json"),
        ("mine", (None, "mine"), "wandb-mine.json"),
        ("team/mine", ("team", "mine"), "wandb-team+mine.json"),
    ],
)
def test_a_project_of_wandb_may_have_a_team(folder, monkeypatch, where, given, file):
    package, places = ModuleType("wandb"), set()
    package.Settings = package.Artifact = MagicMock()

    def init(entity, project, **more):
        places.add((entity, project))
        return MagicMock()

    package.init = init
    monkeypatch.setitem(sys.modules, "wandb", package)
    monkeypatch.delitem(sys.modules, "avtune.report.track_wandb", raising=False)
    target = Target.parse("wandb" if where is None else f"wandb:{where}")
    tracking.send(folder, target, print)
    monkeypatch.delitem(sys.modules, "avtune.report.track_wandb")
    assert places == {given}
    assert [path.name for path in (folder.root / "tracking").glob("*.json")] == [file]


@pytest.mark.parametrize("where", ["a/b/c", "/b", "a/", "a:b", "a#b"])
def test_what_can_be_no_project_of_wandb_is_said_at_once(where):
    with pytest.raises(UserError, match="a project, or team/project"):
        Target.parse(f"wandb:{where}")


@pytest.fixture
def folder(tmp_path):
    shutil.copytree(FIXTURE, tmp_path / "study")
    return StudyFolder(tmp_path / "study")


def tracker(say=lambda line: None):
    return importlib.import_module("avtune.report.track_mlflow").MlflowTracker(None, say)


def parent(store):
    (found,) = [run for run in store.runs.values() if "avtune.trial" not in run.data.tags]
    return found


def children(store):
    return {int(run.data.tags["avtune.trial"]): run for run in store.runs.values() if "avtune.trial" in run.data.tags}


def test_a_study_that_was_extended_is_sent_again(store, folder, capsys):
    text = folder.study_yaml.read_text()
    before = re.search(r"^ +trials: (\d+)$", text, re.MULTILINE)
    call(capsys, "track", str(folder.root), "mlflow")
    assert parent(store).data.params["search.trials"] == before[1]

    folder.study_yaml.write_text(text.replace(before[0], before[0].replace(before[1], "40")))
    for _ in range(2):
        call(capsys, "track", str(folder.root), "mlflow")
        assert parent(store).data.params["search.trials"] == before[1]  # MLflow keeps the first value for good
        assert parent(store).data.tags["avtune.now.search.trials"] == "40"
    folder.study_yaml.write_text(text.replace(before[0], before[0].replace(before[1], "50")))
    call(capsys, "track", str(folder.root), "mlflow")
    now = {name: value for name, value in parent(store).data.tags.items() if name.startswith("avtune.now.")}
    assert now == {"avtune.now.search.trials": "50"}
    folder.study_yaml.write_text(text)
    call(capsys, "track", str(folder.root), "mlflow")
    assert parent(store).data.tags["avtune.now.search.trials"] == before[1]


def test_a_setting_that_an_earlier_avtune_did_not_send_is_added(store, folder):
    seen = StudyReader(folder).read()
    tracker().sync(seen, ended=True)
    del parent(store).data.params["method"]
    tracker().sync(seen, ended=True)
    assert parent(store).data.params["method"] == seen.facts["method"]
    assert not [name for name in parent(store).data.tags if name.startswith("avtune.now.")]


def test_names_that_mlflow_does_not_take_are_replaced_and_said_once(store, folder):
    whole, said = StudyReader(folder).read(), []
    trials = {
        number: SeenTrial(number, {"lr%": 0.1}, state="COMPLETE", epochs=[{"val_map": 0.5, "acc (%)": 7.0, **more}])
        for number, more in enumerate(({"acc [%]": 8.0}, {"/up/../it": 9.0}, {"l" * 300: 1.0, "größe/a.b-c d": 2.0}))
    }
    seen = replace(whole, trials=trials, rungs={1})
    for _ in range(2):
        one = tracker(said.append)
        one.sync(seen, ended=False)
        one.sync(seen, ended=True)
    assert len(said) == 2 * len(set(said)) == 2 * 5  # once by each process
    assert said[0] == "MLflow does not take the name 'lr%'; it is called 'lr_' there"
    found = children(store)
    assert found[0].data.params == {"lr_": "0.1"}
    assert (found[0].data.metrics["acc ___"], found[0].data.metrics["acc ____2"]) == (7.0, 8.0)
    assert (found[1].data.metrics["acc ___"], found[1].data.metrics["_up_.._it"]) == (7.0, 9.0)
    assert found[2].data.metrics["größe/a.b-c d"] == 2.0


@pytest.mark.parametrize(
    ("error", "passes"),
    [
        (ConnectionError("nobody is there"), True),
        (TimeoutError("no answer"), True),
        (Refused("Invalid value"), False),
        (type("MlflowException", (Exception,), {"error_code": "INTERNAL_ERROR"})("max retries exceeded"), True),
        (type("CommError", (Exception,), {})("it has timed out"), True),
        (ValueError("a name is wrong"), False),
    ],
)
def test_to_try_later_is_said_where_later_can_help(store, folder, error, passes):
    store.refusal = error
    with pytest.raises(UserError, match="does not take the study") as raised:
        tracking.send(folder, Target.parse("mlflow"), print)
    assert ("give the same command again later" in str(raised.value)) is passes
