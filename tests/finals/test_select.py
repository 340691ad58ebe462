import json
import time
from dataclasses import replace

import pytest
import torch

from avtune.core.seeds import mix
from avtune.core.trained_on import TrainedOn
from avtune.core.trial import Trial
from avtune.finals.run_record import Result, RunRecord
from avtune.finals.select import (
    Candidate,
    candidates,
    longer,
    repeat_seed,
    repeat_trials,
    repeated,
    retraining_seed,
    winner,
)
from avtune.methods import METHODS, hypers_of
from avtune.runners.work import save_weights
from avtune.space.parse import parse
from avtune.study.curve import Curve
from avtune.study.horizon import Horizon
from avtune.study.record import Record

SPACE = parse(
    "method: triplet\nspace: {margin: {type: float, low: 0.1, high: 1.0}}\nsearch: {trials: 5}\n"
    "early_stopping: {epochs: 4}\nfinal: {finalists: 2, seeds: 3}",
    file="s.yaml",
    hypers_of=hypers_of,
    method_names=METHODS,
)


def record(number, *values):
    config = SPACE.defaults() | {"margin": 0.1 * number}
    return Record(Trial(number, "triplet", config, number, 4), "COMPLETE", Curve(values))


def test_finalists_are_the_best_and_the_default_is_compared_with():
    chosen = candidates([record(4, 0.5), record(3, 0.4), record(1, 0.3)], SPACE)
    assert [candidate.number for candidate in chosen] == [4, 3, None]
    assert chosen[-1].config == SPACE.defaults()


def default_trial(state, value):
    return Record(Trial(0, "triplet", SPACE.defaults(), 0, 4), state, Curve([value]))


def test_a_finalist_that_is_the_default_is_not_run_twice():
    chosen = candidates([default_trial("COMPLETE", 0.9), record(3, 0.4)], SPACE)
    assert [candidate.number for candidate in chosen] == [0, 3]


def test_a_default_that_was_a_trial_competes_though_others_were_better():
    chosen = candidates([record(4, 0.5), record(3, 0.4), record(1, 0.3), default_trial("PRUNED", 0.2)], SPACE)
    assert [candidate.number for candidate in chosen] == [4, 3, 0]
    runs = [Result({1: value}, 1.0) for value in (0.4, 0.6, 0.65)]
    assert winner(repeated(chosen, runs)).candidate == Candidate(0, SPACE.defaults())


def test_all_candidates_get_the_same_fresh_seeds():
    chosen = candidates([record(4, 0.5), record(3, 0.4)], SPACE)
    trials = repeat_trials(chosen, Horizon(SPACE))
    seeds = [repeat_seed(SPACE, index) for index in range(3)]
    assert [trial.seed for trial in trials] == seeds * 3
    assert len(set(seeds)) == 3
    assert [trial.config["margin"] for trial in trials] == [0.4] * 3 + [pytest.approx(0.3)] * 3 + [0.2] * 3


def test_a_candidate_is_scored_at_one_epoch_for_all_its_seeds():
    # Each seed peaks elsewhere; the mean curve peaks at epoch 2.
    runs = [Result({1: 0.9, 2: 0.6, 3: 0.1}, 1.0), Result({1: 0.1, 2: 0.6, 3: 0.8}, 1.0)]
    row = repeated([Candidate(0, {})], runs)[0]
    assert (row.epoch, row.values) == (2, (0.6, 0.6))
    assert row.mean == pytest.approx(0.6)
    assert row.spread == 0.0


def test_the_winner_has_the_best_mean_and_a_default_that_was_no_trial_cannot_win():
    chosen = [Candidate(7, {}), Candidate(2, {}), Candidate(None, {})]
    runs = [Result({1: value}, 1.0) for value in (0.4, 0.6, 0.55, 0.55, 0.9, 0.9)]
    assert winner(repeated(chosen, runs)).candidate.number == 2


