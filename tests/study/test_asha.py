import math

import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from avtune.study.asha import Asha, expected_epochs, rung_epochs, rung_table

STATES = {True: optuna.trial.TrialState.PRUNED, False: optuna.trial.TrialState.COMPLETE}
VALUES = st.lists(st.floats(0, 1).map(lambda value: round(value, 2)), min_size=1, max_size=40)


@pytest.mark.parametrize(
    ("epochs", "grace", "factor", "rungs"),
    [
        (81, 3, 3, (3, 9, 27)),
        (27, 3, 3, (3, 9)),
        (243, 1, 3, (1, 3, 9, 27, 81)),
        (1000, 1, 10, (1, 10, 100)),
        (5, 5, 2, ()),
    ],
)
def test_rungs_multiply_from_the_grace_epoch_and_stay_below_the_end(epochs, grace, factor, rungs):
    assert rung_epochs(epochs, grace, factor) == rungs


@settings(deadline=None, max_examples=100)
@given(VALUES, st.integers(2, 5))
def test_decides_as_the_obvious_rule_does(values, factor):
    asha = Asha(factor)
    for index, value in enumerate(values):
        seen = sorted(values[: index + 1], reverse=True)
        keep = math.ceil(len(seen) / factor)
        assert asha.decide(0, value) == (value >= seen[keep - 1])
    assert asha.seen(0) == len(values)


@settings(deadline=None, max_examples=30)
@given(VALUES, st.integers(2, 4))
def test_goes_on_where_optunas_pruner_does_and_one_place_further_at_most(values, factor):
    pruner = optuna.pruners.SuccessiveHalvingPruner(min_resource=2, reduction_factor=factor)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(direction="maximize", pruner=pruner)
    asha = Asha(factor)
    for index, value in enumerate(values):
        trial = study.ask()
        trial.report(value, 2)
        stops = trial.should_prune()
        study.tell(trial, None if stops else value, state=STATES[stops])
        better = sum(other > value for other in values[:index])
        goes_on = asha.decide(0, value)
        assert goes_on or stops
        assert not (goes_on and stops) or better == (index + 1) // factor


@settings(deadline=None, max_examples=50)
@given(st.lists(st.floats(0, 1), min_size=2, max_size=40, unique=True), st.integers(2, 5))
def test_the_best_value_so_far_always_goes_on(values, factor):
    asha = Asha(factor)
    best = -1.0
    for value in values:
        goes_on = asha.decide(0, value)
        if value > best:
            assert goes_on
            best = value


def test_equal_values_go_on_together():
    asha = Asha(3)
    assert [asha.decide(0, 0.5) for _ in range(6)] == [True] * 6


def test_rungs_do_not_share_values():
    asha = Asha(3)
    for value in (0.9, 0.8, 0.7):
        asha.decide(0, value)
    assert asha.decide(1, 0.1)


def test_rung_table_agrees_with_simulated_searches():
    import random

    trials, epochs, grace, factor = 60, 27, 3, 3
    draw = random.Random(0)
    reached = [0, 0, 0]
    rounds = 200
    for _ in range(rounds):
        asha = Asha(factor)
        for _ in range(trials):
            quality = draw.random()
            reached[0] += 1
            if asha.decide(0, quality):
                reached[1] += 1
                reached[2] += asha.decide(1, draw.random())
    table = rung_table(trials, epochs, rung_epochs(epochs, grace, factor), factor)
    assert [epoch for epoch, _ in table] == [3, 9, 27]
    for (_, expected), count in zip(table, reached, strict=True):
        assert expected == pytest.approx(count / rounds, rel=0.1)


def test_expected_epochs_sums_the_table():
    assert expected_epochs([(3, 9.0), (9, 3.0), (27, 1.0)]) == 9 * 3 + 3 * 6 + 1 * 18
