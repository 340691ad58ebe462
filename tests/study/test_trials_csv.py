import csv

import pytest

from avtune.core.trial import Trial
from avtune.study import trials_csv
from avtune.study.curve import Curve
from avtune.study.record import Record
from avtune.study.trials_csv import TrialsCsv


@pytest.fixture
def clock(monkeypatch):
    """A clock that only `clock[0]` moves."""
    now = [100.0]
    monkeypatch.setattr(trials_csv.time, "monotonic", lambda: now[0])
    return now


def record(number, values=()):
    return Record(Trial(number, "toy", {"x": 0.5}, 0, 9), "COMPLETE", Curve(values), 1.5)


def rows(path):
    return list(csv.DictReader(path.read_text().splitlines()))


def test_a_row_a_trial_and_the_first_of_equal_epochs(tmp_path):
    path = tmp_path / "trials.csv"
    TrialsCsv(path, [record(0, [0.25, 0.5, 0.5]), record(1)]).write()
    shared = {"state": "COMPLETE", "x": "0.5", "seconds": "1.500"}
    assert rows(path) == [
        {"trial": "0", "epochs": "3", "best_epoch": "2", "val_map": "0.500000", **shared},
        {"trial": "1", "epochs": "0", "best_epoch": "", "val_map": "", **shared},
    ]


def test_ends_write_it_again_after_a_while_only(tmp_path, clock):
    path = tmp_path / "trials.csv"
    records = [record(0)]
    table = TrialsCsv(path, records)
    found = []
    for seconds in (0.0, 1.0, 3.9, 0.2, 0.1):
        clock[0] += seconds
        records.append(record(len(records)))
        table.ended(records[-1])
        found.append(len(rows(path)))
    assert found == [2, 2, 2, 5, 5]
    table.write()
    assert len(rows(path)) == 6


def test_a_table_that_takes_long_is_written_more_rarely(tmp_path, clock, monkeypatch):
    def slow(path, text):
        clock[0] += 2.0

    monkeypatch.setattr(trials_csv, "update_text", slow)
    table = TrialsCsv(tmp_path / "trials.csv", [record(0)])
    table.write()
    assert table.due == clock[0] + 100.0
