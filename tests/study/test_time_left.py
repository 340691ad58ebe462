"""How long a search will still take: against trials that are simulated, and against the rung table."""

import math
import random
from dataclasses import replace

import pytest
from test_study import HYPERS, make_space

from avtune.core.hyper import Hyper
from avtune.core.trial import Trial
from avtune.space.parse import parse
from avtune.study.asha import Asha, expected_epochs
from avtune.study.horizon import Horizon
from avtune.study.record import Record
from avtune.study.summary import expected_at_rungs, summary
from avtune.study.time_left import Finals, epochs_left, finals_cost, finals_left, time_left

FIXED = Horizon(make_space(trials=40))  # rungs at 1 and 3 of 9 epochs
HYPERS_OPEN = {**HYPERS, "batch_size": Hyper("batch_size", "int", 64, 2, 4096, static=True)}
OPEN = Horizon(
    parse(
        "method: toy\nspace: {x: {type: float, low: 0.0, high: 1.0}}\nsearch: {trials: 40}\n"
        "early_stopping: {epochs: auto, grace: 3, factor: 3, steps: 1000}",
        file="toy.yaml",
        hypers_of=lambda name: HYPERS_OPEN,
        method_names=["toy"],
    ),
    640,
)  # ten steps an epoch: rungs at 3, 9, 27 and 81 of 100 epochs


def record(number, epochs, horizon=FIXED, end=None, seconds=0.5):
    """A trial that has trained so many epochs; `end` is `flat`, `stopped`, `whole` or None for one that is running."""
    config = horizon.space.defaults()
    trial = horizon.trial(number, config, 0, "fp32", "")
    made = Record(Trial(**{**vars(trial), "save_at": horizon.rungs(config)}))
    for epoch in range(1, epochs + 1):
        made.add_epoch(epoch, 0.5 if epoch < epochs else 0.6, seconds)
    made.rungs_decided = sum(made.reached(rung) for rung in range(len(made.trial.save_at)))
    if end == "stopped":
        made.stop(epochs)
    if end is not None:
        made.end_training(None)
        made.end()
        assert made.ended_flat == (end == "flat")
    return made


def test_before_the_first_trial_it_is_the_rung_table():
    left = epochs_left([], 40, FIXED)
    assert not left.at_most
    assert left.epochs == pytest.approx(expected_epochs(expected_at_rungs(40, FIXED)))


def test_every_trial_that_runs_counts_from_where_it_is():
    table = expected_at_rungs(3, FIXED)
    chances = [table[k + 1][1] / table[k][1] for k in range(2)]
    running = [record(0, 0), record(1, 2), record(2, 8)]
    by_hand = (1 + chances[0] * (2 + chances[1] * 6)) + (1 + chances[1] * 6) + 1
    assert epochs_left(running, 3, FIXED).epochs == pytest.approx(by_hand)
    assert epochs_left([record(0, 1, end="stopped"), record(1, 9, end="whole")], 2, FIXED).epochs == 0


def test_it_is_what_a_search_with_trials_in_random_order_trains():
    """ASHA itself, with values at random: the mean over many searches."""
    draw, totals = random.Random(0), []
    for _ in range(300):
        asha, total = Asha(3), 0
        for _ in range(40):
            total += 1
            if asha.decide(0, draw.random()):
                total += 2
                if asha.decide(1, draw.random()):
                    total += 6
        totals.append(total)
    assert epochs_left([], 40, FIXED).epochs == pytest.approx(sum(totals) / 300, rel=0.05)


def test_with_an_open_horizon_it_is_at_most_what_the_table_says_until_trials_have_ended_flat():
    assert epochs_left([], 40, OPEN).at_most
    table = expected_epochs(expected_at_rungs(40, OPEN))
    assert epochs_left([], 40, OPEN).epochs == pytest.approx(table)
    seen = [record(n, 3, OPEN, "stopped") for n in range(20)] + [record(n, 9, OPEN, "stopped") for n in range(20, 26)]
    seen += [record(n, 18, OPEN, "flat") for n in range(26, 30)]
    left = epochs_left(seen, 40, OPEN)
    assert left.epochs < table / 4
    rate = 4 / (4 * 9 / 18)  # four ends over what was trained of the segment from 9 to 27
    chances = [b[1] / a[1] for a, b in zip(expected_at_rungs(40, OPEN), expected_at_rungs(40, OPEN)[1:], strict=False)]
    third = 18 * (1 - math.exp(-rate)) / rate
    beyond = math.exp(-rate) * chances[2] * (54 + chances[3] * 19)
    each = 3 + chances[0] * (6 + chances[1] * (third + beyond))
    assert left.epochs == pytest.approx(10 * each)
    assert not left.at_most, "little of it is beyond what trials have shown"


