"""Benchmarks on the virtual clock: the rules that stop trials, by hand, and that the reports are whole."""

import argparse
import re
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from avtune.core.trial import Trial
from avtune.methods import METHODS, hypers_of
from avtune.space.files import load
from avtune.study.record import Record
from avtune.study.recorded_curves import RecordedCurves, RecordedRun, read_recorded, write_curves

ROOT = Path(__file__).parents[1]
sys.path.append(str(ROOT))

from benchmarks import _simulated, defaults, engines, record_curves, rungs, simulate  # noqa: E402
from benchmarks import plan as plan_benchmark  # noqa: E402
from benchmarks._rung_policies import Hyperband, LearningCurve, Median, Pasha, RoundsDown  # noqa: E402
from benchmarks.horizon import Outcome  # noqa: E402


def records(policy, curves, save_at=(2, 4, 8), epochs=12):
    """Trials that train in turns, an epoch each, until they are stopped."""
    made = [Record(Trial(number, "toy", {}, number, epochs, save_at=save_at)) for number in range(len(curves))]
    for record in made:
        policy.added(record)
    for epoch in range(1, epochs + 1):
        for record, curve in zip(made, curves, strict=True):
            if record.is_wanted:
                record.add_epoch(epoch, curve[epoch - 1], 1.0)
                if epoch == epochs:
                    record.end_training(None)
                policy.changed(record)
    return made


def rising(level, epochs=12):
    return [level * (1 - 0.6**epoch) for epoch in range(1, epochs + 1)]


def test_rounding_down_keeps_one_in_five_of_a_factor_of_three():
    asha = RoundsDown(3)
    assert [asha.decide(0, value) for value in (0.5, 0.4, 0.3, 0.45, 0.46)] == [True, False, False, False, False]
    assert asha.decide(0, 0.47)  # the sixth: two of six


def test_the_first_bracket_of_hyperband_compares_earliest_and_the_last_latest():
    policy = Hyperband(3, brackets=3)
    made = records(policy, [rising(0.1 + 0.01 * (number % 7)) for number in range(26)])
    stopped = {}
    for record in made:
        stopped.setdefault(policy._order[record.number % len(policy._order)], set()).add(record.stopped_at)
    assert 2 in stopped[0]
    assert 2 not in stopped[1]
    assert not {2, 4} & stopped[2]
    order = policy._order
    assert (order.count(0), order.count(1), order.count(2)) == (9, 6, 3)


def test_pasha_ends_trials_at_two_rungs_until_ranks_differ():
    alike = records(Pasha(3), [rising(level) for level in (0.6, 0.5, 0.4)])
    assert max(record.values.last for record in alike) == 4
    crossing = [[0.35] * 3 + [0.4] * 9, [0.2] * 12, [0.3] * 3 + [0.6] * 9]
    assert max(record.values.last for record in records(Pasha(2), crossing)) == 8


def test_the_median_rule_stops_the_lower_half_between_rungs_too():
    made = records(Median(3), [rising(level) for level in (0.6, 0.5, 0.4, 0.3)] + [[*rising(0.6)[:2], *[0.01] * 10]])
    assert made[0].stopped_at is None
    assert made[3].stopped_at == 2
    falls = records(Median(3), [rising(0.6)] * 3 + [[0.25] * 12])[3]
    assert falls.stopped_at is not None


def test_learning_curves_stop_what_levels_off_below_the_best_and_not_what_still_rises():
    flat = [0.3 + 0.001 * (epoch % 2) for epoch in range(12)]
    slow = [1 - epoch**-0.3 for epoch in range(1, 13)]
    best, low, late = records(LearningCurve(3), [rising(0.5), flat, slow])
    assert best.stopped_at is None
    assert low.stopped_at == 4
    assert late.stopped_at is None


@pytest.fixture(scope="module")
def curves(tmp_path_factory):
    space, draw, runs = load("demo", hypers_of=hypers_of, method_names=METHODS), np.random.default_rng(0), []
    space = replace(space, final=replace(space.final, finalists=1, seeds=2))
    for number in range(10):
        config = {axis.name: float(draw.uniform(axis.low, axis.high)) for axis in space.axes}
        for seed in range(2):
            curve = 0.2 + 0.3 * config["dropout"] * (1 - 0.7 ** np.arange(1, 15)) + 0.01 * draw.normal(size=14)
            runs.append(RecordedRun(number, config, seed, tuple(curve.tolist()), (0.1,) * 14))
    path = tmp_path_factory.mktemp("curves") / "some.jsonl.xz"
    write_curves(path, RecordedCurves(space, 1413, "fp32", {"dataset": "demo"}, runs))
    return str(path)


