"""The report page in a browser: no errors, all charts draw, brushing filters; narrow, wide, dark, on paper, offline."""

from dataclasses import replace

import pytest
from ink import INK
from made_studies import finals_of, made_study, space_of

from avtune.report.page import page
from avtune.study.by_class import ByClass, Example, Way, write_by_class

CHARTS = ("history", "curves", "configurations", "importance", "slices", "best-of-n", "best-by-seconds", "rungs")
CHARTS += ("shrinkage", "map-by-class", "precision-recall", "confusion-a2v", "confusion-v2a", "timeline")
TRIALS = 60
WAY = Way((0.8, 0.6), (1.0, 0.7, 0.4), (Example(1, 0.5, (0, 3)),), ((2.0, 0.0), (0.5, 1.5)))


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """The file of a finished study of 60 trials, one of which failed, with a class named like markup."""
    study = made_study(tmp_path_factory.mktemp("report") / "a <b>study", space_of(TRIALS, sampler="tpe"), fails=(5,))
    best, results = finals_of(study)
    study.folder.final.mkdir()
    write_by_class(study.folder, ByClass(("<b>dog</b>", "car"), (2, 2), (0, 0, 1, 1), WAY, WAY))
    study.folder.report_html.write_text(page(study, results, best))
    return study.folder.report_html


@pytest.fixture
def opened(open_page, report):
    """`opened(**context)` is the page in a new context."""
    return lambda *given, **context: open_page(report, *given, **context)


sync_api = pytest.importorskip("playwright.sync_api", reason="no browser: playwright is missing; see CONTRIBUTING.md")


def shown(tab):
    """The numbers of the trials in the table."""
    return [int(text.split("show")[0]) for text in tab.locator("#trials tbody tr td:first-child").all_inner_texts()]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [375, 1440])
def test_every_chart_draws_and_nothing_sticks_out(opened, width, scheme):
    tab = opened(width, color_scheme=scheme)
    for chart in CHARTS:
        inked, colours = tab.evaluate(INK, chart)
        assert inked > 500, chart
        assert colours > 1, chart
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    light = tab.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert light == (scheme == "light")
    assert tab.locator(".picture").is_hidden()


def test_names_are_shown_as_text(opened):
    tab = opened()
    assert tab.locator("h1").inner_text() == "a <b>study"
    assert tab.locator("main b").count() == 0
    assert "</script><b>c</b>" in tab.locator("#trials").inner_text()


def test_a_brush_filters_the_table_the_curves_and_the_slices(opened):
    tab = opened()
    values = tab.evaluate("Report.data.trials.axes[0].values")
    assert len(shown(tab)) == 50
    top, bottom, left = tab.evaluate(
        """() => {
          const chart = Report.charts.get('configurations').instance;
          const axis = chart.getModel().getComponent('parallel').coordinateSystem.getAxisLayout('dim0');
          return [56, chart.getHeight() - 24, axis.position[0]];
        }"""
    )
    tab.locator("#configurations").scroll_into_view_if_needed()
    box = tab.locator("#configurations").bounding_box()
    tab.mouse.move(box["x"] + left, box["y"] + top + 1)
    tab.mouse.down()
    tab.mouse.move(box["x"] + left, box["y"] + top + 40, steps=4)
    tab.mouse.move(box["x"] + left, box["y"] + (top + bottom) / 2, steps=4)
    tab.mouse.up()
    sync_api.expect(tab.locator("#filter-said")).to_contain_text(f"of {TRIALS} trials")
    left_over = tab.evaluate("[...Report.chosen]")
    assert 0 < len(left_over) < TRIALS
    assert all(values[trial] > 0.45 for trial in left_over), "the upper half of x"
    assert set(shown(tab)) <= set(left_over)
    assert f"{len(left_over)} of {TRIALS} trials" in tab.locator("#filter-said").inner_text()
    tab.evaluate("Report.whenIdle()")
    curves = tab.evaluate("Report.charts.get('curves').instance.getOption().series.map(one => one.id)")
    drawn = {int(name.split("-")[1]) for name in curves if name}
    assert drawn - {tab.evaluate("Report.marked")} <= set(left_over)
    tab.locator("#filter-clear").click()
    assert tab.evaluate("Report.chosen") is None
    assert len(shown(tab)) == 50


