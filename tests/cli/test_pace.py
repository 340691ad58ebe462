"""Epochs a second, and what a stage still takes, on a clock of the tests' own."""

import pytest

from avtune.cli.pace import Rate, StageClock


def test_the_rest_of_a_stage_follows_from_the_runs_that_have_ended(monkeypatch):
    now = [100.0]
    monkeypatch.setattr("avtune.cli.pace.time.monotonic", lambda: now[0])
    clock = StageClock()
    clock.set("finalists", 4, 20)  # four are on record from before
    now[0] += 30
    assert clock.left(4) is None
    clock.set("finalists", 8, 20)
    assert clock.left(4) == pytest.approx(30 / (4 + 2) * (12 - 2)), "those under way are half done"
    clock.set("finalists", 20, 20)
    assert clock.left(4) == 0
    clock.set("retraining", 0, 10)
    assert clock.left(4) is None


def test_epochs_a_second_are_those_of_the_last_minute(monkeypatch):
    now = [100.0]
    monkeypatch.setattr("avtune.cli.pace.time.monotonic", lambda: now[0])
    rate = Rate()
    assert rate.value is None
    rate.add(5)
    assert rate.value is None, "too early"
    now[0] += 10
    assert rate.value == pytest.approx(0.5)
    now[0] += 45
    rate.add(6)
    now[0] += 10
    assert rate.value == pytest.approx(6 / 60)
    now[0] += 60
    assert rate.value is None
