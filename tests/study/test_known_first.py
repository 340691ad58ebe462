"""Configurations that the user names: when their turn comes, and that a study that is opened again has the same."""

import pytest
from test_study import drive, make_space

from avtune.report.page_search import bought
from avtune.study.ending import Stopped
from avtune.study.folder import StudyFolder
from avtune.study.study import Study
from avtune.workflows.continuing import not_tried, start_notes

MINE = [{"x": 0.25}, {"x": 0.75}]


@pytest.fixture
def folder(tmp_path):
    folder = StudyFolder(tmp_path / "one")
    settings = {"format": 1, "dataset": {"name": "toy", "digest": ""}, "space": make_space().as_dict()}
    folder.create({**settings, "deterministic": False, "precision": "fp32"}, {})
    return folder


def asked(study, count):
    return [study.ask().config["x"] for _ in range(count)]


@pytest.mark.parametrize(("trials", "random", "turn"), [(12, 4, 4), (5, 4, 4), (4, 4, 0), (12, 0, 0)])
def test_they_come_after_the_random_trials_and_before_the_default(folder, trials, random, turn):
    study = Study(folder, make_space(trials=trials, startup_trials=random), start=MINE)
    assert study.waiting == 2
    values = asked(study, trials)
    assert values[turn : turn + 3] == [0.25, 0.75, 0.5][: trials - turn]
    assert [values.count(one) for one in (0.25, 0.75)] == [1, int(trials > turn + 1)]


@pytest.mark.parametrize("deterministic", [False, True])
def test_a_study_that_is_opened_again_asks_for_the_same(tmp_path, folder, deterministic):
    space = make_space(startup_trials=3, lag=2)
    how = {"deterministic": deterministic, "start": MINE}
    other = StudyFolder(tmp_path / "two")
    other.create(folder.settings(), {})
    whole = Study(folder, space, **how)
    drive(whole)
    cut = Study(other, space, **how)
    for most in (2, 5, 9, 14):
        drive(cut, most=most)
        cut = Study(other, space, **how)
    drive(cut)
    configs = [[record.trial.config["x"] for record in one.records] for one in (whole, cut)]
    assert configs[0] == configs[1]
    assert configs[0][3:6] == [0.25, 0.75, 0.5]


def test_one_that_was_tried_does_not_come_again_and_new_ones_come_next(folder):
    space = make_space(startup_trials=2)
    study = Study(folder, space, start=MINE)
    asked(study, 6)
    study.close()
    more = Study(folder, space, start=[*MINE, {"x": 0.125}, {"x": 0.5}])
    assert more.waiting == 1  # the default has been tried
    while more._queue:
        more.ask()
    assert asked(more, 3)[0] == 0.125
    assert more.waiting == 0


@pytest.mark.parametrize(
    ("trials", "random", "first", "fits", "enough"),
    [(6, 4, 0, 2, 9), (6, 4, 5, 1, 9), (5, 4, 0, 1, 9), (4, 8, 0, 3, 5), (4, 5, 0, 3, 5), (3, 4, 0, 3, 9)],
)
def test_how_many_fit_is_said_and_how_many_trials_try_all(folder, trials, random, first, fits, enough):
    """The default comes after the user's three and before the one of an earlier study."""
    mine = [*MINE, {"x": 0.125}]
    asked(Study(folder, make_space(trials=trials, startup_trials=random)), first)
    study = Study(folder, make_space(trials=trials, startup_trials=random), start=mine, like=[{"x": 0.625}])
    (said,) = start_notes(study, portfolio=False)
    assert said.startswith(f"only {fits} of 4 configurations of --start or --like fit into the {trials} trials; add")
    assert f"--trials {enough} for all; they come" in said
    drive(study)
    assert not_tried(study)[0].startswith(f"{4 - fits} configuration")
    more = Study(folder, make_space(trials=enough, startup_trials=random), start=mine, like=[{"x": 0.625}])
    drive(more)
    assert (more.waiting, not_tried(more)) == (0, [])


def test_those_of_a_search_that_was_ended_wait(folder):
    space = make_space(trials=12, startup_trials=2)
    asked(Study(folder, space), 4)
    study = Study(folder, space, start=MINE, stopped=Stopped(4, "finish"))
    assert start_notes(study, portfolio=False) == [
        "2 configurations of --start or --like wait: the search has been ended; --trials 6 tries them"
    ]


def test_the_report_does_not_take_them_for_random_draws(folder):
    space = make_space(trials=8, startup_trials=0, sampler="random")
    study = Study(folder, space, start=MINE, like=[{"x": 0.625}])
    drive(study)
    assert [record.trial.config["x"] for record in study.records[:4]] == [0.25, 0.75, 0.5, 0.625]
    found = bought(study.records, space, {}, study.known)
    assert found["independent"]["trials"] == 4
