"""A study whose trials end by their curves, and one that is given more epochs; no training."""

import json
import math
import random

import pytest
from test_horizon import space_of

from avtune.core.files import read_lines
from avtune.study.folder import StudyFolder
from avtune.study.horizon import Horizon
from avtune.study.status import read_status
from avtune.study.study import Study

ROWS = 1330  # 5 steps an epoch: rungs at 3, 9, 27 and 81


def auto_space(trials=14, more=""):
    return space_of(f"{{epochs: auto, grace: 3, factor: 3}}\nsearch: {{trials: {trials}, lag: 4, startup_trials: 3}}")


def fixed_space(epochs, trials=12):
    return space_of(f"{{epochs: {epochs}, grace: 1, factor: 3}}\nsearch: {{trials: {trials}, startup_trials: 3}}")


@pytest.fixture
def make_study(tmp_path):
    def make(name="one", space=None, deterministic=False):
        space = space or auto_space()
        folder = StudyFolder(tmp_path / name)
        if not folder.exists:
            settings = {"format": 1, "dataset": {"name": "toy", "digest": ""}, "space": space.as_dict()}
            folder.create(settings | {"deterministic": deterministic, "precision": "fp32"}, {})
        return Study(folder, space, deterministic=deterministic, horizon=Horizon(space, ROWS))

    return make


def value_of(trial, epoch):
    """Saturates; the better the trial, the later."""
    x = trial.config["x"]
    return 0.2 + 0.6 * x * (1 - math.exp(-epoch / (1 + 12 * x)))


def drive(study, *, lanes=1, draw=None, most=10**6):
    """Trains as an engine does: a trial ends when the study says so, or by itself."""
    running, spent = {}, 0
    while True:
        while len(running) < lanes and (trial := study.ask()) is not None:
            running[trial.number] = (trial, [])
        if not running or spent >= most:
            return
        number = draw.choice(sorted(running)) if draw else min(running)
        trial, values = running[number]
        values.append(value_of(trial, len(values) + 1))
        spent += 1
        goes_on = study.report(number, len(values), {"val_map": values[-1], "seconds": 0.5})
        if not goes_on or trial.ends(values):
            study.tell(number)
            del running[number]


def outcome(study):
    return [(r.state, list(r.values.values()), r.ended_flat, r.trial.config) for r in study.records]


def test_trials_end_flat_and_say_so(make_study):
    study = make_study()
    drive(study)
    assert study.exhausted
    complete = [record for record in study.records if record.state == "COMPLETE"]
    assert complete
    for record in complete:
        assert record.ended_flat
        assert record.trial.ends(list(record.values.values()))
        assert record.values.last < record.trial.epochs
    ends = [line for line in read_lines(study.folder.curves, repair=False)[0] if "state" in line]
    assert {line["trial"] for line in ends if line.get("flat")} == {record.number for record in complete}


def test_a_flat_trial_counts_at_the_rungs_that_it_did_not_reach(make_study):
    study = make_study()
    first = study.ask()
    assert first.save_at[:4] == (3, 9, 27, 81)
    for epoch in range(1, 21):
        assert study.report(first.number, epoch, {"val_map": 0.9})
    study.tell(first.number)
    other = study.ask()
    goes_on = [study.report(other.number, epoch, {"val_map": 0.5 + epoch / 1000}) for epoch in range(1, 28)]
    assert goes_on.index(False) == 2, "one of two goes on, and 0.9 was better at the first rung"
    assert [study._rungs.asha.seen(rung) for rung in range(4)] == [2, 1, 1, 1]


@pytest.mark.parametrize("deterministic", [False, True])
@pytest.mark.parametrize("seed", range(6))
def test_a_continued_study_is_what_its_files_say(make_study, deterministic, seed):
    draw = random.Random(seed)
    for _ in range(60):
        study = make_study(deterministic=deterministic)
        drive(study, lanes=draw.randint(1, 5), draw=draw, most=draw.randint(1, 900))
        again = make_study(deterministic=deterministic)
        ended = [record.number for record in study.records if record.state != "RUNNING"]
        assert [outcome(again)[number] for number in ended] == [outcome(study)[number] for number in ended]
        for rung in range(5):
            assert again._rungs.asha.seen(rung) == study._rungs.asha.seen(rung)
        if study.exhausted:
            break
    assert study.exhausted