def test_a_finalist_with_a_failed_seed_cannot_win():
    chosen = [Candidate(7, {}), Candidate(2, {})]
    runs = [Result({1: 0.9}, 1.0), Result({}, 1.0, "loss is nan"), Result({1: 0.1}, 1.0), Result({1: 0.2}, 1.0)]
    rows = repeated(chosen, runs)
    assert rows[0].failure == "loss is nan"
    assert winner(rows).candidate.number == 2
    assert winner(rows[:1]) is None


def repeats(path, trials):
    notes = []
    return RunRecord(path, trials, on_done=lambda done, total: None, note=notes.append, stage="finalists"), notes


def drive(source, most=99):
    for _ in range(most):
        trial = source.ask()
        if trial is None:
            return
        for epoch in (1, 2):
            assert source.report(trial.number, epoch, {"val_map": 0.1 * epoch + trial.seed, "seconds": 2.0})
        source.tell(trial.number)


def test_repeats_run_everything_once_and_keep_their_order(tmp_path):
    trials = [Trial(9, "triplet", {"margin": 0.1}, seed, 2) for seed in range(4)]
    source, _ = repeats(tmp_path / "r.jsonl", trials)
    drive(source)
    assert source.exhausted
    assert [result.curve[1] for result in source.results] == pytest.approx([0.1, 1.1, 2.1, 3.1])
    assert [result.seconds for result in source.results] == [4.0] * 4


def test_repeats_that_are_done_are_not_done_again(tmp_path):
    trials = [Trial(0, "triplet", {"margin": 0.1}, seed, 2) for seed in range(4)]
    first, _ = repeats(tmp_path / "r.jsonl", trials)
    drive(first, most=2)
    with (tmp_path / "r.jsonl").open("a") as file:
        file.write('{"run": "torn')
    second, _ = repeats(tmp_path / "r.jsonl", trials)
    asked = []
    while (trial := second.ask()) is not None:
        asked.append(trial.seed)
        second.report(trial.number, 1, {"val_map": 0.3, "seconds": 1.0})
        second.tell(trial.number)
    assert asked == [2, 3]
    assert second.results[0].curve == first._results[0].curve
    third, _ = repeats(tmp_path / "r.jsonl", [replace(trial, basis="other rows") for trial in trials])
    assert len([third.ask() for _ in range(4)]) == 4


def test_a_run_whose_weights_are_gone_is_done_again(tmp_path):
    trials = [Trial(0, "triplet", {}, 1, 2, save_to=str(tmp_path / "weights"))]
    first, _ = repeats(tmp_path / "r.jsonl", trials)
    drive(first)
    assert repeats(tmp_path / "r.jsonl", trials)[0].ask() is not None
    (tmp_path / "weights").touch()
    assert repeats(tmp_path / "r.jsonl", trials)[0].ask() is not None, "an empty file is nobody's"
    save_weights(trials[0], {"w": torch.ones(2)}, {}, 2)
    assert repeats(tmp_path / "r.jsonl", trials)[0].ask() is None


@pytest.mark.parametrize(
    "other",
    [
        {"seed": 2},
        {"config": {"margin": 0.2}},
        {"method": "psd"},
        {"precision": "bf16"},
        {"horizon": 9},
        {"basis": "other rows, or another file of the user's own code"},
    ],
)
def test_weights_of_another_run_are_no_weights_of_this_one(tmp_path, other):
    trials = [Trial(0, "triplet", {"margin": 0.1}, 1, 2, save_to=str(tmp_path / "weights"))]
    first, _ = repeats(tmp_path / "r.jsonl", trials)
    drive(first)
    save_weights(replace(trials[0], **other), {"w": torch.ones(2)}, {}, 2)
    assert repeats(tmp_path / "r.jsonl", trials)[0].ask() is not None
    save_weights(trials[0], {"w": torch.ones(2)}, {}, 1)
    assert repeats(tmp_path / "r.jsonl", trials)[0].ask() is not None, "it is of an earlier epoch"
    save_weights(trials[0], {"w": torch.ones(2)}, {}, 2)
    assert repeats(tmp_path / "r.jsonl", trials)[0].ask() is None


