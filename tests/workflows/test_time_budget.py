"""`--time 2h`: spans, when the search ends for the finals, and what is said of it. The clock is the test's own."""

import re

import pytest
import yaml
from command import call
from test_continue import interrupted
from toy import SPACE, toy_dataset, write_toy

import avtune
import avtune.runners.work as work
from avtune.core.errors import UserError
from avtune.runners.placement_text import Places
from avtune.workflows import end_early, time_budget
from avtune.workflows.time_budget import TimeBudget, seconds_of

SMALL = ["--set", "final.finalists=1", "--set", "final.seeds=1", "--trials", "9", "--epochs", "3"]


@pytest.mark.parametrize(
    ("given", "seconds"),
    [
        ("2h", 7200),
        ("90m", 5400),
        ("1h30m", 5400),
        ("1h 30min", 5400),
        ("45s", 45),
        ("1.5h", 5400),
        ("1d", 86400),
        (9, 9),
    ],
)
def test_spans(given, seconds):
    assert seconds_of(given) == seconds


@pytest.mark.parametrize("given", ["90", "2 hours", "", "h", "-2h", "0s", 0, -1, True, None, "9999d", float("nan")])
def test_what_is_no_span_is_said(given):
    with pytest.raises(UserError, match=r"give a span with its unit, such as 2h, 90m, 1h30m or 45s"):
        seconds_of(given)


class Clock:
    """Seconds that pass with every epoch that is trained."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def toy(tmp_path, monkeypatch):
    """The toy; every epoch takes ten seconds on the test's clock, and says so."""
    write_toy(tmp_path)
    clock, train = Clock(), work.train
    monkeypatch.setattr(end_early, "EVERY", 0.0)
    monkeypatch.setattr(end_early, "_REST", 0)
    monkeypatch.setattr(time_budget, "monotonic", clock)

    def slow(trial, data, report, **more):
        def timed(epoch, metrics):
            clock.now += 10.0
            return report(epoch, {**metrics, "seconds": 10.0})

        return train(trial, data, timed, **more)

    monkeypatch.setattr(work, "train", slow)
    return tmp_path


def words(folder, *more):
    where = ["--name", "one", "--results", folder / "results", "--gpus", "0", "--runner", "inline"]
    return ["search", folder / "toy.h5", "--space", folder / "space.yaml", *where, *SMALL, *more]


def settings(folder):
    return yaml.safe_load((folder / "results" / "one" / "study.yaml").read_text())


def trials(folder):
    return len(avtune.load_study("one", results=folder / "results").trials)


def test_a_search_ends_for_its_finals_says_so_and_goes_on_without_a_limit(toy, capsys):
    printed = call(capsys, *words(toy, "--time", "5m"))
    said = " ".join(printed.split())
    count = trials(toy)
    assert 2 <= count < 9
    assert "note: --time 5 min 0 s, finals and retraining included: trials end as soon as" in said
    assert f"stopped after {count} of 9 trials: its time was over" in said
    assert f"of 5 min 0 s: {count} of 9 trials in" in said
    assert "too long" not in said
    # Two repeats and two retrainings of three epochs each, of which a retraining's has more rows.
    assert "(expected: 2 min" in said
    assert settings(toy)["stopped"] == {"trials": count, "by": "time", "seconds": 300.0}
    assert "no difference" in call(capsys, "verify", "one", "--results", toy / "results")
    assert "this study is finished" in call(capsys, *words(toy, "--time", "5m"))
    assert trials(toy) == count
    printed = call(capsys, *words(toy))
    assert f"changed: the search goes on; it was stopped after {count} of 9 trials: its time was over" in printed
    assert trials(toy) == 9
    assert "stopped" not in settings(toy)


def test_a_kill_in_the_finals_of_one_that_was_ended_leaves_it_ended(toy, capsys):
    with interrupted(4):  # one trial, then the second of its repeats
        call(capsys, *words(toy, "--time", "2m30s"), code=130)
    before = settings(toy)["stopped"]
    assert before["by"] == "time"
    call(capsys, *words(toy, "--time", "2m30s"))
    assert settings(toy)["stopped"] == before
    assert trials(toy) == before["trials"]


def test_more_time_has_it_go_on(toy, capsys):
    call(capsys, *words(toy, "--time", "2m30s"))
    count = trials(toy)
    call(capsys, *words(toy, "--time", "1h"))
    assert count < trials(toy) == 9


def test_too_little_time_is_said_with_how_much_longer_it_took(toy, capsys):
    printed = call(capsys, *words(toy, "--time", "10s"))
    assert trials(toy) == 1
    assert re.search(r"time +\d min \d+ s of 10 s, \d min \d+ s too long: 1 of 9 trials in 10 s, finals in", printed)


def test_each_of_several_searches_has_the_whole_time(toy, capsys):
    printed = call(capsys, *words(toy, "--repeat", "2", "--time", "5m"))
    said = " ".join(printed.split())
    first, second = (len(avtune.load_study(name, results=toy / "results").trials) for name in ("one", "one-seed2"))
    assert 2 <= first < 9
    assert 2 <= second < 9
    assert "too long" not in said
    assert said.count("of 5 min 0 s: ") == 2
    assert f"ended early: one ({first} of 9 trials), one-seed2 ({second} of 9 trials)" in said


def test_python_takes_seconds(toy):
    small = {"trials": 9, "epochs": 2, "set": {"final.finalists": 1, "final.seeds": 1}, "quiet": True, "gpus": 0}
    how = {"space": yaml.safe_load(SPACE), "results": toy / "results", "runner": "inline"}
    study = avtune.search(toy_dataset(), time=200, **how, **small)
    assert study.state == "finished"
    assert 0 < len(study.trials) < 9
    with pytest.raises(avtune.UserError, match=r"^time is 'long'; give a span"):
        avtune.search(toy_dataset(), time="long", name="other", **how, **small)


def test_processes_share_the_finals(toy):
    """Twice as many processes, half of the time."""
    call_of = [Places(1, 1, "lanes"), Places(2, 2, "lanes")]
    from avtune.study.folder import StudyFolder
    from avtune.workflows.open_study import open_space, open_study

    small = {"trials": 2, "epochs": 2, "set": {"final.finalists": 1, "final.seeds": 1}, "quiet": True, "gpus": 0}
    avtune.search(
        toy_dataset(), space=yaml.safe_load(SPACE), results=toy / "results", name="x", runner="inline", **small
    )
    folder = StudyFolder(toy / "results" / "x")
    study = open_study(folder, open_space(folder))
    found = []
    for places in call_of:
        budget = TimeBudget(100.0, Clock())
        budget.search_is_over(study, places, "validation")
        found.append(budget.expected)
    assert found[0] == pytest.approx(2 * found[1])
