"""Study folders of before stay readable: `fixtures/study_v1/` was written by avtune 0.1.0, see its `MADE.md`."""

import json
import shutil
from pathlib import Path

import pytest
import yaml
from toy import write_toy

from avtune.cli.main import main
from avtune.study.folder import StudyFolder
from avtune.study.study import Study
from avtune.workflows.open_study import open_space
from avtune.workflows.write_report import write_report

FIXTURE = Path(__file__).parents[1] / "fixtures" / "study_v1"
LATER = ("overrides", "placement")
"""Settings that the first studies of this format do not have."""


def call(capsys, *words, code=0):
    assert main([str(word) for word in words]) == code
    said = capsys.readouterr()
    return said.err if code else said.out


@pytest.fixture(params=[(), LATER], ids=["as written", "without later settings"])
def results(request, tmp_path):
    """A copy of the study, and the data that it was made with."""
    shutil.copytree(FIXTURE, tmp_path / "results" / "study_v1")
    write_toy(tmp_path)
    path = tmp_path / "results" / "study_v1" / "study.yaml"
    settings = yaml.safe_load(path.read_text())
    path.write_text(yaml.safe_dump({key: value for key, value in settings.items() if key not in request.param}))
    return tmp_path / "results"


def test_it_names_no_place_and_nobody():
    for path in FIXTURE.rglob("*"):
        if path.is_file() and path.suffix in (".yaml", ".json", ".jsonl", ".log", ".md", ".csv", ".txt", ""):
            text = path.read_text(errors="replace")
            assert "/home/" not in text
            assert "/tmp/" not in text
            assert "/work" not in text


def test_it_opens_with_everything_in_it(results):
    folder = StudyFolder(results / "study_v1")
    study = Study(folder, open_space(folder))
    assert not study.repaired
    assert study.exhausted
    rows = (FIXTURE / "trials.csv").read_text().splitlines()[1:]
    assert [record.state for record in study.records] == [row.split(",")[1] for row in rows]
    winner = yaml.safe_load(folder.best_yaml.read_text())["trial"]
    assert winner in {record.number for record in study.ranking()[:2]}, "the winner is one of the two finalists"
    before = folder.trials_csv.read_text()
    study.close()
    assert folder.trials_csv.read_text() == before
    write_report(study)
    assert "retrained winner" in folder.report_html.read_text()


def test_it_shows_its_status_and_its_result(results, capsys):
    facts = json.loads(call(capsys, "status", "study_v1", "--results", results, "--json"))
    assert facts["finished"]
    assert sum(facts["states"].values()) == 5
    assert "retrained winner" in call(capsys, "status", "study_v1", "--results", results)


def test_its_model_scores_what_it_scored(results, capsys):
    metrics = json.loads((FIXTURE / "final" / "metrics.json").read_text())
    words = ["evaluate", "study_v1", results.parent / "toy.h5", "--results", results, "--json"]
    facts = json.loads(call(capsys, *words))
    assert facts["map"] == pytest.approx(metrics["test"]["map"]["seeds"][0], abs=1e-4)


def search(results, *words):
    where = ["--name", "study_v1", "--results", results, "--runner", "inline", "--gpus", "0"]
    return ["search", results.parent / "toy.h5", "--space", results.parent / "space.yaml", *where, *words]


def test_it_is_shown_again_by_its_command(results, capsys):
    assert "this study is finished" in call(capsys, *search(results))


def test_it_goes_on_with_more_trials(results, capsys):
    before = (FIXTURE / "curves.jsonl").read_text()
    assert "5 of 7 trials known" in call(capsys, *search(results, "--trials", "7"))
    assert (results / "study_v1" / "curves.jsonl").read_text().startswith(before)


def test_it_goes_on_from_the_middle(results, capsys):
    folder = StudyFolder(results / "study_v1")
    shutil.rmtree(folder.final)
    folder.repeats.unlink()
    lines = folder.curves.read_text().splitlines(keepends=True)
    folder.curves.write_text("".join(lines[: len(lines) // 2]))
    call(capsys, *search(results))
    states = json.loads(call(capsys, "status", "study_v1", "--results", results, "--json"))["states"]
    assert sum(states.values()) == 5
    assert states["RUNNING"] == states["FAIL"] == 0
