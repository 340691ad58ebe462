"""Searches that suggest fewer trials than they were asked for: their best value is flat, or someone has ended them."""

import random
from dataclasses import replace

import pytest
from test_known_first import folder  # noqa: F401
from test_study import HYPERS, drive, make_space, outcome, value_of

from avtune.core.files import to_yaml, write_text
from avtune.report.page_facts import facts
from avtune.space.parse import parse
from avtune.study.ending import Stopped
from avtune.study.folder import StudyFolder
from avtune.study.horizon import Horizon
from avtune.study.study import Study
from avtune.study.watch import StudyWatch
from avtune.workflows.continuing import size_note

MOST = 60


def space_of(patience, **more):
    return make_space(trials=MOST, stop_when_flat=patience, **{"startup_trials": 3, "lag": 4} | more)


def since_the_best(study, first):
    """Trials that count after the best one, in the order of their ends; or of their numbers, where that is given."""
    best = study.best
    return sum(record.number >= first for record in study.records if record.number > best.number)


def watched(folder, space, **more):  # noqa: F811
    """The study from outside."""
    settings = {**folder.settings(), "space": space.as_dict(), **more}
    write_text(folder.study_yaml, to_yaml(settings))
    return StudyWatch(folder, lambda name: None)


def test_a_search_ends_when_its_best_value_has_not_risen(folder):  # noqa: F811
    study = Study(folder, space_of(5))
    drive(study)
    assert study.exhausted
    assert len(study.records) == study.trials < MOST
    assert since_the_best(study, 4) == 5
    assert study.ended_early == f"stopped after {len(study.records)} of {MOST} trials: best has not risen for 5"
    study.close()
    again = Study(folder, space_of(5))
    assert (again.exhausted, again.ask(), again.ended_early) == (True, None, study.ended_early)
    assert watched(folder, space_of(5)).trials == len(study.records)
    longer = Study(folder, space_of(0))
    assert not longer.exhausted
    drive(longer)
    assert (len(longer.records), longer.ended_early) == (MOST, "")


def test_random_trials_and_known_ones_do_not_count(folder):  # noqa: F811
    study = Study(folder, space_of(1, startup_trials=10), start=[{"x": 1.0}])
    drive(study)
    assert len(study.records) >= 13, "ten random ones, the user's, the default and at least one that was suggested"


@pytest.mark.parametrize("deterministic", [False, True])
def test_what_counts_is_where_a_configuration_is_from_not_its_number(folder, deterministic):  # noqa: F811
    """Seven are named after 8 trials, of which the last 3 were suggested (the default is trial 4): none of the seven
    counts, and all are tried."""

    def driven(study):
        while (trial := study.ask()) is not None:
            study.report(trial.number, 1, {"val_map": 0.9 if trial.number == 0 else 0.1})
            study.tell(trial.number)
        study.close()
        return study

    def one_epoch(**search):
        space = make_space(startup_trials=4, lag=1, **search)
        return replace(space, early_stopping=replace(space.early_stopping, epochs=1))

    driven(Study(folder, one_epoch(trials=8), deterministic=deterministic))
    start = [{"x": number / 64} for number in range(1, 8)]
    flat = one_epoch(trials=MOST, stop_when_flat=5)
    study = driven(Study(folder, flat, start=start, deterministic=deterministic))
    assert (study.waiting, len(study.records)) == (0, 8 + 7 + 2)
    again = Study(folder, flat, start=start, deterministic=deterministic)
    assert again.exhausted
    assert watched(folder, flat, start=start, deterministic=deterministic).trials == 17


def test_a_trial_that_was_running_meanwhile_may_have_the_search_go_on(folder):  # noqa: F811
    study = Study(folder, space_of(2, startup_trials=0))
    trials = [study.ask() for _ in range(4)]
    for trial, value in zip(trials[:3], (0.5, 0.4, 0.3), strict=True):
        study.report(trial.number, 1, {"val_map": value})
        study.tell(trial.number)
    assert study.ask() is None
    assert study.trials == 4
    assert not study.exhausted
    study.report(3, 1, {"val_map": 0.9})
    study.tell(3)
    assert study.trials == MOST or study.ask().number == 4
    assert study.trials == MOST


