"""`avtune report --export`: the tables of a study for other programs."""

import io
import json
import shutil
from pathlib import Path

import pandas as pd
import pytest
from command import call

from avtune.study.curves import EpochLine, read_curves

FIXTURE = Path(__file__).parents[1] / "fixtures" / "study_v1"


@pytest.fixture
def study(tmp_path, monkeypatch):
    shutil.copytree(FIXTURE, tmp_path / "results" / "one")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "results" / "one"


def best_by_trial(study):
    best: dict[int, float] = {}
    for line in read_curves(study / "curves.jsonl", repair=False)[0]:
        if isinstance(line, EpochLine):
            best[line.trial] = max(best.get(line.trial, 0.0), line.value)
    return best


def test_every_format_has_the_same_trials_with_all_digits(study, capsys):
    rows = pd.read_csv(io.StringIO(call(capsys, "report", "one", "--export", "csv")))
    table = pd.read_csv(study / "trials.csv")
    assert list(rows.columns) == list(table.columns)
    assert (rows["val_map"] - table["val_map"]).abs().max() < 1e-6
    best = best_by_trial(study)
    for number, value in zip(rows["trial"], rows["val_map"], strict=True):
        assert value <= best[number]
    complete = rows[rows["state"] == "COMPLETE"]
    assert list(complete["val_map"]) == [best[number] for number in complete["trial"]]
    assert "written t.parquet" in call(capsys, "report", "one", "--export", "parquet", "--out", "t.parquet")
    pd.testing.assert_frame_equal(pd.read_parquet("t.parquet"), rows, check_dtype=False)
    whole = json.loads(call(capsys, "report", "one", "--export", "json"))
    assert [one["val_map"] for one in whole["trials"]] == list(rows["val_map"])
    assert whole["results"] == json.loads((study / "final" / "metrics.json").read_text())


def test_curves_and_finalists(study, capsys):
    curves = pd.read_csv(io.StringIO(call(capsys, "report", "one", "--export", "csv", "--table", "curves")))
    assert list(curves.columns)[:2] == ["trial", "epoch"]
    assert "crc" not in curves.columns
    assert curves.groupby("trial").size().to_dict() == dict(
        pd.read_csv(study / "trials.csv")[["trial", "epochs"]].itertuples(index=False)
    )
    finalists = json.loads(call(capsys, "report", "one", "--export", "json", "--table", "finalists"))
    assert {"trial", "val_map_mean", "val_map_sd"} <= finalists[0].keys()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--export", "xlsx"], "--export is 'xlsx'; allowed: csv, json or parquet"),
        (["--export", "csv", "--table", "epochs"], "--table is 'epochs'; allowed: curves, finalists or trials"),
        (["--export", "parquet"], "add --out FILE"),
        (["--table", "curves"], "go with --export"),
        (["--export", "csv", "--out", "results"], "results is a folder"),
        (["--export", "csv", "--out", "no/t.csv"], "no does not exist"),
    ],
)
def test_what_cannot_be_exported_is_said(study, capsys, words, said):
    assert said in call(capsys, "report", "one", *words, code=2)


def test_without_export_it_says_where_the_report_is(study, capsys):
    (study / "report.html").unlink(missing_ok=True)
    assert "is not there yet" in call(capsys, "report", "one", code=2)
    (study / "report.html").write_text("")
    assert call(capsys, "report", "one").strip() == "results/one/report.html"
