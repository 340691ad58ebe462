"""The benchmarks of the horizon on made-up curves and outcomes: what their tables say."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))
from benchmarks import horizon, patience
from benchmarks._small import small


def test_a_rule_loses_what_a_curve_finds_after_its_end() -> None:
    early = [0.5] * 60
    late = [0.4] * 40 + [0.4 + 0.01 * step for step in range(1, 21)]
    assert patience.ended(early, 20) == 21
    by_rule = {(row[0].strip("*"), row[1].strip("*")): row for row in patience.rows([early, late], steps=4)}
    cells = [cell.strip("*") for cell in by_rule["80", "0.33"]]
    assert cells[2:] == ["21", "0.1000", "0.2000", "0.1000"]
    assert by_rule["80", "0.33"][0] == "**80**", "the rule in use"
    assert by_rule["150", "0.00"][2] == "39"


def outcome(test: float, seconds: float) -> horizon.Outcome:
    return horizon.Outcome(test, 0.5, 100, 200, seconds, seconds, 50.0, False)


def test_the_claims_stand_beside_what_was_found() -> None:
    sides = {
        "auto": [outcome(0.6, 30.0), outcome(0.7, 30.0)],
        "27": [outcome(0.5, 20.0), outcome(0.7, 20.0)],
        "400": [outcome(0.61, 90.0), outcome(0.7, 90.0)],
    }
    lines = horizon._claims("small", {"ave": sides}).splitlines()
    assert lines[2].endswith("by more than the latter's spread over searches, 0.1414: +0.0500")
    assert lines[3].endswith("device seconds at most 1.5 times those at 27 epochs: 1.50 times")
    assert lines[4].endswith("within 0.01 of that at 400 epochs: -0.0050")
    table = horizon._table(sides).splitlines()
    assert "| 27 | 0.6000 (sd 0.1414) | +0.0500" in table[3]


def test_the_small_set_has_the_size_that_it_says() -> None:
    data = small()
    assert (len(data.train), len(data.test), data.num_classes) == (1155, 288, 8)
    assert data.digest == small().digest


@pytest.mark.parametrize("module", [horizon, patience])
def test_options_have_help(module, capsys, monkeypatch) -> None:
    monkeypatch.setattr(sys, "argv", ["x", "--help"])
    with pytest.raises(SystemExit):
        module.main()
    assert "--data" in capsys.readouterr().out
