"""The lines of a search where there is no live table."""

from types import SimpleNamespace

import pytest

from avtune.cli.progress import Progress
from avtune.core.objective import MAP
from avtune.core.trial import Trial
from avtune.study.facts import StudyFacts
from avtune.study.record import Record


class Study(StudyFacts):
    """As much of a study as its progress asks for."""

    def __init__(self, records):
        self.records = records
        self.space = SimpleNamespace(method="psd", search=SimpleNamespace(objective=MAP.text))
        self.folder = SimpleNamespace(root=SimpleNamespace(name="one"))

    def is_suggested(self, number):
        return False


@pytest.fixture
def said(monkeypatch):
    lines = []
    monkeypatch.setattr("avtune.cli.progress.event", lines.append)
    return lines


def begun(*curves):
    """A progress that was told of the epochs of trials, and their records."""
    records = [Record(Trial(number, "psd", {}, 0, 9, save_at=(1, 3))) for number in range(len(curves))]
    progress = Progress(len(curves))
    progress.known(Study(records))
    for record, values in zip(records, curves, strict=True):
        progress.started(record)
        for epoch, value in enumerate(values, 1):
            record.add_epoch(epoch, value, 1.0)
            progress.epoch(record, epoch, {"val_map": value})
    return progress, records


def end(progress, record, failure=None):
    record.end_training(failure)
    record.end()
    progress.ended(record)


def test_a_trial_that_failed_is_not_the_best(said):
    progress, (first, failed, last) = begun([0.3, 0.2], [0.9], [0.1])
    end(progress, failed, "it broke")
    end(progress, first)
    end(progress, last)
    assert said == [
        "[1/3] trial 1 failed: it broke (details in log.txt)",
        "[2/3] trial 0    complete after   2 epochs  val MAP 0.3000 (epoch 1)  best 0.3000 (trial 0)",
        "[3/3] trial 2    complete after   1 epochs  val MAP 0.1000 (epoch 1)  best 0.3000 (trial 0)",
    ]


def test_what_was_trained_past_the_rung_that_stopped_a_trial_is_not_the_best(said):
    progress, (first, stopped) = begun([0.3, 0.2, 0.2], [0.1, 0.9])
    stopped.stop(1)
    end(progress, stopped)
    end(progress, first)
    assert [line.split("  ")[-1] for line in said] == ["best 0.3000 (trial 0)"] * 2


def test_where_none_counts_there_is_no_best(said):
    progress, (failed, last) = begun([0.9], [])
    end(progress, failed, "it broke")
    last.add_epoch(1, 0.1, 1.0)
    end(progress, last)
    assert said[-1].endswith("val MAP 0.1000 (epoch 1)  best 0.1000 (trial 1)")