def test_the_keyboard_filters_sorts_and_marks(opened):
    tab = opened()
    tab.locator("#filter-axis").focus()
    tab.keyboard.type("lr")
    tab.keyboard.press("Tab")
    tab.keyboard.type("0.01")
    tab.keyboard.press("Enter")
    learning_rates = tab.evaluate("Report.data.trials.axes[1].values")
    kept = [number for number, value in enumerate(learning_rates) if value >= 0.01]
    assert sorted(tab.evaluate("[...Report.chosen]")) == kept
    tab.locator("#filter-low").fill("many")
    tab.keyboard.press("Enter")
    assert tab.locator("#filter-said").inner_text() == "from and to are numbers"
    tab.locator("#filter-clear").press("Enter")
    tab.locator("#trials th button").first.press("Enter")
    assert shown(tab) == list(range(TRIALS - 1, TRIALS - 51, -1)) or shown(tab) == list(range(50))
    button = tab.locator("#trials tbody button").nth(4)
    number = shown(tab)[4]
    button.press("Enter")
    assert tab.evaluate("Report.marked") == number
    assert f"on top: trial {number}" in tab.locator("#curves-said").inner_text()


def test_the_colours_are_called_by_what_was_maximised(open_page, tmp_path):
    space = space_of(8)
    space = replace(space, search=replace(space.search, objective="ndcg"))
    study = made_study(tmp_path / "other", space, score="val_objective")
    study.folder.report_html.write_text(page(study, None, None))
    tab = open_page(study.folder.report_html)
    tab.evaluate("Report.whenIdle()")
    shown = tab.evaluate("Report.charts.get('configurations').instance.getOption().visualMap[0].text")
    assert shown == ["high ndcg", "low"]


def filtered(tab, axis, low, high):
    """What a filter says, and the trials that it leaves."""
    tab.locator("#filter-clear").click()
    tab.locator("#filter-axis").select_option(axis)
    tab.locator("#filter-low").fill(low)
    tab.locator("#filter-high").fill(high)
    tab.locator("#filter-low").press("Enter")
    return tab.locator("#filter-said").inner_text(), tab.evaluate("Report.chosen && [...Report.chosen]")


def test_a_filter_finds_the_values_that_are_shown(opened):
    tab = opened()
    for axis, place in (("x", 0), ("lr", 1)):
        text = tab.evaluate(f"Report.valueText(Report.data.trials.axes[{place}], 7)")
        said, left = filtered(tab, axis, text, text)
        assert said == f"{len(left)} of {TRIALS} trials"
        assert 7 in left
    value = tab.evaluate("Report.number(Report.data.trials.value[7])")
    assert 7 in filtered(tab, "validation MAP", value, value)[1]
    assert filtered(tab, "x", "0.6", "0.4")[0] == "from is above to"
    assert filtered(tab, "kind", "b", "a")[0] == "from comes after to"
    assert filtered(tab, "x", "5", "6") == (f"0 of {TRIALS} trials", [])


def test_the_numbers_below_a_chart_are_those_of_the_data(opened):
    tab = opened()
    for chart in CHARTS:
        numbers = tab.locator(f'details[data-of="{chart}"]')
        if chart == "slices":
            assert numbers.count() == 0
            continue
        numbers.locator("summary").press("Enter")
        sync_api.expect(numbers.locator("tr").nth(1)).to_be_attached()  # a header and a row
    shares = tab.evaluate("Report.data.importance.share.map(one => one.toFixed(3))")
    assert tab.locator('details[data-of="importance"] td:nth-child(2)').all_inner_texts() == shares


def test_on_paper_it_is_light_and_has_the_picture(opened):
    tab = opened(color_scheme="dark")
    tab.emulate_media(media="print")
    sync_api.expect(tab.locator("#history")).to_have_css("width", "680px")
    assert tab.locator(".picture svg").is_visible()
    assert tab.locator("#curves").is_hidden()
    assert tab.locator("#filter").is_hidden()
    assert tab.evaluate("getComputedStyle(document.body).color") == "rgb(0, 0, 0)"
    assert tab.evaluate(INK, "history")[0] > 500
    assert tab.pdf()[:5] == b"%PDF-"


def test_without_scripts_it_still_says_everything(opened):
    tab = opened(java_script_enabled=False)
    assert "is the winner" in tab.locator(".verdict").inner_text()
    assert tab.locator(".picture svg").is_visible()
    assert tab.locator("#trials tbody tr").count() == 50
    assert tab.locator(".chart").first.is_hidden()
    assert "need JavaScript" in tab.locator("noscript").inner_text()
