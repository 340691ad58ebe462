"""Every configuration that is scored on a study's test split counts, whichever command scores it, and once."""

import json
import shutil

import pytest
from command import call
from toy import toy_dataset, write_toy

from avtune.cli.main import main
from avtune.data.formats import write_hdf5

QUICK = [
    "--no-default",
    "--trials",
    "3",
    "--set",
    "early_stopping.epochs=2",
    "--set",
    "final.seeds=2",
    "--set",
    "final.reference=none",
    "--set",
    "final.finalists=1",
]
HERE = ["--runner", "inline", "--gpus", "0"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A folder with a finished study with two checkpoints."""
    folder = tmp_path_factory.mktemp("finished")
    data, space = write_toy(folder)
    words = ["search", data, "--space", space, "--name", "one", "--results", folder / "r", "--keep", "2"]
    words += [*QUICK, "--set", "early_stopping.grace=2", *HERE]
    assert main([str(word) for word in words]) == 0
    return folder


@pytest.fixture
def study(finished, tmp_path):
    """A copy of the study."""
    shutil.copytree(finished, tmp_path, dirs_exist_ok=True)
    return tmp_path / "r" / "one"


def looks(study):
    """The count in each place that tells it."""
    lines = (study / "scored.jsonl").read_text().splitlines()
    told = json.loads((study / "final" / "metrics.json").read_text())["times_test_was_scored"]
    assert f"| scored on the test split so far | {told} configuration" in (study / "final/MODEL_CARD.md").read_text()
    assert f"{told} configuration(s) of this study" in " ".join((study / "report.html").read_text().split())
    assert len(lines) == told
    return told


def score(capsys, study, model, verb="evaluate", **more):
    words = ["--out", study.parent / "z.npz", "--overwrite"] if verb == "embed" else []
    data = more.get("data", study.parents[1] / "toy.h5")
    return call(capsys, verb, model, data, "--results", study.parent, "--split", more.get("split", "test"), *words)


@pytest.mark.parametrize("verb", ["evaluate", "embed"])
def test_a_checkpoint_that_is_scored_counts_once(study, capsys, verb):
    one, other = sorted((study / "checkpoints").iterdir())
    assert looks(study) == 1
    assert "this look is counted: 2 configurations" in score(capsys, study, one, verb)
    assert looks(study) == 2
    assert "counted" not in score(capsys, study, one, verb)
    score(capsys, study, other, verb)
    assert looks(study) == 3


def test_the_winner_and_other_clips_are_no_new_look(study, capsys):
    for model in (study, study / "final", shutil.copytree(study / "final", study.parents[1] / "copy")):
        assert "counted" not in score(capsys, study, model)
    checkpoint = next((study / "checkpoints").iterdir())
    score(capsys, study, checkpoint, split="train")
    write_hdf5(toy_dataset(seed=1), study.parents[1] / "other.h5")
    score(capsys, study, checkpoint, data=study.parents[1] / "other.h5")
    assert looks(study) == 1


def test_a_retrained_trial_counts_when_it_is_retrained_and_not_again(study, capsys, tmp_path):
    call(capsys, "retrain", study, "--trial", "1", "--epochs", "3", "--out", tmp_path / "mine", *HERE)
    assert looks(study) == 2
    assert "counted" not in score(capsys, study, tmp_path / "mine")
    assert looks(study) == 2


def test_retraining_mends_what_a_kill_left_in_a_finished_study_though_it_counts_no_new_look(study, capsys, tmp_path):
    words = ["retrain", study, "--trial", "1", "--epochs", "1", "--seeds", "1", *HERE]
    call(capsys, *words, "--out", tmp_path / "mine")
    page = (study / "report.html").read_text()
    (study / "report.html").write_text("of before")
    (study / ".report.html-a1b2c3d4").write_text("<!doctype html>")
    (study / "final" / "seeds").mkdir()
    call(capsys, *words, "--out", tmp_path / "again")
    assert (study / "report.html").read_text() == page
    assert not [*study.rglob(".*"), *study.rglob("seeds")]
    assert looks(study) == 2


def test_a_model_that_was_moved_counts_in_its_study_and_says_so_where_there_is_none(study, capsys, tmp_path):
    moved = shutil.copytree(next((study / "checkpoints").iterdir()), tmp_path / "moved")
    study = study.rename(study.with_name("renamed"))
    assert "this look is counted: 2" in score(capsys, study, moved)
    assert looks(study) == 2
    said = call(capsys, "evaluate", moved, tmp_path / "toy.h5", "--results", tmp_path / "nowhere")
    assert "this look at the test split could not be counted" in said


@pytest.mark.parametrize("then", ["evaluate", "search"])
def test_a_look_that_a_kill_left_untold_is_told_by_the_next_command(study, capsys, monkeypatch, then):
    checkpoint = next((study / "checkpoints").iterdir())
    with monkeypatch.context() as patch:
        patch.setattr("avtune.workflows.looks.show_count", lambda folder: exit(9))  # after the look was noted
        with pytest.raises(AssertionError, match="SystemExit"):
            score(capsys, study, checkpoint)
    assert len((study / "scored.jsonl").read_text().splitlines()) == 2
    assert "1 more had been noted" in call(capsys, "verify", study)
    if then == "evaluate":
        score(capsys, study, checkpoint)
    else:
        place = study.parents[1]
        words = ["search", place / "toy.h5", "--space", place / "space.yaml", "--name", "one", "--results", place / "r"]
        call(capsys, *words, "--keep", "2", *QUICK, "--set", "early_stopping.grace=2", *HERE)
    assert looks(study) == 2
    assert "no difference" in call(capsys, "verify", study)


@pytest.mark.parametrize("verb", ["retrain", "evaluate"])
@pytest.mark.parametrize("damaged", ["best.yaml", "repeats.jsonl", "final/metrics.json"])
def test_a_study_that_could_not_tell_of_a_look_is_refused_before_it(study, capsys, tmp_path, damaged, verb):
    path = study / damaged
    path.unlink()
    path.mkdir()  # what no command can read or replace
    before = {one: one.read_bytes() for one in study.rglob("*") if one.is_file() and one.name != "lock"}
    if verb == "retrain":
        words = ["retrain", study, "--trial", "1", "--epochs", "1", "--out", tmp_path / "mine", *HERE]
    else:
        words = ["evaluate", next((study / "checkpoints").iterdir()), study.parents[1] / "toy.h5", "--results"]
        words.append(study.parent)
    assert f"{path} is no regular file; restore it from a copy" in call(capsys, *words, code=2)
    assert {one: one.read_bytes() for one in study.rglob("*") if one.is_file() and one.name != "lock"} == before
    assert not (tmp_path / "mine").exists()


def test_a_best_that_is_damaged_is_said_before_a_trial_is_retrained(study, capsys, tmp_path):
    text = (study / "best.yaml").read_text()
    (study / "best.yaml").write_text(text.replace("val_map_mean", "val_map_men"))
    said = call(capsys, "retrain", study, "--trial", "1", "--epochs", "1", "--out", tmp_path / "mine", *HERE, code=2)
    assert "best.yaml is damaged" in said
    assert len((study / "scored.jsonl").read_text().splitlines()) == 1
    (study / "best.yaml").write_text(text)
    assert looks(study) == 1


def test_a_study_may_have_a_dot_in_its_name(study, capsys, tmp_path):
    renamed = study.rename(study.with_name("one.v2"))
    call(capsys, "retrain", renamed, "--trial", "1", "--epochs", "1", "--out", tmp_path / "mine", *HERE)
    assert looks(renamed) == 2
