"""`avtune across`: what is compared, what is said, and the page, the picture and the files of it. Long: a few benches,
made once, serve most of its tests."""

import copy
import csv
import io
import json
import re
import shutil
from dataclasses import replace
from functools import partial
from itertools import permutations

import numpy as np
import pytest
import yaml
from command import call
from made_across import SCORES, made_sources
from made_studies import payload_of
from scipy import stats
from toy import toy_dataset

import avtune
from avtune.cli.main import main
from avtune.data.formats import write_hdf5
from avtune.metrics import across as statistics
from avtune.report.rank_diagram import RankDiagram, rank_diagram
from avtune.workflows.bench.across import across, compared
from avtune.workflows.bench.across_page import across_page
from avtune.workflows.bench.across_text import reading, text, verdict
from avtune.workflows.bench.across_view import BenchComparison
from avtune.workflows.bench.folder import BenchFolder

TWO = ("bench-first", "bench-second")
LADDER = {f"m{place:02}": [0.9 - 0.03 * place] * 6 for place in range(8)}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Two benches of three methods on two toy data sets."""
    place = tmp_path_factory.mktemp("across")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        for seed, name in enumerate(("first", "second")):
            write_hdf5(replace(toy_dataset(seed=seed), name=name), place / f"{name}.h5")
            words = ["bench", f"{name}.h5", "--methods", "triplet,cca,c_cca", "--trials", "1", "--epochs", "2"]
            assert (
                main([*words, "--seeds", "2", "--runner", "inline", "--gpus", "0", "--set", "space.hidden_dim=8"]) == 0
            )
    return place


@pytest.fixture
def here(made, monkeypatch, capsys):
    monkeypatch.chdir(made)
    capsys.readouterr()
    return made


def metrics_of(bench, method):
    return json.loads((bench / method.replace(" (reference)", "-reference") / "final" / "metrics.json").read_text())


def found_of(scores=SCORES, **more):
    return compared(made_sources(scores, **more))


def said(found):
    return " ".join(verdict(found))


def test_the_table_is_what_the_studies_of_the_benches_hold(here, capsys):
    found = json.loads(call(capsys, "across", *TWO, "--json"))
    methods = ["triplet", "cca", "c_cca", "classifiers (reference)"]
    rows = {row["method"]: row for row in found["methods"]}
    assert sorted(rows) == sorted(methods)
    placed = {}
    for name in ("first", "second"):
        test = {one: metrics_of(here / "results" / f"bench-{name}", one)["test"]["map"] for one in methods}
        ranks = stats.rankdata([-round(test[one]["mean"], 12) for one in methods])
        for one, rank in zip(methods, ranks, strict=True):
            assert rows[one][f"map_{name}"] == test[one]["mean"]
            assert rows[one][f"rank_{name}"] == rank
            placed.setdefault(one, []).append(rank)
    for one in methods:
        assert rows[one]["mean_rank"] == pytest.approx(np.mean(placed[one]))
    means = [row["mean_rank"] for row in found["methods"]]
    assert means == sorted(means)
    assert found["reference"] == "classifiers (reference)"
    assert [one["bench"] for one in found["datasets"]] == list(TWO)
    assert found["notes"] == []


def test_csv_python_json_and_page_have_the_same_numbers(here, capsys, tmp_path):
    told = json.loads(call(capsys, "across", *TWO, "--json"))
    page, picture = tmp_path / "page.html", tmp_path / "ranks.svg"
    found = avtune.across(
        avtune.load_bench("bench-first"), here / "results" / "bench-second", page=page, picture=picture
    )
    assert found.to_json() == told
    assert list(found.table["method"]) == [row["method"] for row in told["methods"]]
    rows = list(csv.DictReader(io.StringIO(call(capsys, "across", *TWO, "--csv"))))
    assert [{key: value or None for key, value in row.items()} for row in rows] == [
        {key: None if value is None else str(value) for key, value in row.items()} for row in told["methods"]
    ]
    square = told["probability_of_improvement"]
    assert found.probability_of_improvement.to_numpy().tolist() == square["values"]
    assert found.probability_low.to_numpy().tolist() == square["low"]
    assert found.probability_high.loc[square["methods"][0], square["methods"][1]] == square["high"][0][1]
    assert (found.critical_difference, found.friedman_p) == (told["critical_difference"], told["friedman"]["p"])
    assert found.notes == ()
    printed = call(capsys, "across", *TWO, "--page", page)
    assert repr(found) in printed
    for line in printed.splitlines()[2:6]:
        for cell in re.split(r"\s{2,}", line.strip())[1:]:
            assert f"<td>{cell}</td>" in page.read_text()
    assert "<td>triplet</td>" in found._repr_html_()
    assert "<title>Critical-difference diagram</title>" in picture.read_text()
    assert not (here / "across.html").exists()


def test_page_and_picture_go_where_they_are_asked_for_and_replace_nothing_else(here, capsys, tmp_path):
    assert "page         results/across.html" in call(capsys, "across", *TWO)
    assert 'href="bench-first/leaderboard.html"' in (here / "results" / "across.html").read_text()
    (here / "results" / "across.html").unlink()
    call(capsys, "across", *TWO, "--csv")
    assert not (here / "results" / "across.html").exists()
    picture = tmp_path / "ranks.svg"
    assert f"picture      {picture}" in call(capsys, "across", *TWO, "--picture", picture)
    first = picture.read_bytes()
    call(capsys, "across", *TWO, "--picture", picture, "--json", "--page", tmp_path / "mine.html")
    assert picture.read_bytes() == first, "the same benches give the same bytes"
    assert (tmp_path / "mine.html").read_text().count("<svg") == 1
    for option, path, what in (("--page", "mine.html", "page of"), ("--picture", "ranks.svg", "critical-difference")):
        (tmp_path / path).write_text("mine")
        error = call(capsys, "across", *TWO, option, tmp_path / path, code=2)
        assert f"exists and is no {what}" in error
        assert f"give another {option}" in error
    assert "allowed: a name that ends in .svg" in call(capsys, "across", *TWO, "--picture", "ranks.png", code=2)
    shutil.rmtree(here / "results" / "across.html", ignore_errors=True)
    (here / "results" / "across.html").unlink(missing_ok=True)
    (here / "results" / "across.html").mkdir()
    assert "note: no page: results/across.html cannot be written" in call(capsys, "across", *TWO)
    (here / "results" / "across.html").rmdir()


def test_for_a_paper(here, capsys, tmp_path):
    latex = call(capsys, "across", *TWO, "--format", "latex")
    assert latex.count(r" \\") == 5
    assert r"classifiers (reference) & " in latex
    assert r"Command: avtune across bench-first bench-second}" in latex
    marked = call(capsys, "across", *TWO, "--format", "markdown", "--picture", tmp_path / "ranks.svg")
    assert marked.startswith("# Across data sets\n\n4 methods over 2 data sets: first, second; test MAP, ")
    assert re.search(r"\| versions \| .*torch ", marked)
    assert "](ranks.svg)" in marked
    assert "| command | avtune across bench-first bench-second |" in marked
    found = avtune.across(*TWO)
    assert found.formatted("latex") == latex
    assert "](ranks.svg)" not in found.formatted("markdown")
    with pytest.raises(avtune.UserError, match=r"format is 'latx'; allowed: latex or markdown; did you mean 'latex'"):
        found.formatted("latx")


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["bench-first"], "across takes two benches or more, e.g. avtune across bench-first bench-second"),
        (["bench-first", "results/bench-first"], "bench-first is given twice"),
        (["bench-first", "bench-secnd"], "no bench is called 'bench-secnd' in results; did you mean 'bench-second'?"),
        ([*TWO, "--csv", "--json"], "give one of --csv, --json and --format"),
        ([*TWO, "--format", "latx"], "--format is 'latx'; allowed: latex or markdown; did you mean 'latex'?"),
        ([*TWO, "--results", "s3://bucket"], "avtune across takes no URL as --results"),
    ],
)
def test_what_cannot_be_compared_is_said(here, capsys, words, error):
    assert error in call(capsys, "across", *words, code=2)


def test_two_benches_on_one_data_set_are_refused(here, capsys, tmp_path):
    shutil.copytree(here / "results" / "bench-first", tmp_path / "again")
    error = call(capsys, "across", "bench-first", tmp_path / "again", code=2)
    assert "bench-first and again are on the same data set (first, digest" in error


def test_a_bench_of_another_protocol_is_refused(here, capsys, tmp_path):
    shutil.copytree(here / "results" / "bench-second", tmp_path / "other")
    path = tmp_path / "other" / "bench.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | {"protocol": "published"}))
    error = call(capsys, "across", "bench-first", tmp_path / "other", code=2)
    assert "different protocols cannot be compared: validation (bench-first); published (other)" in error


def test_an_unfinished_method_is_left_out_and_named(here, capsys, tmp_path):
    shutil.copytree(here / "results" / "bench-second", tmp_path / "open")
    (tmp_path / "open" / "cca" / "final" / "metrics.json").unlink()
    printed = call(capsys, "across", "bench-first", tmp_path / "open", "--page", tmp_path / "page.html")
    assert "note: cca is left out: it has no result yet in open" in printed
    assert "3 methods over 2 data sets" in printed
    assert "Note: cca is left out: it has no result yet in open." in (tmp_path / "page.html").read_text()
    for method in ("triplet", "c_cca"):
        (tmp_path / "open" / method / "final" / "metrics.json").unlink()
    error = call(capsys, "across", "bench-first", tmp_path / "open", code=2)
    assert "across needs two methods that have a result in every bench; these have classifiers (reference)" in error
    assert "triplet is left out: it has no result yet in open" in error


def test_a_damaged_bench_is_refused_with_its_file(here, tmp_path, monkeypatch):
    for name in ("mean_rank_intervals", "improvement_intervals"):
        monkeypatch.setattr(f"avtune.metrics.across.{name}", partial(getattr(statistics, name), resamples=5))
    damaged = BenchFolder(tmp_path / "damaged")
    shutil.copytree(here / "results" / "bench-second", damaged.root)
    whole = damaged.settings()
    refused = 0
    for path in [(key,) for key in whole] + [("dataset", key) for key in whole["dataset"]]:
        for odd in (None, [1], "x", -1, float("inf")):
            settings = copy.deepcopy(whole)
            (settings["dataset"] if len(path) > 1 else settings)[path[-1]] = odd
            damaged.bench_yaml.write_text(yaml.safe_dump(settings))
            try:
                view = BenchComparison(across([BenchFolder(here / "results" / "bench-first"), damaged]))
                json.dumps([view.to_json(), view.lines(), view.formatted("markdown")], allow_nan=False)
            except avtune.UserError:
                refused += 1
    assert refused > 40


def test_python_says_what_it_cannot_compare(here):
    with pytest.raises(avtune.UserError, match=r"e.g. avtune.across\('bench-first', 'bench-second'\)"):
        avtune.across("bench-first")
    with pytest.raises(avtune.UserError, match="bench is a int; give a name or a path"):
        avtune.across("bench-first", 3)
    with pytest.raises(avtune.UserError, match=r"is no page of a comparison over data sets; give another page$"):
        avtune.across(*TWO, page="first.h5")


def test_what_differs_between_the_benches_is_said():
    about = {1: {"trials": 8, "set": ["space.hidden_dim=8"], "reference": "none"}, 2: {"precision": "bf16"}}
    notes = found_of(about=about).notes
    assert notes == (
        "trials differ between the benches: 4 (bench-first, bench-third); 8 (bench-second)",
        "precision differs between the benches: fp32 (bench-first, bench-second); bf16 (bench-third)",
        "reference differs between the benches: classifiers (bench-first, bench-third); none (bench-second)",
        "what --set says differs between the benches: nothing (bench-first, bench-third); "
        "space.hidden_dim=8 (bench-second)",
    )


def test_methods_of_some_benches_and_problems_of_the_data_are_said():
    scores = {**SCORES, "scm": (0.5, None, 0.5), "clip": (None, None, 0.4)}
    notes = found_of(scores, waiting={0: ["clip"]}, problems=("a clip is there twice",)).notes
    assert notes[:2] == (
        "scm is left out: it is not a method of bench-second",
        "clip is left out: it has no result yet in bench-first and is not a method of bench-second",
    )
    assert notes[2:] == tuple(f"bench-{name}: Problem: a clip is there twice" for name in ("first", "second", "third"))


def test_data_sets_of_one_name_go_by_their_benches():
    data = made_sources()[1].about["dataset"] | {"name": "first"}
    assert found_of(about={1: {"dataset": data}}).labels == ("bench-first", "bench-second", "third")


def test_a_bench_that_is_called_as_another_data_set_has_columns_of_its_own():
    data = made_sources()[0].about["dataset"]
    about = {0: {"dataset": data | {"name": "bench-second"}}}
    about |= {at: {"dataset": data | {"name": "one", "digest": str(at) * 64}} for at in (1, 2)}
    found = found_of(about=about)
    assert found.labels == ("bench-first", "bench-second", "bench-third")
    columns = BenchComparison(found).csv().splitlines()[0].split(",")
    assert [one for one in columns if one.startswith("map_")] == [f"map_{label}" for label in found.labels]


def test_ranks_and_ties():
    found = found_of()
    assert found.methods == ("psd", "triplet", "classifiers", "cca")
    assert found.ranks.tolist() == [[1, 3, 2, 4], [2, 1, 3, 4], [1, 2.5, 2.5, 4]]
    assert found.mean_ranks == pytest.approx([4 / 3, 6.5 / 3, 2.5, 4])
    assert found.friedman.chi2 == pytest.approx(stats.friedmanchisquare(*found.map.T).statistic)
    assert found.rivals == (0, 2)
    assert found_of(about={place: {"reference": "none"} for place in range(3)}).rivals == (0,)


def test_probability_of_improvement_of_every_pair_is_that_of_mann_and_whitney():
    found = found_of()
    for (one, first), (other, second) in permutations(enumerate(found.methods), 2):
        u = [
            stats.mannwhitneyu(of.rows[first].results.test.map.seeds, of.rows[second].results.test.map.seeds).statistic
            / 25
            for of in found.sources
        ]
        assert found.improvement[one, other] == pytest.approx(np.mean(u))
        assert found.improvement_interval.low[one, other] <= np.mean(u) <= found.improvement_interval.high[one, other]


def test_so_few_data_sets_that_nothing_could_be_seen_is_said():
    found = found_of({name: of[:2] for name, of in SCORES.items()})
    assert found.too_few
    assert (
        "So few data sets could not have shown a difference between any two methods: mean ranks would have to be "
        in (said(found))
    )
    assert "those of 4 methods are 3 apart at most" in said(found)
    assert set(found.letters) == {"a"}
    assert any("A signed-rank test of two methods could give no p below 0.5." in line for line in reading(found))


def test_where_full_agreement_could_not_show_a_difference_it_is_said():
    two = {"psd": (0.6, 0.7, 0.5, 0.6), "cca": (0.4, 0.5, 0.3, 0.2)}
    found = found_of(two)
    assert found.critical < 1
    assert found.too_few
    assert "F infinite with 1 and 3 degrees of freedom; p 0.125 over all orders of the ranks within data sets" in said(
        found
    )
    assert (
        "So few data sets could not have shown a difference between any two methods: where all of them agree, "
        "Friedman's test gives p 0.125." in said(found)
    )
    assert BenchComparison(found).to_json()["friedman"]["least_p"] == 0.125
    assert not found_of({"psd": (0.6,) * 6, "cca": (0.4,) * 6}).too_few
    ties = {"psd": (0.6,) * 6, **dict.fromkeys(("cca", "kcca"), (0.4,) * 5 + (0.6,))}
    assert not found_of(ties).too_few
    equal = found_of({"psd": (0.6,) + (0.5,) * 5, "cca": (0.4,) + (0.5,) * 5})
    assert "So few data sets with so many equal scores could not have shown a difference" in said(equal)


def test_what_was_found_is_said():
    found = found_of(LADDER)
    assert not found.too_few
    assert said(found).startswith(
        "m00 has the best mean rank, 1.00, of 8 methods over 6 data sets. Friedman's test finds"
    )
    assert "A difference was found between m00 and m05, m06 and m07, from the others none." in said(found)
    assert (
        found.differ.tolist()
        == (np.abs(found.mean_ranks[:, None] - found.mean_ranks[None, :]) >= found.critical).tolist()
    )
    assert found.groups == [(0, 1, 2, 3, 4), (1, 2, 3, 4, 5), (2, 3, 4, 5, 6), (3, 4, 5, 6, 7)]
    assert not any("signed-rank" in line for line in reading(found))
    shuffled = {f"m{place}": [0.5 + 0.01 * ((place + at) % 4) for at in range(4)] for place in range(4)}
    equal = found_of(shuffled)
    assert said(equal).startswith("m0, m1, m2 and m3 have the best mean rank, 2.50")
    assert "finds no difference between the methods" in said(equal)
    assert "So none is looked for between two of them." in said(equal)
    assert equal.friedman.p == pytest.approx(1)


def test_benches_under_published_say_that_the_scores_were_selected_on_test():
    found = found_of(about={place: {"protocol": "published"} for place in range(3)})
    assert "data sets: first, second, third, selected on test;" in text(found)[0]


def test_the_subsets_of_youtube_8m_are_called_so():
    data = made_sources()[0].about["dataset"] | {"name": "yt8m_ave15"}
    assert "YouTube-8M subset (yt8m_ave15), second" in text(found_of(about={0: {"dataset": data}}))[0]


def test_one_seed_has_no_intervals():
    view = BenchComparison(found_of(seeds=1))
    told = json.loads(json.dumps(view.to_json(), allow_nan=False))
    assert {row["mean_rank_low"] for row in told["methods"]} == {None}
    square = np.array(told["probability_of_improvement"]["low"], dtype=object)
    assert [value for row, one in enumerate(square) for at, value in enumerate(one) if row != at] == [None] * 12
    assert "[" not in "".join(text(view.found))
    assert any("where there is one seed there is no interval" in line for line in reading(view.found))


def test_equal_ranks_everywhere_are_legal_json():
    view = BenchComparison(found_of(LADDER))
    assert json.loads(json.dumps(view.to_json(), allow_nan=False))["friedman"]["f"] is None
    assert "F infinite with 7 and 35 degrees of freedom" in said(view.found)


def test_names_cannot_become_markup(tmp_path):
    name = "</script><b>x</b>-->:$y$"
    found = found_of({**SCORES, name: (0.2, 0.2, 0.2)})
    page = across_page(found, tmp_path)
    assert "<b>x" not in page
    assert payload_of(page)["boards"] == []
    assert "</script>" not in page[page.index("<svg") : page.index("</svg>")].replace("&lt;/script&gt;", "")
    assert len(page) < 200_000, "a page without charts needs no ECharts"
    assert "default-src 'none'" in page
    assert across_page(found, tmp_path) == page
    assert "<b>" not in BenchComparison(found)._repr_html_()


def diagram(groups=((0, 1), (1, 2)), critical=1.2, names=("psd", "cca", "clip"), ranks=(1.2, 2.0, 2.8)):
    return RankDiagram(names, ranks, critical, groups, "Mean ranks: psd <1.20>")


def test_the_diagram_names_all_and_draws_a_bar_a_group():
    drawn = rank_diagram(diagram())
    for label in ("psd  1.20", "cca  2.00", "2.80  clip", "critical difference 1.20"):
        assert f"<!-- {label} -->" in drawn
    assert drawn.count("stroke: #3366aa") == 2
    assert "<desc>Mean ranks: psd &lt;1.20&gt;</desc>" in drawn
    assert rank_diagram(diagram()) == drawn
    assert rank_diagram(diagram(groups=((0,), (1,), (2,)))).count("stroke: #3366aa") == 0
    assert "longer than the axis" in rank_diagram(diagram(critical=2.5))


def test_the_diagram_takes_the_colour_of_the_text_on_a_page_only():
    assert "currentColor" in rank_diagram(diagram(), on_page=True)
    assert "currentColor" not in rank_diagram(diagram())
    assert "#ffffff" not in rank_diagram(diagram(), on_page=True)


def test_the_diagram_takes_names_that_its_font_has_no_letters_for():
    assert "<!-- 方法:方法  1.20 -->" in rank_diagram(diagram(names=("方法:方法", "a\nb", "c\x1b")))


def test_the_diagram_is_as_wide_as_its_names():
    def width(names):
        return float(re.search(r'width="([\d.]+)pt"', rank_diagram(diagram(names=names)))[1])

    assert width(("a_very_long_name_of_a_method" * 2, "cca", "clip")) > width(("psd", "cca", "clip")) + 200