@pytest.mark.parametrize("lanes", [2, 7])
def test_in_deterministic_mode_it_ends_at_the_same_trial_whichever_were_quicker(tmp_path, folder, lanes):  # noqa: F811
    settings, found = folder.settings(), []
    for seed in range(3):
        one = StudyFolder(tmp_path / f"s{seed}")
        one.create(settings, {})
        study = Study(one, space_of(5), deterministic=True)
        draw = random.Random(seed) if seed else None
        for most in (13, 40, 10**6):  # with two interruptions
            drive(study, lanes=lanes if seed else 1, draw=draw, most=most)
            study = Study(one, space_of(5), deterministic=True)
        assert study.exhausted
        found.append((outcome(study), study.ended_early))
    assert found[0] == found[1] == found[2]
    assert len(found[0][0]) < MOST


def until(trials):
    """Ends a search with so many trials."""
    return lambda study: Stopped(len(study.records), "finish") if len(study.records) >= trials else None


def test_a_search_that_is_ended_ends_what_is_running_with_its_next_epoch(folder):  # noqa: F811
    study = Study(folder, space_of(0), until=until(8))
    drive(study, lanes=3, draw=random.Random(0))
    assert study.exhausted
    assert len(study.records) == 8
    assert study.ended_early == f"stopped after 8 of {MOST} trials: ended by avtune finish"
    assert study.count("RUNNING") == 0
    study.close()
    again = Study(folder, space_of(0), stopped=Stopped(8, "finish"))
    assert [one.stopped_at for one in again.records] == [one.stopped_at for one in study.records]
    assert outcome(again) == outcome(study)
    assert again.exhausted
    assert watched(folder, space_of(0), stopped={"trials": 8, "by": "finish"}).trials == 8
    goes_on = Study(folder, space_of(0))
    drive(goes_on)
    assert len(goes_on.records) == MOST


def test_interrupted_trials_of_a_search_that_is_ended_keep_what_they_have(folder):  # noqa: F811
    study = Study(folder, space_of(0, startup_trials=10))
    for number in range(3):
        assert study.ask().number == number
    study.report(0, 1, {"val_map": 0.3})
    study.report(1, 1, {"val_map": 0.4})
    study.report(1, 2, {"val_map": 0.5})
    again = Study(folder, study.space, until=until(1))
    again.look_for_end()
    assert [again.records[number].values.last for number in (0, 1)] == [1, 2]
    assert [record.state for record in again.records[:2]] == ["PRUNED", "PRUNED"]
    last = again.ask()
    assert last.number == 2, "it has no epoch yet"
    assert not again.report(2, 1, {"val_map": 0.2})
    again.tell(2)
    assert again.exhausted
    assert again.best.number == 1


def test_one_that_is_at_its_end_is_complete(folder):  # noqa: F811
    ends = []
    study = Study(folder, space_of(0), until=lambda study: ends[0] if ends else None)
    trial = study.ask()
    for epoch in range(1, 10):
        if epoch == 9:
            ends.append(Stopped(1, "finish"))
        assert study.report(0, epoch, {"val_map": value_of(trial, epoch)})
    study.tell(0)
    assert study.exhausted
    assert study.records[0].state == "COMPLETE"


def test_in_deterministic_mode_they_train_to_their_ends(tmp_path, folder):  # noqa: F811
    other = StudyFolder(tmp_path / "two")
    other.create(folder.settings(), {})
    studies = [Study(one, space_of(0), deterministic=True, until=until(9)) for one in (folder, other)]
    for study, lanes in zip(studies, (1, 5), strict=True):
        drive(study, lanes=lanes, draw=random.Random(1))
    assert outcome(studies[0]) == outcome(studies[1])
    assert all(study.exhausted and len(study.records) == 9 for study in studies)


