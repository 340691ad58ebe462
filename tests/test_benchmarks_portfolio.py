"""Portfolios: which configurations are chosen, what they are compared with, and that a quick run is whole."""

import subprocess
import sys
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from avtune.space.configuration import configurations_of_file, point_in

ROOT = Path(__file__).parents[1]
sys.path.append(str(ROOT))

from benchmarks import portfolio  # noqa: E402
from benchmarks._portfolio_choice import Table, best_of_random, by_family, choose, judge  # noqa: E402
from benchmarks._portfolio_sets import SETS  # noqa: E402

# Three sets of two families. Column 0 is the default; 3 is good everywhere, 1 and 2 are best on one side each.
TABLE = Table(
    ["a1", "a2", "b"],
    ["a", "a", "b"],
    np.array([[0.2, 0.9, 0.1, 0.8, 0.3], [0.2, 0.9, 0.1, 0.7, 0.3], [0.4, 0.1, 0.9, 0.8, 0.4]]),
)


def test_regret_is_0_for_the_best_configuration_and_1_for_the_median_one():
    regrets = TABLE.regrets
    assert np.allclose(regrets.min(axis=1), 0)
    assert np.allclose(np.median(regrets, axis=1), 1)
    flat = Table(["flat"], ["c"], np.full((1, 3), 0.5))
    assert np.allclose(flat.regrets, 0), "all configurations are alike: nothing is lost"


def test_each_choice_lowers_the_mean_regret_most_and_the_default_is_none_of_them():
    chosen = choose(TABLE, 3)
    assert chosen[:3] == [3, 1, 2] or chosen[:3] == [3, 2, 1]
    assert choose(TABLE, 8) == [*chosen, 4], "as many as there are, without the default"
    found = Table(["a"], ["a"], np.array([[0.2, 0.3, 0.9, 0.1, 0.8]]))
    assert choose(found, 4) == [2, 4, 1, 3], "the best one is there already: then the next best"
    # By hand: the first one is the best single companion of the default, each family counting the same.
    regrets = TABLE.regrets
    means = [np.array([0.25, 0.25, 0.5]) @ np.minimum(regrets[:, 0], regrets[:, column]) for column in range(1, 5)]
    assert chosen[0] == 1 + int(np.argmin(means))


def test_the_expected_best_of_random_ones_is_that_of_all_subsets():
    values = np.array([0.5, 0.1, 0.9, 0.6, 0.6, 0.2])
    for count in range(6):
        every = [
            max(values[0], *values[list(some)]) if some else values[0] for some in combinations(range(1, 6), count)
        ]
        assert best_of_random(values, count) == pytest.approx(np.mean(every))


def test_a_set_is_judged_with_a_portfolio_that_its_family_has_no_part_in():
    judged = {one.name: one for one in judge(TABLE)}
    alone = TABLE.without(["a"])
    assert alone.names == ["b"]
    assert judged["a1"].chosen == judged["a2"].chosen == choose(alone)
    assert judged["a1"].portfolio[:2] == [0.2, max(0.2, TABLE.values[0, judged["a1"].chosen[0]])]
    assert judged["b"].random[0] == judged["b"].portfolio[0] == 0.4
    assert {one.name: one for one in judge(TABLE, by_family=False)}["a1"].chosen[0] != judged["a1"].chosen[0]
    with pytest.raises(ValueError, match="no data set is left without a, b"):
        TABLE.without(["a", "b"])


def test_sets_of_a_family_count_once():
    assert by_family(judge(TABLE), {"a1": 1.0, "a2": 3.0, "b": 5.0}) == [2.0, 5.0]


def test_random_ones_that_are_as_good():
    one = judge(TABLE)[2]
    assert one.portfolio[1] == pytest.approx(0.4)  # what is best for family a is not for b
    assert one.as_many_random(TABLE.values[2], 1) == 0
    assert one.as_many_random(TABLE.values[2], 4) == 4


def test_every_set_that_needs_no_file_is_as_it_is_called():
    for name, one in SETS.items():
        if one.family in ("digits", "cancer", "generated"):
            made = one.make()
            assert made.name == name
            assert set(np.unique(made.train.labels)) == set(range(made.num_classes))


def test_a_missing_file_is_said(monkeypatch, tmp_path):
    monkeypatch.setenv("AVTUNE_DATA", str(tmp_path))
    with pytest.raises(Exception, match=r"there is no yt8m_ave15.h5 in .*; AVTUNE_DATA names the folder"):
        SETS["yt8m_ave15"].make()


@pytest.mark.long
def test_a_quick_run_trains_goes_on_and_writes_what_a_search_reads(tmp_path):
    command = [sys.executable, "-m", "benchmarks.portfolio", "triplet", "--quick", "--out", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    again = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert "training clips" in done.stdout
    assert "training clips" not in again.stdout, "what is recorded is not trained again"
    (report,) = tmp_path.glob("*-portfolio-triplet.md")
    said = report.read_text()
    for word in ("Claim: 2 configurations", "| digits_rows | digits | 1150 | 3 |", "| cancer_halves | 64 |"):
        assert word in said, word
    path = tmp_path / "triplet.yaml"
    assert "# digest of the recordings: sha256 " in path.read_text()
    assert str(tmp_path) not in path.read_text(), "no paths of a machine"
    space = portfolio.space_of("triplet")
    assert len([point_in(space, one) for one in configurations_of_file(path)]) == 2
    held_out = [*command, "--without", "digits", "--write", str(tmp_path / "held_out.yaml")]
    subprocess.run(held_out, cwd=ROOT, capture_output=True, check=True)
    assert (tmp_path / "triplet.yaml").is_file()


def test_what_is_held_out_must_be_written_elsewhere(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["portfolio", "psd", "--without", "digits"])
    with pytest.raises(SystemExit):
        portfolio.main()
    assert "say where with --write FILE" in capsys.readouterr().err
