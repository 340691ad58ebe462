"""What a model is used on is read as its study has read it, and another way of reading is said, with the training clips
that it makes test clips."""

import json
import shutil

import numpy as np
import pytest
from command import call
from toy import SPACE, toy_dataset

import avtune
from avtune.cli.main import main

TRAIN = toy_dataset(train=80).train
QUICK = ("--runner", "inline", "--gpus", "0", "--trials", "1", "--no-default", "--final-seeds", "1", "--finals", "full")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder with `npy/`, clips without splits, and the study `results/third`, which tests on .3 of them."""
    folder = tmp_path_factory.mktemp("reading")
    (folder / "npy").mkdir()
    for name in ("audio", "visual", "labels"):
        np.save(folder / "npy" / f"{name}.npy", getattr(TRAIN, name))
    (folder / "space.yaml").write_text(SPACE)
    where = ["--space", folder / "space.yaml", "--results", folder / "results", "--name", "third"]
    words = ["search", folder / "npy", "--test-fraction", "0.3", *where, *QUICK]
    assert main([str(word) for word in words]) == 0
    return folder


def evaluate(made, capsys, *words, data="npy"):
    return json.loads(call(capsys, "evaluate", "third", made / data, "--results", made / "results", "--json", *words))


def test_options_that_are_left_out_are_those_of_the_study(made, capsys):
    facts = evaluate(made, capsys)
    assert facts["reading"].endswith("third has read it: --test-fraction 0.3")
    assert facts["clips"] == 24
    assert "problems" not in facts
    said = call(capsys, "evaluate", "third", made / "npy", "--results", made / "results")
    assert "third has read it: --test-fraction 0.3" in said


def test_so_are_those_of_data_that_were_moved(made, capsys):
    shutil.copytree(made / "npy", made / "elsewhere")
    assert "--test-fraction 0.3" in evaluate(made, capsys, data="elsewhere")["reading"]
    np.save(made / "elsewhere" / "audio.npy", TRAIN.audio + 1)
    said = call(capsys, "evaluate", "third", made / "elsewhere", "--results", made / "results", code=2)
    assert "add --test-fraction" in said


def test_another_fraction_says_how_many_test_clips_are_training_clips(made, capsys):
    facts = evaluate(made, capsys, "--test-fraction", "0.5")
    assert facts["reading"].endswith("third: --test-fraction: 0.3 -> 0.5")
    told = int(facts["problems"][0].split()[0])
    assert 0 < told < facts["clips"]
    assert f"of the {facts['clips']} test clips are training clips of" in facts["problems"][0]
    said = call(capsys, "evaluate", "third", made / "npy", "--test-fraction", "0.5", "--results", made / "results")
    assert f"{told} of the {facts['clips']} test clips are training clips of" in said
    theirs, ours = (avtune.load_dataset(made / "npy", test_fraction=share) for share in (0.3, 0.5))
    trained = {row.tobytes() for row in theirs.train.audio}
    assert told == sum(row.tobytes() in trained for row in ours.test.audio)


def test_the_training_split_has_no_such_problem(made, capsys):
    assert "problems" not in evaluate(made, capsys, "--test-fraction", "0.5", "--split", "train")


@pytest.mark.parametrize("verb", [["embed", "--out", "z.npz"], ["retrieve", "--query", "0"]])
def test_embed_and_retrieve_read_as_the_study_too(made, capsys, verb, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = [verb[0], "third", made / "npy", *verb[1:], "--results", made / "results"]
    assert "third has read it: --test-fraction 0.3" in call(capsys, *words)
    assert "test clips are training clips of" in call(
        capsys, *[*words[:4], "y.npz", *words[5:]] if verb[0] == "embed" else words, "--test-fraction", "0.5"
    )


def test_from_python(made):
    results = made / "results"
    scored = avtune.evaluate("third", made / "npy", results=results)
    assert "test_fraction" not in scored.reading
    assert "--test-fraction 0.3" in scored.reading
    assert scored.clips == 24


def test_compare_models_reads_as_their_study(made, capsys):
    shutil.copytree(made / "results/third/final", made / "copy", dirs_exist_ok=True)
    words = ["compare-models", "third", made / "copy", made / "npy", "--results", made / "results"]
    assert "third has read it: --test-fraction 0.3" in call(capsys, *words)


def test_a_study_that_is_continued_says_which_option_differs(made, capsys):
    where = ["--space", made / "space.yaml", "--results", made / "results", "--name", "third"]
    said = call(capsys, "search", made / "npy", "--test-fraction", "0.2", *where, *QUICK, code=2)
    assert "was made with other settings: --test-fraction: 0.3 -> 0.2\n" in said
