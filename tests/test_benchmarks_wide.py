"""The benchmark of the wide spaces on made-up searches: what its claim and its tables say."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from benchmarks import _wide_report as tables
from benchmarks import wide
from benchmarks._wide_report import USUAL, WIDE, Side


def side(test: float, **config: object) -> Side:
    return Side(test, 0.5, 0.6, config, 20, (0.3, 0.5, 0.6), (0.2, 0.6), 12.0)


def searches(**tests: list[float]) -> dict[str, dict[int, Side]]:
    return {space: {seed: side(one) for seed, one in enumerate(values)} for space, values in tests.items()}


def test_the_claim_holds_where_the_interval_of_paired_differences_lies_above_0() -> None:
    # By hand: differences .02, .01, .03 have the mean .02, sd .01, and t of two degrees of freedom is 4.3027.
    found = searches(usual=[0.50, 0.60, 0.70], wide=[0.52, 0.61, 0.73])
    assert tables.claim("one", found).endswith("over 3 searches: no (+0.0200 ± 0.0248)")
    found = searches(usual=[0.50, 0.60, 0.70], wide=[0.52, 0.62001, 0.72])
    assert ": yes (+0.0200" in tables.claim("one", found)
    found = searches(usual=[0.52, 0.62001, 0.72], wide=[0.50, 0.60, 0.70])
    assert ": no, lower by more than it (-0.0200" in tables.claim("one", found)
    assert "not tested; 1 searches" in tables.claim("one", searches(usual=[0.5], wide=[0.6]))


def test_a_table_says_how_many_searches_each_space_has() -> None:
    rows = tables.table(searches(usual=[0.50, 0.60], wide=[0.51])).splitlines()
    assert rows[2].startswith("| usual | 2 | 0.5500 ± 0.6353 | – | 0.5000 ± 0.0000 |")
    assert rows[3].startswith("| wide | 1 | 0.5100 | +0.0100 | 0.5000 | 0.6000 | 20 | 12 |")


def test_winners_show_the_choices_of_training_and_a_dash_where_a_condition_does_not_hold() -> None:
    found = {WIDE: {0: side(0.5, average=False, depth=3), 2: side(0.6, average=True, average_decay=0.9666, depth=1)}}
    rows = tables.winners(found, ["average", "average_decay", "depth"]).splitlines()
    assert rows[0] == "| winner's | seed 0 | seed 2 |"
    assert rows[2:] == ["| average | false | true |", "| average_decay | – | 0.967 |", "| depth | 3 | 1 |"]
    assert tables.winners({USUAL: {}, WIDE: {}}, ["depth"]) == ""


def test_a_picture_has_the_lines_of_both_spaces() -> None:
    svg = tables.picture({"one": searches(usual=[0.5, 0.6], wide=[0.5])})
    assert svg.count("<svg") == 1
    assert svg == tables.picture({"one": searches(usual=[0.5, 0.6], wide=[0.5])}), "the same lines give the same text"


def test_the_sides_are_the_shipped_spaces() -> None:
    assert [wide.Cell("yt8m_10s", one, 0).space for one in (USUAL, WIDE)] == ["ave", "wide_ave"]
    assert [wide.Cell("demo", one, 0).space for one in (USUAL, WIDE)] == ["demo", "wide_demo"]
    choices = wide._choices("yt8m_ave15")
    assert {"average", "mixup", "depth", "lr_end", "teacher"} <= set(choices)
    assert "margin" not in choices
