"""Configurations that the user names: when their turn comes, and that a study that is opened again has the same."""

import pytest
from test_study import drive, make_space

from avtune.report.page_search import bought
from avtune.study.folder import StudyFolder
from avtune.study.study import Study

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


def test_the_report_does_not_take_them_for_random_draws(folder):
    space = make_space(trials=8, startup_trials=0, sampler="random")
    study = Study(folder, space, start=MINE, like=[{"x": 0.625}])
    drive(study)
    assert [record.trial.config["x"] for record in study.records[:4]] == [0.25, 0.75, 0.5, 0.625]
    found = bought(study.records, space, {}, study.known)
    assert found["independent"]["trials"] == 4
