"""Studies side by side: ranked only where their data are the same, with error bars, and together in TensorBoard."""

import csv
import html
import io
import json
import os
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from board_server import Served
from command import call
from made_studies import payload_of
from toy import write_toy

import avtune
from avtune.cli import console
from avtune.cli.main import main
from avtune.core.protocol import SELECTED_ON_TEST
from avtune.finals.scores import mean_score
from avtune.report import compare_board
from avtune.study.folder import StudyFolder
from avtune.study.results import read_results, write_results
from avtune.workflows.compare import Comparison, compare
from avtune.workflows.compare_view import StudyComparison

SEARCH = ("search", "toy.h5", "--space", "space.yaml", "--runner", "inline", "--gpus", "0", "--trials", "2")
ALL = ("other", "less", "best", "same", "open")


def worse(folder, by):
    """Has a study score less on every test clip."""
    results = read_results(folder)
    test = results.test
    scores = mean_score([value - by for value in test.map.seeds])
    test = replace(test, map=replace(scores, bootstrap=test.map.bootstrap))
    write_results(folder, replace(results, test=test))
    kept = dict(np.load(folder.query_ap))
    kept |= {name: value - by for name, value in kept.items() if name.startswith("test")}
    np.savez(folder.query_ap, **kept)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """`best`; `same`, which differs by nothing; `less`, which scores less; `other`, on other data; `open`."""
    place = tmp_path_factory.mktemp("compare")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        write_toy(place)
        assert main([*SEARCH, "--name", "best", "--set", "final.finalists=1"]) == 0
    folders = {name: StudyFolder(place / "results" / name) for name in ("best", "same", "less", "other", "open")}
    for folder in list(folders.values())[1:]:
        shutil.copytree(folders["best"].root, folder.root)
    worse(folders["less"], 0.2)
    results = read_results(folders["other"])
    write_results(folders["other"], replace(results, dataset=replace(results.dataset, digest="f" * 64)))
    folders["open"].metrics.unlink()
    return place


@pytest.fixture
def here(made, monkeypatch, capsys):
    monkeypatch.chdir(made)
    capsys.readouterr()
    return made


def test_studies_on_the_same_data_are_ranked_with_letters(here, capsys):
    found = json.loads(call(capsys, "compare", "less", "best", "same", "--json"))
    by_name = {one["study"]: one for one in found["studies"]}
    assert [one["study"] for one in found["studies"]] == ["best", "same", "less"]
    assert [one["place"] for one in found["studies"]] == [1, 2, 3]
    assert by_name["best"]["group"] == by_name["same"]["group"] == "a"
    assert by_name["less"]["group"] == "b"
    results = read_results(StudyFolder(here / "results" / "less"))
    assert by_name["less"]["map"] == results.test.map.mean
    assert (by_name["less"]["map_low"], by_name["less"]["map_high"]) == results.test.map.interval
    assert found["notes"] == []


def test_a_table_that_is_too_wide_for_the_terminal_is_stacked(here, capsys, monkeypatch):
    monkeypatch.setattr(console, "width", lambda: 60)
    lines = call(capsys, "compare", "best", "less").splitlines()
    assert "1" in lines
    assert [line.split() for line in lines if line.startswith("  study ")] == [["study", "best"], ["study", "less"]]
    assert sum(line.startswith("  audio->visual  ") for line in lines) == 2


def test_studies_whose_names_differ_by_a_slash_are_two_in_tensorboard(here, monkeypatch):
    written = []
    monkeypatch.setattr(compare_board, "write_compare_board", lambda logdir, studies: written.append(studies))
    one = compare([StudyFolder(here / "results" / name) for name in ("best", "less")]).studies[0]
    studies = tuple(replace(one, name=name) for name in ("a_x", "a/x", "a_x_2"))
    StudyComparison(Comparison(studies, ())).write_board(here / "both")
    assert {name: shown.words["study"] for name, shown in written[0].items()} == {
        name: name for name in ("a_x", "a_x_2", "a_x_2_2")
    }


def test_lines_of_csv_end_as_those_of_other_tables_do(here, capsys):
    said = call(capsys, "compare", "best", "less", "--csv")
    assert said.count("\n") == 3
    assert "\r" not in said


def test_the_legend_says_what_the_test_is_of(here, capsys):
    said = "a difference must hold over the seeds too: p is the larger one of that test's"
    assert said in " ".join(call(capsys, "compare", "less", "best").split())
    assert said in html.unescape((here / "results" / "compare.html").read_text())


