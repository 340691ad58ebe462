"""Every `search.sampler`: legal configurations, each once, the same after a kill and however many engines work."""

import random

import optuna
import pytest
from test_known_first import folder  # noqa: F401
from test_study import HYPERS, drive, make_space, outcome

from avtune.core.errors import UserError
from avtune.core.hyper import Hyper
from avtune.finals.select import candidates
from avtune.space.parse import parse
from avtune.space.space import Space
from avtune.study.folder import StudyFolder
from avtune.study.grid import values_of
from avtune.study.points import quasi_random
from avtune.study.study import Study

GRID = "x: {type: float, low: 0.0, high: 1.0, step: 0.25}, kind: {type: choice, values: [a, b, c]}"
SAMPLERS = ["tpe", "gp", "random", "qmc", "grid"]


def space_of(sampler, trials=None, **more):
    """A Gaussian process takes a second for a few suggestions."""
    trials = trials or (7 if sampler == "gp" else 14)
    text = GRID if sampler == "grid" else "x: {type: float, low: 0.0, high: 1.0}"
    return make_space(text, trials=trials, **{"sampler": sampler, "startup_trials": 4, "lag": 3} | more)


def configs(study):
    return [tuple(record.trial.config.values()) for record in study.records]


@pytest.mark.parametrize(
    ("sampler", "deterministic"), [(one, mode) for one in SAMPLERS for mode in (False, True) if one != "gp" or not mode]
)
def test_a_study_that_is_killed_and_goes_on_suggests_the_same(tmp_path, folder, sampler, deterministic):  # noqa: F811
    other, space = StudyFolder(tmp_path / "two"), space_of(sampler)
    other.create(folder.settings(), {})
    whole = Study(folder, space, deterministic=deterministic)
    drive(whole)
    cut = Study(other, space, deterministic=deterministic)
    for most in (3, 6, 9):
        drive(cut, most=most)
        cut = Study(other, space, deterministic=deterministic)
    drive(cut)
    assert configs(cut) == configs(whole)
    assert len(set(configs(whole))) == space.search.trials


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_deterministic_study_is_the_same_for_any_number_of_engines(tmp_path, folder, sampler):  # noqa: F811
    found = []
    for lanes in (1, 4):
        one, space = StudyFolder(tmp_path / f"lanes{lanes}"), space_of(sampler)
        one.create(folder.settings(), {})
        study = Study(one, space, deterministic=True)
        drive(study, lanes=lanes, draw=random.Random(lanes))
        found.append(outcome(study))
    assert found[0] == found[1]


@pytest.mark.parametrize("sampler", ["qmc", "grid"])
def test_what_follows_from_the_number_alone_does_not_depend_on_results(tmp_path, folder, sampler):  # noqa: F811
    asked = Study(folder, space_of(sampler))
    for _ in range(14):
        asked.ask()
    other = StudyFolder(tmp_path / "two")
    other.create(folder.settings(), {})
    driven = Study(other, space_of(sampler))
    drive(driven)
    assert configs(asked) == configs(driven)


def test_a_grid_is_tried_whole_in_an_order_of_its_own(folder):  # noqa: F811
    study = Study(folder, space_of("grid", trials=100))
    drive(study)
    assert study.exhausted
    assert sorted(configs(study)) == sorted((x / 4, kind, 3) for x in range(5) for kind in "abc")
    assert configs(study) != sorted(configs(study))


def test_a_grid_without_points_is_refused_with_what_to_write():
    with pytest.raises(UserError, match=r"toy.yaml:3: search.sampler is grid, and x is continuous; give it a step, or"):
        make_space(sampler="grid")
    words = ["search.sampler=grid", "space.x.step=0.5"]
    text = "method: toy\nspace: {x: {type: float, low: 0.0, high: 1.0}}"
    how = {"file": "t", "hypers_of": lambda name: HYPERS, "method_names": ["toy"]}
    assert parse(text, overrides=words, **how).search.sampler == "grid"
    with pytest.raises(UserError, match=r"^--set search.sampler=grid: search.sampler is grid, and x"):
        parse(text, overrides=words[:1], **how)