def test_seconds_are_of_the_last_minute_or_of_the_devices():
    records = [record(0, 9, end="whole"), record(1, 1, end="stopped"), record(2, 8)]
    done = summary(records, 3, FIXED)
    given = {"processes": 2, "protocol": "validation"}
    assert time_left(done, records, FIXED, rate=4.0, **given).search == pytest.approx(1 / 4)
    assert time_left(done, records, FIXED, rate=None, **given).search == pytest.approx(1 * 0.5 / 2)
    unknown = summary([record(0, 0)], 3, FIXED)
    assert time_left(unknown, [record(0, 0)], FIXED, rate=None, **given).search is None
    over = summary(records[:2], 2, FIXED)
    assert time_left(over, records[:2], FIXED, rate=None, **given).search == 0


@pytest.mark.parametrize(("protocol", "best"), [("validation", 9), ("published", 9)])
@pytest.mark.parametrize(("validation", "ratio"), [("fraction: 0.2", 1 / 0.8), ("folds: 5", 1 / 4)])
def test_what_the_finals_cost(protocol, best, validation, ratio):
    space = parse(
        f"method: toy\nspace: {{x: 0.5}}\nearly_stopping: {{epochs: 9, grace: 1}}\nvalidation: {{{validation}}}\n"
        "final: {finalists: 3, seeds: 5}\nsearch: {trials: 8}",
        file="toy.yaml",
        hypers_of=lambda name: HYPERS,
        method_names=["toy"],
    )
    records = [record(0, 9, end="whole"), record(1, 1, end="stopped")]
    assert finals_cost(summary(records[1:], 8, FIXED), records[1:], space, protocol) is None
    cost = finals_cost(summary(records, 8, FIXED), records, space, protocol)
    assert cost.repeats == pytest.approx((3 + 1) * 5 * 9 * 0.5)
    assert cost.retrainings == pytest.approx(2 * 5 * best * 0.5 * ratio)


def test_a_race_is_expected_to_drop_what_it_can():
    records = [record(0, 18, OPEN, "flat"), record(1, 30, OPEN, "flat")]
    raced = replace(OPEN.space, final=replace(OPEN.space.final, policy="race"))
    cost = finals_cost(summary(records, 40, OPEN), records, raced, "validation")
    assert cost.repeats == pytest.approx(((3 + 1) * 2 + 3) * 24 * 0.5)


def test_with_an_open_horizon_the_finals_train_as_long_as_trials_did():
    records = [record(0, 18, OPEN, "flat"), record(1, 30, OPEN, "flat"), record(2, 3, OPEN, "stopped")]
    cost = finals_cost(summary(records, 40, OPEN), records, OPEN.space, "validation")
    assert cost.repeats == pytest.approx((3 + 1) * 5 * 24 * 0.5)


@pytest.mark.parametrize(
    ("cost", "of_stage", "elapsed", "retraining", "left"),
    [
        (Finals(60.0, 20.0), None, 5.0, False, 30 - 5 + 10),
        (Finals(60.0, 20.0), 7.0, 5.0, False, 7 + 10),
        (Finals(60.0, 20.0), None, 40.0, False, None),  # it takes longer than was expected: nobody knows
        (Finals(60.0, 20.0), None, None, False, None),
        (Finals(60.0, 20.0), None, 4.0, True, 10 - 4),
        (Finals(60.0, 20.0), 3.0, 4.0, True, 3),
        (None, 3.0, 4.0, True, 3),
        (None, 3.0, 4.0, False, None),
        (None, None, 4.0, False, None),
    ],
)
def test_what_the_finals_take_still(cost, of_stage, elapsed, retraining, left):
    assert finals_left(cost, of_stage, elapsed, retraining=retraining, processes=2) == left
