"""Every `search.sampler` with conditions and constraints: legal configurations, each once, the same after a kill."""

import csv
import random

import optuna
import pytest
from optuna.trial import TrialState
from test_known_first import folder  # noqa: F401
from test_study import drive

from avtune.core.errors import UserError
from avtune.core.hyper import Hyper
from avtune.report.columns import logs_of, row
from avtune.report.page_importance import importance
from avtune.report.page_trials import trials
from avtune.space.drawing import legal_point
from avtune.space.parse import parse
from avtune.space.written import to_yaml
from avtune.study.folder import StudyFolder
from avtune.study.optuna_private import Tpe
from avtune.study.sampler import _window
from avtune.study.study import Study
from avtune.study.watch import StudyWatch
from avtune.workflows.study_view import StudyView

HYPERS = {
    one.name: one
    for one in (
        Hyper("x", "float", 0.5, 0.0, 1.0),
        Hyper("y", "float", 0.5, 0.0, 1.0),
        Hyper("kind", "choice", "a", values=("a", "b")),
        Hyper("of_b", "float", 0.5, 0.0, 1.0),
    )
}
CONTINUOUS = {"x": "low: 0.0, high: 1.0", "y": "low: 0.0, high: 1.0", "of_b": "low: 0.01, high: 1.0, log: true"}
FINITE = dict.fromkeys(CONTINUOUS, "low: 0.0, high: 1.0, step: 0.5")


def space_of(sampler, trials, axes=CONTINUOUS):
    x, y, of_b = axes.values()
    return parse(
        f"""
        method: toy
        space:
          x: {{type: float, {x}}}
          y: {{type: float, {y}}}
          kind: {{type: choice, values: [a, b]}}
          of_b: {{type: float, {of_b}, when: {{kind: b}}}}
        constraints: [x < y + 0.1]
        search: {{trials: {trials}, seed: 1, sampler: {sampler}, startup_trials: 4, lag: 3}}
        early_stopping: {{epochs: 3, grace: 1, factor: 3}}
        """,
        file="toy.yaml",
        hypers_of=lambda name: HYPERS,
        method_names=["toy"],
    )


def legal(config):
    return config["x"] < config["y"] + 0.1 and ("of_b" in config) == (config["kind"] == "b")


def configs(study):
    return [dict(record.trial.config) for record in study.records]


@pytest.mark.parametrize("sampler", ["tpe", "random", "qmc"])
def test_suggestions_are_legal_and_the_same_after_a_kill(tmp_path, folder, sampler):  # noqa: F811
    space = space_of(sampler, 10)
    whole = Study(folder, space)
    drive(whole)
    other = StudyFolder(tmp_path / "two")
    other.create(folder.settings(), {})
    drive(Study(other, space), most=5)
    cut = Study(other, space)
    drive(cut)
    assert configs(cut) == configs(whole)
    assert all(map(legal, configs(whole)))
    assert {config["kind"] for config in configs(whole)} == {"a", "b"}
    assert space.defaults() in configs(whole)


def test_a_grid_has_every_legal_configuration_once(folder):  # noqa: F811
    study = Study(folder, space_of("grid", 100, FINITE))
    drive(study)
    found = configs(study)
    # x <= y: 6 of 9 pairs; with kind a once, with kind b for 3 values of of_b
    assert len(found) == len({tuple(sorted(one.items())) for one in found}) == 6 + 6 * 3
    assert all(map(legal, found))


@pytest.mark.parametrize("sampler", ["random", "tpe", "qmc", "grid"])
def test_a_space_with_too_many_points_to_list_is_used_up_when_draws_give_nothing_new(folder, sampler):  # noqa: F811
    """Of 600,006 points; those of kind b are legal in 3 of 100,001 cases."""
    text = f"""
        method: toy
        space:
          y: {{type: float, low: 0.0, high: 1.0, step: 0.5}}
          kind: {{type: choice, values: [a, b]}}
          of_b: {{type: float, low: 0.0, high: 1.0, step: 0.00001, when: {{kind: b}}}}
        constraints: [of_b <= 0.00002]
        search: {{trials: 9, sampler: {sampler}, startup_trials: 2}}
        early_stopping: {{epochs: 1}}
        """
    space = parse(text, file="toy.yaml", hypers_of=lambda name: HYPERS, method_names=["toy"])
    study = Study(folder, space)
    drive(study)
    assert sorted(config["y"] for config in configs(study)) == [0.0, 0.5, 1.0]
    assert study.exhausted
    assert study.ended_early == (
        "stopped after 3 of 9 trials: every configuration of the space that 500 random draws find has been tried"
    )
    again = Study(folder, space)
    assert (again.exhausted, again.ask()) == (True, None)