def test_the_seconds_of_a_run_that_its_engines_death_started_again_count_once(tmp_path):
    source, _ = repeats(tmp_path / "r.jsonl", [Trial(0, "triplet", {}, 1, 2)])
    number = source.ask().number
    source.report(number, 1, {"val_map": 0.1, "seconds": 2.0})
    for epoch in (1, 2):
        source.report(number, epoch, {"val_map": 0.1 + epoch, "seconds": 3.0})
    source.tell(number)
    assert source.results[0].seconds == 6.0
    assert source.results[0].curve == {1: 1.1, 2: 2.1}, "the last training is the one whose weights are there"


def test_a_line_says_when_and_where_its_run_was_under_way(tmp_path):
    source, _ = repeats(tmp_path / "r.jsonl", [Trial(0, "triplet", {}, 1, 2)])
    before = time.time()
    number = source.ask().number
    for place in ("engine 0", "engine 1"):  # the first one died
        source.trained_on(number, TrainedOn("GPU 3", place))
    source.tell(number)
    line = json.loads((tmp_path / "r.jsonl").read_text())
    assert (line["stage"], line["on"]) == ("finalists", {"device": "GPU 3", "engine": "engine 1"})
    assert before - 0.01 <= line["begun"] <= line["ended"] <= time.time() + 0.01


def test_the_seeds_of_the_retraining_chose_nothing():
    seeds = [mix(SPACE.search.seed, "trial", number) for number in range(100)]
    seeds += [repeat_seed(SPACE, index) for index in range(10)]
    retrained = [retraining_seed(SPACE, index) for index in range(10)]
    assert len({*seeds, *retrained}) == len(seeds) + len(retrained)


def test_a_failed_repeat_is_kept_with_its_reason(tmp_path):
    trials = [Trial(0, "triplet", {}, seed, 2) for seed in range(2)]
    source, notes = repeats(tmp_path / "r.jsonl", trials)
    source.tell(source.ask().number, "it burned", "flames")
    trial = source.ask()
    assert not source.report(trial.number, 1, {"val_map": float("nan"), "seconds": 1.0})
    assert [result.failure for result in source.results] == ["it burned", "val_map is nan after epoch 1"]
    assert "flames" in notes[0]


def test_a_finalist_of_before_stays_one_when_others_have_passed_it():
    ranking = [record(4, 0.5), record(3, 0.4), record(1, 0.3), record(5, 0.2)]
    chosen = candidates(ranking, SPACE, lambda one: one.number in (1, 4))
    assert [candidate.number for candidate in chosen] == [4, 3, 1, None]


def open_runs(*lengths, patience=2):
    """Runs of one candidate, with an open horizon."""
    return [Trial(0, "triplet", {}, seed, 100, patience=patience) for seed, _ in enumerate(lengths)]


def rising(length):
    return Result({epoch: 0.1 + 0.01 * epoch for epoch in range(1, length + 1)}, 1.0)


def test_seeds_train_as_long_as_the_longest_where_their_mean_still_rises():
    runs = open_runs(16, 20, 24)
    further = longer(runs, [rising(16), rising(20), rising(24)], 3)
    assert [run.least for run in further] == [24, 24, 0]
    assert further[2] == runs[2]


def test_seeds_whose_mean_is_flat_or_that_cannot_train_on_are_left_alone():
    flat = [Result(dict.fromkeys(range(1, length + 1), 0.5), 1.0) for length in (16, 20)]
    runs = open_runs(16, 20)
    assert longer(runs, flat, 2) == runs
    assert longer(runs, [rising(20), rising(20)], 2) == runs
    assert longer(runs, [rising(16), Result({}, 1.0, "failed")], 2) == runs
    fixed = open_runs(16, 20, patience=0)
    assert longer(fixed, [rising(16), rising(20)], 2) == fixed


def test_the_mean_of_seeds_of_unequal_length_is_that_of_their_common_epochs():
    row = repeated([Candidate(0, {})], [rising(5), rising(9)])[0]
    assert (row.epoch, len(row.curve), row.mean) == (5, 5, pytest.approx(0.15))
