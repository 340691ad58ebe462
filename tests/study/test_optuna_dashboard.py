"""The journal in Optuna's own tools: every trial, state, value and intermediate value, and what goes with them."""

from __future__ import annotations

import csv
import importlib.util
import json
import warnings

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from toy import SPACE, write_toy
from werkzeug.test import Client

from avtune.cli.main import main
from avtune.study.curves import EpochLine, read_curves
from avtune.study.folder import StudyFolder

SEARCH = ("search", "toy.h5", "--space", "space.yaml", "--runner", "inline", "--gpus", "0", "--name", "one")


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """A finished study of five trials, of which rungs stopped some."""
    place = tmp_path_factory.mktemp("dashboard")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        write_toy(place)
        (place / "space.yaml").write_text(SPACE.replace("finalists: 2, seeds: 2", "finalists: 1, seeds: 1"))
        assert main(list(SEARCH)) == 0
    return StudyFolder(place / "results" / "one")


@pytest.fixture(scope="module")
def told(study):
    """Of each trial, by number: its row of `trials.csv`, and its validation MAP by epoch from `curves.jsonl`."""
    curves: dict[int, dict[int, float]] = {}
    for line in read_curves(study.curves, repair=False)[0]:
        if isinstance(line, EpochLine):
            curves.setdefault(line.trial, {})[line.epoch] = line.value
    rows = csv.DictReader(study.trials_csv.read_text().splitlines())
    return {int(row["trial"]): (row, curves[int(row["trial"])]) for row in rows}


def test_the_page_in_the_browser_can_read_every_line(study):
    """It reads strict JSON, and makes text of attributes, which it cannot of null."""
    kinds = set()
    for line in study.journal.read_text().splitlines():
        facts = json.loads(line, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
        kinds.add(facts["op_code"])
        assert None not in facts.get("user_attr", {}).values()
        assert None not in (facts.get("user_attrs") or {}).values()
    assert {0, 3, 4, 6, 7, 8} <= kinds, "study, its names, trials, ends, rungs, attributes"


def stored(study):
    return JournalStorage(JournalFileBackend(str(study.journal)))


def test_optuna_loads_the_study_with_its_attributes_and_the_name_of_its_value(study, told):
    loaded = optuna.load_study(study_name="one", storage=stored(study))
    assert loaded.metric_names == ["validation MAP"]
    assert {trial.state.name for trial in loaded.trials} == {"COMPLETE", "PRUNED"}
    for trial in loaded.trials:
        row, curve = told[trial.user_attrs["trial"]]
        assert trial.user_attrs == {
            "trial": int(row["trial"]),
            "epochs": int(row["epochs"]),
            "best_epoch": int(row["best_epoch"]),
            "rung": max(epoch for epoch in (1, 2, 4) if epoch <= len(curve)),
            "seconds": pytest.approx(float(row["seconds"])),
        }
        assert trial.params["margin"] == float(row["margin"])


@pytest.fixture(scope="module")
def dashboard(study):
    """The server of the released package on the journal."""
    if importlib.util.find_spec("optuna_dashboard") is None:
        pytest.skip("optuna-dashboard is not installed: pip install optuna-dashboard")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what it brings with it
        from optuna_dashboard import wsgi

        client = Client(wsgi(stored(study)))

    def get(path):
        answer = client.get(path)
        assert answer.status_code == 200, answer.data
        return json.loads(answer.data)

    return get


def test_the_dashboard_lists_the_study(dashboard):
    (summary,) = dashboard("/api/studies")["study_summaries"]
    assert summary["study_name"] == "one"
    assert summary["directions"] == ["maximize"]


def test_the_dashboard_has_every_trial_state_value_and_intermediate_value(dashboard, told):
    (summary,) = dashboard("/api/studies")["study_summaries"]
    detail = dashboard(f"/api/studies/{summary['study_id']}")
    assert detail["objective_names"] == ["validation MAP"]
    assert len(detail["trials"]) == len(told) == 5
    states = {"Complete": "COMPLETE", "Pruned": "PRUNED"}
    for trial in detail["trials"]:
        attributes = {one["key"]: json.loads(one["value"]) for one in trial["user_attrs"]}
        row, curve = told[attributes["trial"]]
        assert states[trial["state"]] == row["state"]
        rungs = {epoch: max(curve[at] for at in range(1, epoch + 1)) for epoch in (1, 2, 4) if epoch <= len(curve)}
        seen = {one["step"]: float(one["value"]) for one in trial["intermediate_values"]}
        assert seen == pytest.approx(rungs)
        if row["state"] == "COMPLETE":
            assert trial["values"] == pytest.approx([float(row["val_map"])], abs=1e-6)
        assert {one["name"] for one in trial["params"]} == {"margin", "lr"}
        assert attributes["best_epoch"] == int(row["best_epoch"])
    assert [one["name"] for one in detail["union_search_space"]] == ["lr", "margin"]


def test_the_dashboard_ranks_the_axes(dashboard):
    (summary,) = dashboard("/api/studies")["study_summaries"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # five trials are few for it
        found = dashboard(f"/api/studies/{summary['study_id']}/param_importances")
    assert {one["name"] for one in found["param_importances"][0]} == {"margin", "lr"}