@pytest.mark.parametrize("benchmark", [defaults, rungs, simulate])
def test_a_report_is_whole(monkeypatch, curves, tmp_path, benchmark):
    if benchmark is defaults:
        every = defaults.variants(_simulated.recorded(curves).space)
        assert len({one.name for one in every}) == len(every)
        monkeypatch.setattr(defaults, "variants", lambda space: [every[0], *every[-3:]])
    if benchmark is rungs:
        monkeypatch.setattr(rungs, "variants", partial(lambda every: every[:3], rungs.variants()))
    words = ["--curves", curves, "--quick", "--out", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", [benchmark.__name__, *words])
    benchmark.main()
    (report,) = tmp_path.iterdir()
    text = report.read_text()
    assert report.name.endswith("-some.md")
    assert "nan" not in text
    assert text.count("|") > 40
    if benchmark is simulate:
        assert re.search(r"^\| 3 \| (0|100)\.0% \| [+-]0\.\d{4} ", text, re.MULTILINE), "finals of three seeds"


def test_searches_in_two_processes_are_those_of_one(curves):
    every = {one.name: one for one in defaults.variants(_simulated.recorded(curves).space)}
    chosen = [every["shipped"], every["1 in 5 good"]]

    def found(jobs):
        given = argparse.Namespace(jobs=jobs, searches=3)
        return _simulated.run(curves, chosen, given, 40)

    assert found(2) == found(1)
    assert found(1)["shipped"] != found(1)["1 in 5 good"]


def test_differences_are_taken_search_by_search(curves):
    def outcomes(*worths):
        return [_simulated.Outcome(worth, worth, 10, 5, 1.0, 2) for worth in worths]

    results = {"shipped": outcomes(0.5, 0.4, 0.6), "other": outcomes(0.51, 0.41, 0.61)}
    (shipped, other) = _simulated.rows(results, list(results), "shipped", 0.7)
    assert shipped[:3] == ["**shipped**", "0.2000 (0.1000 to 0.3000)", "–"]
    assert other[2] == "+0.0100 (+0.0100 to +0.0100)"
    said = _simulated.verdict(results, "shipped")
    assert "above 0: other +0.0100" in said
    assert "below 0: none" in said
    assert _simulated.best_known(curves, {"one": outcomes(0.9)}) == 0.9


def test_a_plan_is_held_against_searches():
    def part(expected):
        return {"expected": expected, "low": expected / 2, "high": 2 * expected}

    names = ("search", "finals", "retraining")
    said = {
        "seconds": {"whole command": part(60.0)},
        "epochs": dict(zip(names, map(part, (100.0, 40.0, 20.0)), strict=True)),
        "device_seconds": part(80.0),
        "assumed": ["costs: some"],
    }
    found = [Outcome(0.5, 0.4, epochs, 50, 30.0, 50.0, wall, False) for epochs, wall in ((90, 40.0), (110, 60.0))]
    claims, table, assumed = plan_benchmark._sections(said, found, 3.0)
    assert "whole command within 20%: +20%" in claims
    assert "epochs of the search within 5%: +0%" in claims
    assert "| epochs of finals and retraining | 60 | 30 | 120 | 50 | 50, 50 | +20% |" in table
    assert assumed.endswith("- costs: some")


def test_recording_goes_on_where_it_was_interrupted(monkeypatch, tmp_path, capsys):
    words = ["demo", "--seeds", "1", "--out", str(tmp_path), "--set", "early_stopping.epochs=2"]
    words += ["--set", "space.hidden_dim=8", "--set", "space.embedding_dim=4"]

    monkeypatch.setattr(record_curves.torch, "set_num_threads", lambda count: None)

    def record(trials):
        monkeypatch.setattr(sys, "argv", ["record_curves", *words, "--trials", str(trials)])
        record_curves.main()
        return read_recorded(tmp_path / "demo.jsonl.xz")

    first = record(1)
    assert [len(run.curve) for run in first.runs] == [2]
    assert first.runs[0].config == {axis.name: axis.default for axis in first.space.axes}
    more = record(3)
    assert more.runs[0] == first.runs[0]
    assert len(more.runs) == 3
    assert "2 of 2 runs" in capsys.readouterr().out
    words.extend(["--sought", "2"])
    sought = record(3)
    assert sought.runs[:3] == more.runs
    first = record_curves.FIRST_SOUGHT
    assert [run.number for run in sought.runs[3:]] == [first, first + 1]
    assert "TPE suggested" in sought.about["how"]
    assert record(3).runs == sought.runs  # nothing is trained again
    words.extend(["--default-seeds", "3"])
    repeated = record(3)
    assert [(run.number, run.seed) for run in repeated.runs[:4]] == [(0, 0), (0, 1), (0, 2), (1, 0)]
    assert [run for run in repeated.runs if run.seed == 0] == list(sought.runs)
    assert [path.name for path in tmp_path.iterdir()] == ["demo.jsonl.xz"]


def test_lanes_are_as_busy_as_the_driver_lets_them():
    """With a second for each message of two engines, one of them trains a tenth of every two seconds."""
    assert engines.load(2, 2, 0.1, 1.0, "random").busy == pytest.approx(0.05, rel=0.1)
    assert engines.load(2, 2, 30.0, 0.0, "random").busy > 0.95


def test_configurations_are_sought_near_the_best_ones():
    """From the results of those before, and of no later one: the same however often the command was interrupted."""
    space = load("demo", hypers_of=hypers_of, method_names=METHODS)
    runs = {}
    for number, config in enumerate(record_curves.configurations(space, 40)):
        runs[number, 0] = RecordedRun(number, config, 0, (1 - abs(config["dropout"] - 0.1),), (0.1,))
    found = record_curves.sought(space, runs, 0, 8)
    assert list(found) == [record_curves.FIRST_SOUGHT + place for place in range(8)]
    random = np.mean([abs(run.config["dropout"] - 0.1) for run in runs.values()])
    assert np.mean([abs(config["dropout"] - 0.1) for config in found.values()]) < random / 2
    later = record_curves.FIRST_SOUGHT
    runs[later, 0] = RecordedRun(later, found[later], 0, (9.0,), (0.1,))
    assert record_curves.sought(space, runs, 0, 8) == found
    assert record_curves.sought(space, runs, 1, 1)[later + 1] != found[later + 1]
