"""What is said of one seed, which has no spread: it is one seed, in every place that speaks of several."""

from dataclasses import replace

import pytest
from made_boards import made_board
from toy import toy_results, write_toy

from avtune.cli.result_text import result_lines
from avtune.data import load
from avtune.report.card import model_card
from avtune.report.winner_board import _score_table
from avtune.study.best import Best, Finalist
from avtune.study.scores import ValidationScore
from avtune.workflows import choose_space
from avtune.workflows.bench.leaderboard import markdown, notes
from avtune.workflows.bench.leaderboard_page import leaderboard_page


def results_over(seeds):
    return toy_results(seeds=seeds, validation=ValidationScore(0.5, 0.0, (0.5,) * seeds))


def best_over(seeds):
    finalists = [Finalist(0, 4, 0.5, 0.0 if seeds == 1 else 0.0125, True, (0.5,) * seeds)]
    return Best(0, 4, 0.5, {}, tuple(finalists), 4)


@pytest.mark.parametrize("seeds", [1, 3])
def test_the_terminal(seeds):
    said = "\n".join(result_lines(results_over(seeds), best_over(seeds)))
    several = "test split: mean over 3 seeds, 95 % interval over the seeds"
    assert (several if seeds > 1 else "test split: one seed\n") in said
    assert ("sd" in said.split()) == ("0.0125" in said) == (seeds > 1)
    assert ("0.0000" in said) == (seeds > 1), "the interval of equal seeds"


@pytest.mark.parametrize("seeds", [1, 3])
def test_the_model_card(seeds, tmp_path):
    dataset = load(str(write_toy(tmp_path)[0]))
    space = choose_space.chosen(None, "triplet")
    card = model_card(dataset, space, space.defaults(), results_over(seeds))
    assert ("One seed: no interval over seeds. MAP" in card) == (seeds == 1)
    assert ("seed 0, the only one |" in card) == (seeds == 1)
    assert ("over 1 fresh seed;" in card) == (seeds == 1)
    assert ("Mean over 3 seeds with the 95 % interval" in card) == (seeds == 3)
    assert "1 seeds" not in card


def test_names_of_views_stay_in_their_cells(tmp_path):
    """Of the model card, and of the table of test scores in TensorBoard."""
    dataset = replace(load(str(write_toy(tmp_path)[0])), views=("a|b", "<b>$x$"))
    space, results = choose_space.chosen(None, "triplet"), results_over(1)
    results = replace(results, dataset=replace(results.dataset, views=dataset.views))
    header = r"| | map | a\|b->&lt;b&gt;\$x\$ | &lt;b&gt;\$x\$->a\|b | map\_running |".replace(r"\_", "_")
    card = model_card(dataset, space, space.defaults(), results)
    assert header in card.splitlines()
    assert header in _score_table(results).splitlines()
    assert r"| inputs | a\|b 10-d, &lt;b&gt;\$x\$ 7-d;" in card


def test_the_leaderboard():
    found = made_board(seeds=1)
    told = "\n".join(notes(found))
    assert "of one seed, so without an interval over seeds. map_running" in told
    assert "mean over the seeds with the 95 % interval" not in told + leaderboard_page(found)
    assert "mean over the seeds with the 95 % interval" in markdown(found, version=2), (
        "verify knows the words of before"
    )


def test_files_keep_the_standard_deviation_that_they_had():
    one = best_over(1).finalists[0]
    assert one.spread is None
    assert Finalist.from_json(one.to_json()).to_json()["val_map_sd"] == 0
    assert best_over(3).finalists[0].spread == 0.0125
    assert Finalist(0, 4, 0.5, 0.01).spread == 0.01, "of an avtune that did not keep the seeds"
