"""The page of a bench, its CSV and JSON: figures are those of `leaderboard.csv`, read by code of its own."""

import csv
import dataclasses
import io
import json
import re

import pytest
from made_boards import made_board
from made_studies import payload_of

from avtune.workflows.bench.leaderboard_csv import comma_separated
from avtune.workflows.bench.leaderboard_page import leaderboard_page
from avtune.workflows.bench.result_json import result_json


@pytest.fixture(scope="module")
def made():
    """(the page, the rows of the CSV)."""
    board = made_board()
    return leaderboard_page(board), list(csv.DictReader(io.StringIO(comma_separated(board))))


def test_the_charts_have_the_numbers_of_the_csv(made):
    page, rows = made
    (board,) = payload_of(page)["boards"]
    assert board["series"] == ["tuned", "default", "untrained"]
    assert [row["name"] for row in board["rows"]] == [row["method"] for row in rows]
    for drawn, row in zip(board["rows"], rows, strict=True):
        assert drawn["group"] == row["group"]
        assert drawn["seconds"] == float(row["search_seconds"])
        for point, name in zip(drawn["points"], ("map", "default_map", "untrained_map"), strict=True):
            assert point == [float(row[f"{name}{end}"]) for end in ("", "_low", "_high")]


def test_the_verdict_names_the_best_and_those_that_do_not_differ(made):
    page, rows = made
    best = rows[0]
    alike = [row["method"] for row in rows[1:] if set(row["group"]) & set(best["group"])]
    said = re.search(r'<p class="verdict">(.*?)</p>', page)[1]
    assert said.startswith(f"{best['method']} has the highest test MAP, {float(best['map']):.4f} ± ")
    assert alike
    assert said.endswith(f"No difference was found from {' and '.join(alike)}.")


def test_every_chart_has_a_picture_for_paper(made):
    page, rows = made
    pictures = re.findall(r'<figure class="picture".*?</figure>', page, re.DOTALL)
    charts = re.findall(r'<div class="chart" id="(.*?)"', page)
    assert charts == ["map-0", "groups-0", "cost-0"]
    assert len(pictures) == len(charts)
    for picture, alt in zip(pictures, re.findall(r'class="chart".*?aria-label="(.*?)"', page), strict=True):
        assert "<svg" in picture
        for row in rows:
            assert f"<!-- {row['method']}" in picture, "matplotlib names what it draws"
            assert row["method"] in alt


def test_names_that_the_font_of_the_pictures_has_no_letters_for():
    page = leaderboard_page(made_board({"方法": 0.0, "psd": -0.1}))  # warnings are errors in tests
    assert page.count("<!-- 方法") >= 3


def test_the_dots_of_the_groups_are_those_of_the_letters(made):
    page, rows = made
    alt = re.search(r'id="groups-0".*?aria-label="(.*?)"', page)[1]
    assert alt.endswith(", ".join(f"{row['method']} {row['group']}" for row in rows) + ".")


def test_each_method_leads_to_its_report():
    page = leaderboard_page(made_board({"psd": 0.0, "mine:Own": -0.1, "classifiers (reference)": -0.2}))
    assert re.findall(r'href="(.*?)/report.html"', page) == ["psd", "mine-Own", "classifiers-reference"]


def test_nothing_comes_from_elsewhere_and_the_same_board_gives_the_same_bytes(made):
    page, _ = made
    assert "default-src 'none'" in page
    assert not re.search(r'(src|href)="http', page)
    assert leaderboard_page(made_board()) == page


def test_one_seed_has_no_interval():
    page = leaderboard_page(made_board({"psd": 0.0, "cca": -0.2}, seeds=1))
    points = [row["points"][0] for row in payload_of(page)["boards"][0]["rows"]]
    assert all(point[1:] == [None, None] for point in points)
    assert "A difference from every other one was found." in page


def test_a_bench_that_has_begun_says_what_is_missing():
    page = leaderboard_page(made_board({}, failures={"clip": "every <b>trial</b> failed"}, pending=["psd"]))
    assert "No method has finished yet." in page
    assert "clip has no row: every &lt;b&gt;trial&lt;/b&gt; failed" in page
    assert payload_of(page)["boards"] == []
    one = leaderboard_page(made_board({"psd": 0.0}, pending=["cca"]))
    assert "there is nothing to compare it with yet" in one
    assert "Unfinished: no result yet of cca." in one
    assert "1 of 2 methods, " in one
    failed = leaderboard_page(made_board({"psd": 0.0}, failures={"clip": "every trial failed"}))
    assert "1 of 2 methods, " in failed, "one that failed is one of the bench"


def test_no_p_value_of_a_pair_is_shown_as_zero():
    page = leaderboard_page(made_board({"psd": 0.0, "cca": -0.3}))
    assert page.count('<td class="strong">&lt; 0.001</td>') == 2
    assert "0.000" not in page[page.index('id="h-pairs"') : page.index('id="h-winners"')]


def test_names_cannot_become_markup():
    name = "</script><b>x</b>:$y$"
    page = leaderboard_page(made_board({name: 0.0, "cca": -0.2}))
    assert "<b>x" not in page
    assert payload_of(page)["boards"][0]["rows"][0]["name"] == name


def test_one_row_has_nothing_to_be_compared_with():
    page = leaderboard_page(made_board({"psd": 0.0}))
    assert re.findall(r'<div class="chart" id="(.*?)"', page) == ["map-0"]


def test_other_measures_are_columns_of_the_csv_and_part_of_the_json():
    board = made_board()
    board = dataclasses.replace(board, about={**board.about, "seed": 0})
    assert {row["ndcg"] for row in csv.DictReader(io.StringIO(comma_separated(board)))} == {""}
    assert "other_measures" not in result_json(board)
    measures = {
        way: {"macro_map": value, "map_at_r": value / 2} for way, value in (("mean", 0.5), ("a2v", 0.4), ("v2a", 0.6))
    }
    known = dataclasses.replace(board, rows=[dataclasses.replace(row, measures=measures) for row in board.rows])
    for row in csv.DictReader(io.StringIO(comma_separated(known))):
        assert (row["macro_map"], row["map_at_r"], row["ndcg"]) == ("0.5", "0.25", "")
    (first, *_) = json.loads(result_json(known))["results"]
    assert [one["other_measures"] for one in first["scores"]["test"]] == list(measures.values())