def test_quasi_random_points_fill_every_kind_of_axis_evenly():
    axes = {
        "plain": optuna.distributions.FloatDistribution(-1.0, 3.0),
        "log": optuna.distributions.FloatDistribution(1e-4, 1e-2, log=True),
        "step": optuna.distributions.FloatDistribution(0.0, 1.0, step=0.25),
        "whole": optuna.distributions.IntDistribution(1, 8),
        "decades": optuna.distributions.IntDistribution(1, 1000, log=True),
        "words": optuna.distributions.CategoricalDistribution(["a", "b"]),
    }
    points = [quasi_random(axes, number, 7) for number in range(64)]
    assert points[5] == quasi_random(axes, 5, 7) != quasi_random(axes, 5, 8)
    for name, axis in axes.items():
        assert all(axis._contains(axis.to_internal_repr(point[name])) for point in points), name
    assert all(sum(-1 + i <= point["plain"] < i for point in points) == 16 for i in range(4))
    assert sum(point["log"] < 1e-3 for point in points) == 32
    assert {sum(point["whole"] == whole for point in points) for whole in range(1, 9)} == {8}
    assert sum(point["words"] == "a" for point in points) == 32
    assert {point["step"] for point in points} <= {*values_of(axes["step"])}
    assert 20 <= sum(point["decades"] < 32 for point in points) <= 44


def test_a_gaussian_process_sees_stopped_trials_as_ended_ones(folder):  # noqa: F811
    """Most trials are stopped at a rung, and Optuna's takes complete ones only."""
    study = Study(folder, space_of("gp", trials=6))
    for number in range(5):
        trial = study.ask()
        study.report(number, 1, {"val_map": 1.0 - number / 10 + trial.config["x"] / 100})
        study.tell(number)
    assert (study.count("PRUNED"), study.count("COMPLETE")) == (4, 1)
    shown = study._sampler._study.get_trials()
    assert {trial.state.name for trial in shown} == {"COMPLETE"}
    assert [trial.value for trial in shown] == [record.best_value for record in study.records]
    stored = optuna.load_study(study_name="one", storage=study._sampler._journal._storage)
    assert [trial.state.name for trial in stored.trials].count("PRUNED") == 4, "the journal says what they are"
    study.ask()


def test_values_of_another_space_or_name_are_said():
    with pytest.raises(UserError, match=r"search.sampler is 'gird'; allowed: one of gp, grid, qmc, random or tpe; did"):
        make_space(sampler="gird")


STEPS = {"x": Hyper("x", "float", 0.3, 0.0, 1.0)}


@pytest.mark.parametrize("older", [False, True])
def test_the_default_on_a_step_is_one_configuration_whatever_its_last_digit(folder, monkeypatch, older):  # noqa: F811
    """0.3 lies on the step 3 x 0.1, which is 0.30000000000000004. Studies of before have 0.3 on record."""
    space = parse(
        "method: toy\nspace: {x: {type: float, low: 0.0, high: 0.5, step: 0.1}}\n"
        "search: {sampler: grid, trials: 9, startup_trials: 0}\nearly_stopping: {epochs: 9, grace: 1, factor: 3}",
        file="toy.yaml",
        hypers_of=lambda name: STEPS,
        method_names=["toy"],
    )
    if older:
        with monkeypatch.context() as patch:
            patch.setattr(Space, "default_point", lambda self: {"x": 0.3})
            assert Study(folder, space).ask().config == {"x": 0.3}
    study = Study(folder, space)
    drive(study)
    values = [record.trial.config["x"] for record in study.records]
    assert sorted(round(value, 9) for value in values) == [0.0, 0.1, 0.2, 0.3, 0.4, 0.5]
    assert values[0] == (0.3 if older else 3 * 0.1)
    rows = candidates(study.records, space)
    assert [one.number for one in rows if space.is_default(one.config)] == [0]
    assert rows[0].config == {"x": values[0]}
