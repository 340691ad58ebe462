"""A whole search on a virtual clock, on curves that are known by hand."""

import itertools
from dataclasses import replace

import pytest

from avtune.core.hyper import Hyper
from avtune.finals.select import winner
from avtune.runners._base import Placement
from avtune.runners.costs import Costs, EpochCost
from avtune.space.parse import parse
from avtune.study.horizon import Horizon
from avtune.study.simulated import UniformSuggestions
from avtune.workflows.simulated_search import Setting, simulate, usual_finals

HYPERS = {"x": Hyper("x", "float", 0.2, 0.0, 1.0)}
SPACE = parse(
    "method: toy\nspace: {x: {type: float, low: 0.0, high: 1.0}}\nsearch: {trials: 30, seed: 1}\n"
    "early_stopping: {epochs: 9, grace: 1, factor: 3}\nfinal: {finalists: 2, seeds: 3}",
    file="toy.yaml",
    hypers_of=lambda name: HYPERS,
    method_names=["toy"],
)


class Rising:
    """Better with x; the best epoch is the last."""

    def values(self, trial):
        return (0.1 + 0.5 * trial.config["x"] * epoch / 9 for epoch in itertools.count(1))


COSTS = Costs(lambda trial: EpochCost(0.0, 1.0, 0.0), start=5.0, scoring=0.5, finish=2.0)
SETTING = Setting(
    Horizon(SPACE), Rising(), COSTS, Costs(lambda trial: EpochCost(0.0, 2.0, 0.0)), Placement(2, 0, 1, 2, 4)
)


def test_a_search_with_finals_and_retraining():
    found = simulate(SETTING)
    assert (found.trials, found.failed) == (30, 0)
    assert 10 < found.stopped < 30
    assert found.search.epochs >= found.epochs
    assert found.search.device_seconds == pytest.approx(found.search.epochs)
    # Two finalists and the default over three seeds, nine epochs each; two engines.
    assert found.repeats.epochs == 3 * 3 * 9
    assert 41 <= found.repeats.seconds <= 60
    # The winner and the default, three seeds each, two seconds an epoch.
    assert found.retraining.epochs == 2 * 3 * 9
    assert found.retraining.device_seconds == pytest.approx(108)
    assert found.rest == pytest.approx(2.0 + 0.5 * 9)
    assert found.seconds > 5 + 41 + 54
    assert found.winner["x"] > 0.9
    assert found.winner == found.first


def test_a_simulated_search_gives_the_same_again_and_another_seed_another():
    assert simulate(SETTING) == simulate(SETTING)
    other = replace(SPACE, search=replace(SPACE.search, seed=2))
    assert simulate(replace(SETTING, horizon=Horizon(other))) != simulate(SETTING)


def test_a_deterministic_study_comes_to_the_same_with_other_devices():
    lag = replace(SPACE, search=replace(SPACE.search, lag=8))
    setting = replace(SETTING, deterministic=True, horizon=Horizon(lag))
    few, many = (simulate(replace(setting, placement=Placement(count, 0, 1))) for count in (1, 5))
    assert (few.winner, few.epochs, few.stopped) == (many.winner, many.epochs, many.stopped)
    assert few.search.seconds > many.search.seconds


def test_finals_can_be_chosen_otherwise_and_left_out():
    said = []

    def one_seed(study, do):
        _, rows = usual_finals(study, do)
        said.append(len(rows))
        return winner(rows[1:]), rows

    found = simulate(replace(SETTING, choose=one_seed))
    assert said == [3]
    assert found.winner != found.first
    without = simulate(replace(SETTING, choose=None))
    assert (without.repeats.epochs, without.retraining.epochs, without.rest) == (0, 0, 0)
    assert without.winner == without.first


def test_configurations_come_from_elsewhere_where_that_is_said():
    setting = replace(SETTING, choose=None, suggestions=lambda: UniformSuggestions(SPACE, 0))
    found = simulate(setting)
    assert found.trials == 30
    assert found == simulate(setting)


def test_configurations_of_earlier_studies_are_tried_after_the_random_ones_and_the_default():
    few = replace(SPACE, search=replace(SPACE.search, trials=3, startup_trials=1))
    setting = replace(SETTING, choose=None, horizon=Horizon(few))
    assert simulate(setting).winner["x"] < 0.99
    assert simulate(replace(setting, like=[{"x": 0.995}])).winner["x"] == 0.995


def test_uniform_suggestions_keep_to_the_space():
    text = (
        "method: toy\nspace:\n  x: {type: float, low: 0.25, high: 1.0, step: 0.25}\n"
        "  n: {type: int, low: 1, high: 40, log: true}\n  k: {type: choice, values: [a, b]}\n"
        "  y: {type: float, low: 0.001, high: 1.0, log: true}\n  z: {type: int, low: 2, high: 8, step: 3}"
    )
    hypers = {
        "x": Hyper("x", "float", 0.5, 0.0, 1.0),
        "n": Hyper("n", "int", 4, 1, 100),
        "k": Hyper("k", "choice", "a", values=("a", "b")),
        "y": Hyper("y", "float", 0.5, 0.0, 1.0),
        "z": Hyper("z", "int", 5, 0, 9),
    }
    space = parse(text, file="toy.yaml", hypers_of=lambda name: hypers, method_names=["toy"])
    suggestions = UniformSuggestions(space, 3)
    assert suggestions.ask(0) == space.defaults()
    drawn = [suggestions.ask(number) for number in range(1, 300)]
    assert all(axis.contains(config[axis.name]) for config in drawn for axis in space.axes)
    assert {config["x"] for config in drawn} == {0.25, 0.5, 0.75, 1.0}
    assert {config["z"] for config in drawn} == {2, 5, 8}
    assert sum(config["y"] < 0.0316 for config in drawn) == pytest.approx(150, abs=40)