@pytest.mark.parametrize("seed", range(6))
def test_deterministic_mode_gives_the_same_however_it_runs(make_study, seed):
    reference = make_study("reference", deterministic=True)
    drive(reference)
    draw = random.Random(seed)
    for _ in range(60):
        study = make_study("other", deterministic=True)
        drive(study, lanes=draw.randint(1, 6), draw=draw, most=draw.randint(20, 900))
        if study.exhausted:
            break
    assert study.exhausted
    assert outcome(study) == outcome(reference)


def test_a_study_that_is_given_more_epochs_goes_on_with_its_best(make_study):
    first = make_study(space=fixed_space(9))
    drive(first)
    before = outcome(first)
    whole = [record.number for record in first.records if record.state == "COMPLETE"]
    more = make_study(space=fixed_space(27))
    reopened = [record.number for record in more.records if record.state == "RUNNING"]
    assert reopened
    assert set(reopened) <= set(whole)
    assert first.best.number in reopened
    drive(more)
    assert more.exhausted
    for number, (state, values, _, config) in enumerate(before):
        record = more.records[number]
        assert list(record.values.values())[: len(values)] == values
        assert record.trial.config == config
        assert record.state == state or number in reopened
        assert record.values.last == (27 if number in reopened and record.state == "COMPLETE" else record.values.last)
    assert more.best.best_value > first.best.best_value
    assert outcome(make_study(space=fixed_space(27))) == outcome(more)
    status = read_status(more.folder)
    assert status["states"]["RUNNING"] == 0
    assert status["best"]["val_map"] == more.best.best_value


@pytest.mark.parametrize("most", [1, 5, 12, 20, 40])
def test_more_epochs_and_a_kill(make_study, most):
    drive(make_study("one", space=fixed_space(9)))
    drive(make_study("two", space=fixed_space(9)))
    drive(make_study("one", space=fixed_space(27)))
    drive(make_study("two", space=fixed_space(27)), most=most)
    last = make_study("two", space=fixed_space(27))
    drive(last)
    assert outcome(last) == outcome(make_study("one", space=fixed_space(27)))
    lines = [json.loads(line) for line in last.folder.curves.read_text().splitlines()]
    epochs = [(line["trial"], line["epoch"]) for line in lines if "epoch" in line]
    assert len(epochs) == len(set(epochs))


def test_a_trial_that_fails_before_its_first_further_epoch_leaves_a_study_that_opens(make_study):
    drive(make_study(space=fixed_space(9)))
    more = make_study(space=fixed_space(27))
    trial = more.ask()
    assert trial.known == 9
    more.tell(trial.number, "out of memory")
    again = make_study(space=fixed_space(27))
    assert again.records[trial.number].state == "FAIL"
    assert again.retry_failed() == [trial.number]
    drive(again)
    assert again.exhausted
    assert again.records[trial.number].state != "FAIL"


def test_a_trial_that_became_flat_at_its_last_epoch_ends_there_again_with_more_of_them(make_study):
    def space(steps):
        return space_of(f"{{epochs: auto, grace: 3, factor: 3, steps: {steps}}}\nsearch: {{trials: 1}}")

    first = make_study(space=space(135))
    trial = first.ask()
    values = [min(epoch, trial.epochs - trial.patience) / 100 for epoch in range(1, trial.epochs + 1)]
    assert [trial.ends(values[:epoch]) for epoch in (trial.epochs - 1, trial.epochs)] == [False, True]
    for epoch, value in enumerate(values, 1):
        first.report(trial.number, epoch, {"val_map": value})
    first.tell(trial.number)
    assert not first.records[0].ended_flat
    for _ in range(2):
        more = make_study(space=space(900))
        assert more.exhausted
        assert more.records[0].ended_flat
        assert list(more.records[0].values.values()) == values
