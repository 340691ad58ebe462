"""What touches the test score is said when a command starts and stands in everything that publishes the score."""

import csv
import json

import pytest
from command import call
from toy import write_leaky, write_toy

from avtune.cli.main import main

LEAK = (
    "4 of 20 test clips have the same features as a training clip: test clip 0 = training clip 3, "
    "test clip 1 = training clip 4, test clip 2 = training clip 9 and 1 more"
)
NAMES = ("class 0", "class 1", "<b>odd_|*</b>")
UNTESTED = "1 of 3 classes has no test clip: <b>odd_|*</b>"
HERE = ["--runner", "inline", "--gpus", "0"]


def search(folder, *more):
    where = ["--name", "one", "--results", folder / "results"]
    return ["search", folder / "toy.h5", "--space", folder / "space.yaml", *where, *HERE, *more]


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """A finished search on such data."""
    folder = tmp_path_factory.mktemp("leaky")
    write_leaky(folder, NAMES)
    assert main([str(word) for word in search(folder, "--trials", "2")]) == 0
    return folder


def test_files_of_a_study_carry_them(done):
    study = done / "results" / "one"
    assert json.loads((study / "final" / "metrics.json").read_text())["problems"] == [UNTESTED, LEAK]
    page, card = (study / "report.html").read_text(), (study / "final" / "MODEL_CARD.md").read_text()
    for text in (page, card):
        assert f"Problem: {LEAK}." in text
        assert "Problem: 1 of 3 classes has no test clip: &lt;b&gt;odd" in text
        assert "<b>odd" not in text
    assert page.index("Problem:") < page.index("<th>map</th>"), "before the scores"
    assert card.index("Problem:") < card.index("## Test scores")


def test_a_search_says_them_first_and_under_its_table_each_time(done, capsys):
    printed = call(capsys, *search(done, "--trials", "2")).splitlines()
    assert printed[:2] == [f"problem: {UNTESTED}", f"problem: {LEAK}"]
    table = next(at for at, line in enumerate(printed) if line.startswith("retrained winner"))
    assert f"problem: {LEAK}" in printed[table:]
    status = call(capsys, "status", "one", "--results", done / "results")
    assert f"problem: {LEAK}" in status
    facts = json.loads(call(capsys, "status", "one", "--results", done / "results", "--json"))
    assert facts["problems"] == [UNTESTED, LEAK]


def test_a_continued_study_says_them_again(done, capsys):
    printed = call(capsys, *search(done, "--trials", "3"))
    assert "continues" in printed
    assert printed.startswith(f"changed: search.trials: 2 -> 3\nproblem: {UNTESTED}\nproblem: {LEAK}\n")


def test_evaluate_and_retrain_say_them(done, capsys):
    words = ["one", done / "toy.h5", "--results", done / "results"]
    assert call(capsys, "evaluate", *words).splitlines()[:2] == [f"problem: {UNTESTED}", f"problem: {LEAK}"]
    assert json.loads(call(capsys, "evaluate", *words, "--json"))["problems"] == [UNTESTED, LEAK]
    retrain = ["retrain", "one", "--results", done / "results", "--trial", "0", "--epochs", "1", "--seeds", "2", *HERE]
    printed = call(capsys, *retrain)
    assert printed.startswith(f"problem: {UNTESTED}\nproblem: {LEAK}\n")
    metrics = json.loads((done / "results" / "one" / "retrained_trial_0" / "metrics.json").read_text())
    assert metrics["problems"] == [UNTESTED, LEAK]


def test_a_bench_says_them_once_and_carries_them(tmp_path, capsys):
    write_leaky(tmp_path, NAMES)
    budget = ["--trials", "2", "--epochs", "1", "--seeds", "2", "--name", "b", "--results", tmp_path / "results"]
    printed = call(capsys, "bench", tmp_path / "toy.h5", "--methods", "cca,c_cca", "--no-reference", *budget, *HERE)
    assert printed.startswith(f"problem: {UNTESTED}\nproblem: {LEAK}\n")
    assert printed.count(f"problem: {LEAK}") == 1
    assert printed.count(f"Problem: {LEAK}.") == 1, "under the table"
    for name in ("leaderboard.md", "leaderboard.html"):
        text = (tmp_path / "results" / "b" / name).read_text()
        assert f"Problem: {LEAK}." in text
        assert "<b>odd" not in text
    with (tmp_path / "results" / "b" / "leaderboard.csv").open(newline="") as file:
        assert {row["problems"] for row in csv.DictReader(file)} == {f"{UNTESTED}; {LEAK}"}


def test_good_data_has_none(tmp_path, capsys):
    write_toy(tmp_path)
    assert "problem" not in call(capsys, *search(tmp_path, "--trials", "2")).lower()
    study = tmp_path / "results" / "one"
    assert json.loads((study / "final" / "metrics.json").read_text())["problems"] == []
    assert "Problem" not in (study / "report.html").read_text() + (study / "final" / "MODEL_CARD.md").read_text()


def test_data_info_names_every_pair(done, capsys):
    printed = call(capsys, "data", "info", done / "toy.h5")
    assert f"problem: {LEAK}" in printed
    facts = json.loads(call(capsys, "data", "info", done / "toy.h5", "--json"))
    assert facts["duplicates"] == [[0, 3], [1, 4], [2, 9], [3, 10]]