@pytest.mark.parametrize("most", range(8, 30, 3))
def test_a_kill_at_any_epoch_after_the_end_ends_alike(folder, most):  # noqa: F811
    stopped = []

    def once(study):
        stopped.extend((until(6)(study) and [Stopped(6, "finish")]) or [])
        return stopped[0] if stopped else None

    study = Study(folder, space_of(0), until=once)
    drive(study, lanes=3, draw=random.Random(most), most=most)
    again = Study(folder, space_of(0), stopped=stopped[0] if stopped else None, until=once)
    drive(again, lanes=3)
    assert again.exhausted
    assert len(again.records) == 6
    assert outcome(Study(folder, space_of(0), stopped=stopped[0])) == outcome(again)


@pytest.mark.parametrize("stopped", [Stopped(3, "finish"), None])
def test_an_end_leaves_complete_trials_that_were_given_more_epochs_complete(folder, stopped):  # noqa: F811
    space = make_space(trials=3)
    drive(Study(folder, space))
    longer = replace(space, early_stopping=replace(space.early_stopping, epochs=27))
    before = [(record.state, record.values.last) for record in Study(folder, space).records]
    assert ("COMPLETE", 9) in before
    until = (lambda study: Stopped(3, "finish")) if stopped is None else (lambda study: None)
    for _ in range(2):  # what is on record stays so
        study = Study(folder, longer, stopped=stopped, until=until)
        study.look_for_end()
        assert study.exhausted
        assert study.ask() is None
        assert [(record.state, record.values.last) for record in study.records] == before
        study.close()
    assert [one.state for one in watched(folder, longer, stopped={"trials": 3, "by": "finish"}).records] == [
        state for state, _ in before
    ]
    goes_on = Study(folder, longer)
    drive(goes_on)
    assert max(record.values.last for record in goes_on.records) == 27


def test_failed_trials_that_are_begun_again_after_an_end_train_as_any_other(folder):  # noqa: F811
    space = space_of(0)
    study = Study(folder, space, until=until(2))
    study.report(study.ask().number, 1, {"val_map": 0.1})
    study.tell(0, "it failed")
    drive(study)
    stopped = Stopped(2, "finish")
    again = Study(folder, space, stopped=stopped)
    assert again.retry_failed() == [0]
    assert again.ask().number == 0
    assert again.report(0, 1, {"val_map": 0.91})  # better than the others: no rung stops it
    assert again.report(0, 2, {"val_map": 0.92})
    spared = Stopped.of({"stopped": stopped.sparing([0]).to_json()})
    killed = Study(folder, space, stopped=spared)
    assert killed.ask().number == 0
    for epoch in range(3, 10):
        assert killed.report(0, epoch, {"val_map": 0.9 + epoch / 100})
    killed.tell(0)
    assert killed.exhausted
    assert (killed.records[0].state, killed.records[0].values.last) == ("COMPLETE", 9)
    assert killed.records[1].state == "PRUNED"


@pytest.mark.parametrize("constraint", ["", "\nconstraints: [fixed >= 2]"])
def test_a_space_that_is_used_up_is_said_before_and_after(folder, constraint):  # noqa: F811
    text = "method: toy\nspace: {fixed: {type: int, low: 2, high: 4}}\nsearch: {trials: 10, startup_trials: 0}"
    space = parse(text + constraint, file="toy.yaml", hypers_of=lambda name: HYPERS, method_names=["toy"])
    study = Study(folder, space, horizon=Horizon(space, 100))
    assert size_note(study) == ["the space has 3 configurations: the search ends after these, before 10 trials"]
    assert watched(folder, space, rows=100).trials == 10
    drive(study)
    assert study.ended_early == "stopped after 3 of 10 trials: every configuration of the space has been tried"
    assert watched(folder, space, rows=100).trials == 3
    assert size_note(Study(folder, replace(space, search=replace(space.search, trials=3)), horizon=study.horizon)) == []


def test_the_report_says_it_and_a_limit_without_effect_is_pointed_out(folder):  # noqa: F811
    study = Study(folder, space_of(0), stopped=Stopped(0, "time", 60.0))
    found = dict(facts(study, {}))
    assert found["ended early"] == f"stopped after 0 of {MOST} trials: its time was over"
    assert "search.stop_when_flat 60 is not below trials 60: no effect" in space_of(60).notes()
    assert not any("flat" in note for note in space_of(59).notes())
