"""The benchmark of the race of finalists, on made-up finals: what it replays and what its report says."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))
from avtune.finals import race
from avtune.study.best import Best, Finalist
from benchmarks import finals_race
from benchmarks._finals_replay import Finals, by_finalist, drawn, orders, read, replay, tally


def made(*means: float, may_win: bool = True, noise: float = 0.01, seeds: int = 5) -> Finals:
    """Finals whose finalists rise to these means; the last one is the default configuration."""
    generator = np.random.default_rng(1)
    rise = np.linspace(-0.1, 0, 4)
    curves = np.array(means)[:, None, None] + rise + generator.normal(0, noise, (len(means), seeds, 1))
    return Finals("board/one", curves, may_win, 16, 100.0, 300.0, 50.0, 4.0)


def test_curves_are_found_by_the_values_that_the_study_has_of_them() -> None:
    curves = made(0.5, 0.7, 0.6).curves
    rows = [
        Finalist(number, 4, 0.5, 0.1, number == 1, tuple(curves[place, :, 3])) for place, number in enumerate((3, 1, 2))
    ]
    best = Best(3, 4, 0.5, {}, tuple(rows))
    as_run = [curves[place, seed].tolist() for seed in range(5) for place in (2, 0, 1)]
    found = by_finalist(best, as_run)
    assert found is not None
    assert np.array_equal(found, curves[[0, 2, 1]]), "the default is the last"
    assert by_finalist(best, as_run[1:]) is None, "one is missing"
    assert by_finalist(best, [*as_run[:-1], as_run[-1][:3]]) is None, "one is shorter"


def test_drawn_seeds_have_the_mean_and_the_spread_of_those_on_record() -> None:
    finals = made(0.5, 0.7)
    sets = np.array(list(drawn(finals.curves, 2000)))
    assert sets.mean(axis=(0, 2)) == pytest.approx(finals.curves.mean(axis=1), abs=5e-4)
    assert sets[:, 0, :, 3].std() == pytest.approx(finals.curves[0, :, 3].std(ddof=1), rel=0.05)
    closer = np.array(list(drawn(finals.curves, 5, closer=0.25))).mean(axis=(0, 2)).max(axis=-1)
    tops = finals.curves.mean(axis=1).max(axis=1)
    assert closer[1] - closer[0] == pytest.approx((tops[1] - tops[0]) / 4, abs=0.02)


def test_a_replay_runs_what_a_race_would() -> None:
    won, runs = replay(made(0.5, 0.7, 0.2).curves, may_win=True)
    assert (won, runs) == (1, [2, 5, 2])
    won, runs = replay(made(0.7, 0.2, 0.71).curves, may_win=False)
    assert (won, runs) == (0, [5, 2, 5]), "a reference is close, and cannot win"
    assert len(list(orders(made(0.5).curves))) == 30


def test_a_wrong_winner_is_counted_with_what_it_loses() -> None:
    finals = made(0.5, 0.4, noise=0.001)
    late = finals.curves.copy()
    late[1, 2:] += 0.5  # after two seeds nobody could know
    found = tally(finals, [finals.curves, late])
    assert found.same == [True, False]
    assert found.losses[0] == 0
    assert found.losses[1] == pytest.approx((0.4 + 0.3 - 0.5) / finals.spread, rel=0.05)
    assert found.runs == [0.7, 0.7]
    assert found.default_losses == pytest.approx([0, 0], abs=1e-6), "every seed peaks at the same epoch"


def test_the_report_says_what_holds_and_what_does_not() -> None:
    text = finals_race.sections([made(0.5, 0.7, 0.2), made(0.7, 0.69, 0.5)], 4)
    assert "or a mean loss below 0.1 of the seeds' spread: holds." in text[0]
    assert "at 64 trials: DOES NOT HOLD: 0." in text[0], "of 300 s two thirds, and 50 s, of 400 s"
    assert "**error 0.05, rounds 2, 3, 5**" in text[3]
    row = next(line for line in text[4].splitlines() if line.startswith("| all"))
    assert row.startswith("| all | 200 | 600 |")
    assert race.rounds(5) == [2, 3, 5], "the patched ones are gone"


def test_what_cannot_be_replayed_is_left_out_with_the_reason(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert read(tmp_path) is None
    assert "left out: " in capsys.readouterr().err