def test_tpe_learns_what_is_best_where_a_condition_holds():
    """The value is that of `of_b` where it is searched: TPE comes to kind b, and there to high values."""
    space, draw = space_of("tpe", 60), random.Random(0)
    study = optuna.create_study(direction="maximize")
    for _ in range(60):
        params = legal_point(space, draw)
        distributions = {name: space.distributions()[name] for name in params}
        value = params.get("of_b", 0.0)
        study.add_trial(optuna.trial.create_trial(params=params, distributions=distributions, value=value))
    found = []
    for seed in range(12):
        study.sampler = Tpe(space, seed=seed, startup_trials=10)
        trial = study.ask({axis.name: axis.distribution() for axis in space.axes if not axis.when})
        found.append(space.axes[3].suggest(trial) if trial.params["kind"] == "b" else None)
        study.tell(trial, state=TrialState.FAIL)
    values = sorted(one for one in found if one is not None)
    assert len(values) > 0.7 * len(found)
    assert values[len(values) // 2] > 0.4  # uniform in the logarithm, half of them would be above 0.1


@pytest.fixture
def driven(folder):  # noqa: F811
    space = space_of("random", 24)
    folder.study_yaml.write_text(to_yaml({**folder.settings(), "space": space.as_dict()}))
    study = Study(folder, space)
    drive(study)
    study.close()
    return study


def test_tables_and_columns_have_no_value_where_there_is_none(driven):
    with driven.folder.trials_csv.open() as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0])[5:9] == ["x", "y", "kind", "of_b"]
    assert all((one["of_b"] == "") == (one["kind"] == "a") for one in rows)
    table = StudyView(driven.folder.root).trials
    assert str(table["of_b"].dtype) == "float64"
    assert table["of_b"].isna().equals(table["kind"] == "a")
    axes = {one["name"]: one["values"] for one in trials(driven.records, driven.space.axes, {})["axes"]}
    assert [value is None for value in axes["of_b"]] == [kind == 0 for kind in axes["kind"]]
    columns = row(driven.records[0].trial.config, logs_of(driven.space))
    assert ("of_b" in columns) == ("~log10_of_b" in columns) == (columns["kind"] == "b")


def test_a_study_that_is_looked_at_has_the_same_configurations(driven):
    assert configs(StudyWatch(driven.folder, lambda name: None)) == configs(driven)


def test_importance_takes_trials_without_a_value(driven):
    found = importance(driven.records, driven.space)
    assert set(found["names"]) == {"x", "y", "kind", "of_b"}
    assert sum(found["share"]) == pytest.approx(1, abs=1e-3)


def test_a_gaussian_process_sees_trials_with_all_values(driven):
    window = _window(space_of("gp", 24))
    study = window.create_new_study([optuna.study.StudyDirection.MAXIMIZE], "one")
    for record in driven.records:
        params = driven.space.active_part(record.trial.config)
        distributions = {name: driven.space.distributions()[name] for name in params}
        window.create_new_trial(study, optuna.trial.create_trial(params=params, distributions=distributions, value=0.5))
    shown = window.get_all_trials(study)
    assert all(trial.distributions == driven.space.distributions() for trial in shown)
    assert {trial.params["of_b"] for trial in shown if trial.params["kind"] == "a"} == {
        space_of("gp", 24).axes[3].middle
    }
    assert "of_b" not in window.get_trial(next(t.number for t in shown if t.params["kind"] == "a")).params


def test_what_a_script_enqueues_is_checked(folder):  # noqa: F811
    study = Study(folder, space_of("random", 8))
    storage = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(folder.journal)))
    theirs = optuna.load_study(study_name=folder.root.name, storage=storage)
    theirs.enqueue_trial({"x": 0.9, "y": 0.1})
    theirs.enqueue_trial({"kind": "a", "of_b": 0.5})
    theirs.enqueue_trial({"kind": "b", "of_b": 0.25})
    assert study.enqueued == 1
    assert [text.partition("left out: ")[2] for text in study.left_out] == [
        "it does not fulfil the constraint x < y + 0.1",
        "of_b is searched only where kind is b",
    ]
    config = study.ask().config
    assert (config["kind"], config["of_b"]) == ("b", 0.25)
    assert legal(config)


def test_a_journal_of_another_condition_is_refused(driven):
    other = parse(
        driven.space.to_yaml().replace("when: {kind: b}", "when: {kind: a}"),
        file="toy.yaml",
        hypers_of=lambda name: HYPERS,
        method_names=["toy"],
    )
    with pytest.raises(UserError, match="is of another space"):
        Study(driven.folder, other)