def test_scores_made_otherwise_have_a_table_of_their_own(here, capsys, tmp_path):
    """So that letters and places, which begin anew, are not read across kinds."""
    chosen = {name: StudyFolder(tmp_path / f"{name}-chosen") for name in ("best", "less")}
    for name, folder in chosen.items():
        shutil.copytree(here / "results" / name, folder.root)
        write_results(folder, replace(read_results(folder), label=SELECTED_ON_TEST))
    names = ["best", "less", "open", *(folder.root for folder in chosen.values())]
    page = tmp_path / "page.html"
    printed = call(capsys, "compare", *names, "--page", page)
    first, second = printed.split("dataset toy (digest ")[1:]
    assert all(name in first and name not in second.split("between")[0] for name in ("best ", "less ", "open"))
    assert second.split("\n")[0].endswith("), selected on test")
    assert "best-chosen" in second
    assert "best-chosen" not in first
    assert "between studies of one table that share a letter" in " ".join(printed.split())
    headings = re.findall(r"<h2[^>]*>(.*?)</h2>", page.read_text())
    assert [one for one in headings if one.startswith("Dataset")] == [
        f"Dataset toy (digest {read_results(chosen['best']).dataset.digest[:12]}){label}"
        for label in ("", ", selected on test")
    ]


def test_other_data_and_unfinished_studies_are_shown_and_not_ranked(here, capsys):
    printed = call(capsys, "compare", "other", "best", "open", "less")
    assert "studies on different data are not ranked against each other" in printed
    assert "without test scores yet, so not ranked: open" in printed
    assert printed.count("dataset toy (digest ") == 2
    rows = list(csv.DictReader(io.StringIO(call(capsys, "compare", "other", "best", "open", "less", "--csv"))))
    assert {row["study"]: row["place"] for row in rows} == {"other": "", "best": "1", "less": "2", "open": ""}
    assert {row["study"]: row["state"] for row in rows}["open"] == "stopped"


def test_clip_scores_of_another_run_make_no_test(here, capsys, tmp_path):
    shutil.copytree(here / "results" / "best", tmp_path / "torn")
    (tmp_path / "torn" / "final" / "query_ap.npz").write_bytes(b"")
    found = json.loads(call(capsys, "compare", "best", tmp_path / "torn", "--json"))
    assert [one["place"] for one in found["studies"]] == [1, 2]
    assert found["studies"][0]["group"] is None
    assert found["notes"] == ["no test of differences: torn lacks the scores of the single clips"]


def test_one_tensorboard_of_several_studies(here, capsys, tmp_path):
    board = tmp_path / "board"
    assert f"avtune tensorboard --results {board}" in call(capsys, "compare", "best", "less", "--tensorboard", board)
    served = Served(board)
    shown = [column["displayName"] for column in served.hparams("experiment")["hparamInfos"]]
    assert shown[:3] == ["method", "study", "margin"]
    rows = served.rows()
    trials = {"trial_00000", "trial_00001"}
    assert {f"{name}/{trial}" for name in ("best", "less") for trial in trials} <= rows.keys()
    assert rows["less/trial_00001"]["hparams"]["0.study"] == "less"
    assert len(rows["best/finals/default"]["sessions"]) == 2
    assert sorted(served.get("projector/runs")) == ["best/winner", "less/winner"]
    call(capsys, "compare", "best", "same", "--tensorboard", board)
    assert {name.split("/")[0] for name in Served(board).rows()} == {"best", "same"}


def test_the_page_shows_what_the_table_says(here, capsys):
    printed = call(capsys, "compare", *ALL)
    path = here / "results" / "compare.html"
    assert "page         results/compare.html" in printed
    page = path.read_text()
    rows = {row["study"]: row for row in csv.DictReader(io.StringIO(call(capsys, "compare", *ALL, "--csv")))}
    boards = payload_of(page)["boards"]
    assert [[row["name"] for row in board["rows"]] for board in boards] == [["other"], ["best", "same", "less"]]
    for row in (row for board in boards for row in board["rows"]):
        told = rows[row["name"]]
        assert row["points"][0] == [float(told[name]) for name in ("map", "map_low", "map_high")]
        assert row["points"][1][0] == float(told["default_map"])
        assert row["points"][2][0] == float(told["untrained_map"])
        assert (row["seconds"], row["group"]) == (float(told["search_seconds"]), told["group"])
    verdicts = re.findall(r'<p class="verdict">(.*?)</p>', page)
    assert "there is nothing to compare it with yet" in verdicts[0]
    assert verdicts[1].startswith("On toy: best has the highest test MAP, ")
    assert verdicts[1].endswith("No difference was found from same.")
    assert "Note: studies on different data are not ranked against each other" in page
    assert "without test scores yet, so not ranked: open" in page
    assert page.count('href="best/report.html"') == 1
    assert "groups-1" in page
    assert "groups-1" in page
    assert "groups-0" not in page, "one study alone was not tested"


