"""The page of a bench in a browser: no errors, all charts draw; narrow, wide, dark, on paper, without scripts."""

import pytest
from ink import INK
from made_across import SCORES, made_sources
from made_boards import METHODS, made_board

from avtune.report.board_page import BoardPage, Section, charts, render
from avtune.report.compared import Compared, Shown
from avtune.workflows.bench.across import compared
from avtune.workflows.bench.across_page import across_page
from avtune.workflows.bench.leaderboard_page import leaderboard_page

CHARTS = ("map-0", "groups-0", "cost-0")
NAME = "</script><b>x</b>:$y$"


@pytest.fixture(scope="module")
def board(tmp_path_factory):
    """The page of a bench of six methods, one of which is named like markup."""
    path = tmp_path_factory.mktemp("board") / "leaderboard.html"
    path.write_text(leaderboard_page(made_board({**METHODS, NAME: -0.3}, failures={"clip": "it <b>failed</b>"})))
    return path


@pytest.mark.parametrize(("width", "scheme"), [(375, "light"), (375, "dark"), (1440, "light"), (1440, "dark")])
def test_every_chart_draws_and_nothing_sticks_out(open_page, board, width, scheme):
    tab = open_page(board, width, color_scheme=scheme)
    for chart in CHARTS:
        inked, colours = tab.evaluate(INK, chart)
        assert inked > 500, chart
        assert colours > 1, chart
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    assert tab.locator("figure.picture").first.is_hidden()
    assert tab.locator("main b").count() == 0


def test_the_numbers_below_a_chart_are_those_of_the_table(open_page, board):
    tab = open_page(board)
    for chart in CHARTS:
        tab.locator(f'details[data-of="{chart}"] summary').press("Enter")
        tab.locator(f'details[data-of="{chart}"] td').first.wait_for()  # filled once the browser says that it is open
    named = tab.locator('details[data-of="map-0"] td:nth-child(1)').all_inner_texts()
    means = tab.locator('details[data-of="map-0"] td:nth-child(2)').all_inner_texts()
    table = tab.locator("section[aria-labelledby=h-table] tr")
    assert named == [row.split("\t")[1].strip() for row in table.all_inner_texts()[1:]]
    assert means == [row.split("\t")[2].split()[0] for row in table.all_inner_texts()[1:]]
    groups = tab.locator('details[data-of="groups-0"] td:nth-child(3)').all_inner_texts()
    assert groups == [row.split("\t")[-1].strip() for row in table.all_inner_texts()[1:]]


def test_hovering_a_method_says_what_it_scored(open_page, board):
    tab = open_page(board)
    said = tab.evaluate(
        """() => { const shown = Report.charts.get('map-0').instance.getOption();
        return shown.tooltip[0].formatter({seriesName: 'tuned', value: [0.5, 0]}); }"""
    )
    assert said.split("\n")[1].startswith("tuned: 0.")
    assert " to " in said


def test_on_paper_and_without_scripts_pictures_stand_in_their_place(open_page, board):
    tab = open_page(board, color_scheme="dark")
    tab.emulate_media(media="print")
    assert tab.locator("figure.picture svg").first.is_visible()
    assert tab.locator("#map-0").is_hidden()
    assert tab.pdf()[:5] == b"%PDF-"
    plain = open_page(board, java_script_enabled=False)
    assert plain.locator("figure.picture svg").count() == len(CHARTS)
    assert plain.locator("figure.picture svg").nth(2).is_visible()
    assert "need JavaScript" in plain.locator("noscript").inner_text()


def test_boards_that_cannot_be_ranked_together_have_charts_of_their_own(open_page, tmp_path):
    made = made_board()
    rows = [
        Shown(row.method, (row.results.test.map, row.results.default.map, None), group, row.seconds)
        for row, group in zip(made.rows, made.letters, strict=True)
    ]
    series = ("retrained winner", "default", "untrained")
    boards = (Compared(series, tuple(rows)), Compared(series, (Shown("alone", rows[0].scores, "", 0.0),)))
    sections = [Section(f"data-{at}", f"data {at}", charts=charts(one, at, "")) for at, one in enumerate(boards)]
    path = tmp_path / "compare.html"
    path.write_text(render(BoardPage("Comparison", "two", ("one",), (), tuple(sections), boards)))
    tab = open_page(path, 375)
    assert tab.evaluate("[...Report.charts.keys()].sort()") == ["cost-0", "groups-0", "map-0", "map-1"]
    for chart in ("cost-0", "groups-0", "map-0", "map-1"):
        assert tab.evaluate(INK, chart)[0] > 200, chart
    assert tab.evaluate("document.documentElement.scrollWidth") <= 375


@pytest.mark.parametrize(("width", "scheme"), [(375, "light"), (375, "dark"), (1440, "dark")])
def test_the_diagram_over_data_sets_is_drawn_in_the_colour_of_the_text(open_page, tmp_path, width, scheme):
    path = tmp_path / "across.html"
    path.write_text(across_page(compared(made_sources({**SCORES, NAME: (0.2, 0.2, 0.2)})), tmp_path))
    tab = open_page(path, width, color_scheme=scheme)
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    drawn = tab.locator(".diagram svg")
    assert drawn.is_visible()
    text = tab.evaluate("getComputedStyle(document.body).color")
    inks = "[...document.querySelectorAll('.diagram svg g[id^=text] g')].map(one => getComputedStyle(one).fill)"
    assert set(tab.evaluate(inks)) == {text}
    assert tab.locator(".diagram").get_attribute("aria-label").startswith("Mean ranks: psd 1.33, ")
    tab.emulate_media(media="print")
    assert drawn.is_visible()
    assert tab.pdf()[:5] == b"%PDF-"
    assert open_page(path, java_script_enabled=False).locator(".diagram svg").is_visible()
