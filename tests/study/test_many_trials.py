"""A study of many trials: what it takes to open, show and continue grows as the study does, counted in calls."""

import os
import sys

import pytest
from test_study import make_space

from avtune.report.page import page
from avtune.study.folder import StudyFolder
from avtune.study.status import read_status
from avtune.study.study import Study

pytestmark = pytest.mark.slow
FEW, MANY = 500, 2000


@pytest.fixture(scope="module")
def studies(tmp_path_factory):
    """Studies of two sizes whose last 32 trials are running; without waiting for the disk."""
    root = tmp_path_factory.mktemp("many")
    made = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda handle: None)
        for size in (FEW, MANY):
            space = make_space(trials=100_000, sampler="random")
            folder = StudyFolder(root / str(size))
            dataset = {"name": "toy", "digest": "", "spec": "toy"}
            settings = {
                "format": 1,
                "dataset": dataset,
                "runner": "inline",
                "deterministic": False,
                "precision": "fp32",
            }
            folder.create({**settings, "space": space.as_dict()}, {})
            study = Study(folder, space)
            for number in range(size):
                trial = study.ask()
                for epoch in range(1, 10):
                    if not study.report(number, epoch, {"val_map": trial.config["x"] / 2 + epoch / 30, "seconds": 1.0}):
                        break
                    if number >= size - 32:
                        break
                else:
                    study.tell(number)
                if study.should_stop(number):
                    study.tell(number)
            made[size] = folder
    return made


def calls(action):
    """How many calls of functions an action makes, Python's and C's."""
    count = 0

    def seen(frame, event, argument):
        nonlocal count
        count += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(seen)
    try:
        action()
    finally:
        sys.setprofile(before)
    return count


def opened(folder):
    return Study(folder, make_space(trials=100_000, sampler="random"))


@pytest.mark.parametrize("deterministic", [False, True])
def test_opening_takes_work_in_proportion(studies, deterministic):
    space = make_space(trials=100_000, sampler="random")
    few, many = (calls(lambda: Study(studies[size], space, deterministic=deterministic)) for size in (FEW, MANY))  # noqa: B023
    assert many < 1.1 * MANY / FEW * few
    study = opened(studies[MANY])
    assert len(study.records) == MANY
    assert study.count("RUNNING") > 0


@pytest.mark.parametrize("action", [read_status, lambda folder: opened(folder).close()], ids=["status", "close"])
def test_showing_takes_work_in_proportion(studies, action):
    few, many = (calls(lambda: action(studies[size])) for size in (FEW, MANY))  # noqa: B023
    assert many < 1.1 * MANY / FEW * few


def test_a_suggestion_and_a_report_cost_the_same_in_a_large_study(studies):
    def step(study):
        trial = study.ask()
        study.report(trial.number, 1, {"val_map": 0.0})
        study.tell(trial.number)

    counts = []
    for size in (FEW, MANY):
        study = opened(studies[size])
        for _ in range(40):  # the trials that were running, and the first rows of trials.csv
            step(study)
        study._csv.due = float("inf")
        counts.append(min(calls(lambda: step(study)) for _ in range(5)))  # noqa: B023
    assert counts[1] < 1.5 * counts[0]


def test_the_report_shows_a_bounded_part(studies):
    study = opened(studies[MANY])  # with the trials that other tests have added
    text = page(study, None, None)
    assert text.count("<tr>") < 70
    assert f"{len(study.records) - 50} trials with the lowest" in text