def test_the_page_goes_where_it_is_asked_for_and_replaces_nothing_else(here, capsys, tmp_path):
    page = tmp_path / "mine.html"
    call(capsys, "compare", "best", "less", "--json", "--page", page)
    assert f"{os.path.relpath(here / 'results' / 'best', tmp_path)}/report.html" in page.read_text()
    call(capsys, "compare", "best", "same", "--page", page)
    assert "best, same" in page.read_text()
    page.write_text("<html>mine</html>")
    said = call(capsys, "compare", "best", "less", "--page", page, code=2)
    assert "exists and is no page of a comparison; give another --page" in said
    (here / "results" / "compare.html").unlink(missing_ok=True)
    call(capsys, "compare", "best", "less", "--csv")
    assert not (here / "results" / "compare.html").exists()
    (here / "results" / "compare.html").mkdir()
    assert "note: no page: results/compare.html cannot be written" in call(capsys, "compare", "best", "less")
    (here / "results" / "compare.html").rmdir()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["best"], "compare takes two studies or more"),
        (["best", "results/best"], "best is given twice"),
        (["best", "bset"], "no study is called 'bset' in results; did you mean 'best'?"),
        (["best", "less", "--csv", "--json"], "give --csv or --json, not both"),
        (["best", "less", "--tensorboard", "results"], "results exists and holds something else"),
    ],
)
def test_what_cannot_be_compared_is_said(here, capsys, words, said):
    assert said in call(capsys, "compare", *words, code=2)


def test_a_study_without_event_files_says_how_to_get_them(here, capsys, tmp_path):
    shutil.copytree(here / "results" / "best", tmp_path / "old")
    shutil.rmtree(tmp_path / "old" / "tensorboard")
    said = call(capsys, "compare", "best", tmp_path / "old", "--tensorboard", tmp_path / "board", code=2)
    assert "give the command of that search again" in said
    assert not Path(tmp_path / "board").exists()


def test_further_looks_at_the_test_split_are_said(here, capsys, tmp_path):
    twice = StudyFolder(tmp_path / "twice")
    shutil.copytree(here / "results" / "best", twice.root)
    write_results(twice, replace(read_results(twice), times_test_was_scored=3))
    said = call(capsys, "compare", "best", twice.root, "--page", tmp_path / "page.html")
    assert (
        "scored on the test split so often, each time with another configuration, epochs or seeds: twice (3)"
        in " ".join(said.split())
    )
    assert (
        "scored on the test split so often, each time with another configuration, epochs or seeds: twice (3)"
        in (tmp_path / "page.html").read_text()
    )
    told = {one["study"]: one for one in json.loads(call(capsys, "compare", "best", twice.root, "--json"))["studies"]}
    assert [told[name]["times_test_was_scored"] for name in ("best", "twice")] == [2, 3]
    assert "scored on the test split" not in call(capsys, "compare", "best", "same")


def test_python_compares_as_the_command_line_does(here, capsys, tmp_path):
    page, board = tmp_path / "page.html", tmp_path / "board"
    found = avtune.compare(avtune.load_study("other"), here / "results" / "best", "open", "less", page=page)
    told = json.loads(call(capsys, "compare", "other", "best", "open", "less", "--json"))
    assert found.to_json() == told
    table = found.table
    assert list(table["study"]) == [one["study"] for one in told["studies"]] == ["other", "best", "less", "open"]
    assert table["place"].dropna().tolist() == [1, 2]
    assert table["map"].tolist()[:3] == [one.results.test.map.mean for one in found.studies[:3]]
    assert found.notes == tuple(told["notes"])
    assert "best, less, open" in page.read_text()
    assert repr(found) in call(capsys, "compare", "other", "best", "open", "less", "--page", page)
    assert "<td>best</td>" in found._repr_html_()
    avtune.compare("best", "less", tensorboard=board)
    assert {name.split("/")[0] for name in Served(board).rows()} == {"best", "less"}
    assert not (here / "compare.html").exists()


@pytest.mark.parametrize(
    ("studies", "options", "said"),
    [
        (["best"], {}, r"compare takes two studies or more, for example avtune.compare\('first', 'second'\)"),
        (["best", "bset"], {}, "no study is called 'bset' in results; did you mean 'best'?"),
        (["best", 3], {}, "study is a int; give a name or a path"),
        (["best", "less"], {"page": "results/best/study.yaml"}, "is no page of a comparison; give another page$"),
        (["best", "less"], {"tensorboard": "results"}, "holds something else; give another tensorboard$"),
    ],
)
def test_what_python_cannot_compare_is_said(here, studies, options, said):
    with pytest.raises(avtune.UserError, match=said):
        avtune.compare(*studies, **options)
