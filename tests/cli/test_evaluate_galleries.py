"""`avtune evaluate --query --gallery`: what is scored, what is printed with it, and which looks count."""

import json
import shutil

import numpy as np
import pytest
from command import call
from toy import toy_dataset

import avtune


@pytest.fixture(scope="module")
def unseen(tmp_path_factory):
    """Clips of classes that the toy has not, in a file of features."""
    whole = toy_dataset(seed=3, classes=4, train=24, test=24).test
    path = tmp_path_factory.mktemp("unseen") / "new.npz"
    np.savez(path, audio=whole.audio, visual=whole.visual, labels=whole.labels + 10)
    return path


def test_a_gallery_is_printed_with_the_scores(trained, capsys):
    words = ["evaluate", "one", trained / "toy.h5", "--results", trained / "results"]
    usual = json.loads(call(capsys, *words, "--json"))
    assert usual["gallery"] == {
        "kind": "all",
        "queries": 24,
        "clips": 24,
        "own_pair": True,
        "queries_left_out": 0,
        "queries_in_gallery": 24,
    }
    said = call(capsys, *words, "--gallery", "other")
    assert "gallery other: every clip of the other view but the query's own pair" in said
    assert "24 queries of each view, 23 clips in the gallery of each" in said
    assert "pair hit rate" not in said
    assert max(map(len, said.splitlines()[1:])) <= 80
    facts = json.loads(call(capsys, *words, "--gallery", "other", "--confusion", "--json"))
    assert np.sum(facts["confusion"]["a2v"], axis=1) == pytest.approx(1)


def test_training_clips_as_the_gallery(trained, capsys):
    data = f"{trained / 'toy.h5'}:train"
    words = ["evaluate", "one", trained / "toy.h5", "--results", trained / "results", "--gallery", data]
    said = call(capsys, *words)
    assert f"(test split), gallery {trained / 'toy.h5'} (train split): 24 clips, 3 classes" in said.replace("\n", " ")
    assert "24 queries of each view, 60 clips in the gallery of each" in said
    study, file = avtune.load_study(trained / "results/one"), str(trained / "toy.h5")
    found = avtune.evaluate(study, file, gallery=data, results=trained / "results")
    assert found.map == json.loads(call(capsys, *words, "--json"))["map"]


def test_classes_that_training_never_saw(trained, unseen, capsys):
    words = ["evaluate", "one", "--query", unseen, "--gallery", unseen, "--results", trained / "results"]
    facts = json.loads(call(capsys, *words, "--json"))
    assert facts["classes"] == 4
    assert facts["gallery"]["kind"] == "given"
    assert facts["gallery"]["own_pair"], "the same clips"
    assert "unseen_classes" not in facts, "numbers say nothing of the model's named classes"
    named = np.load(unseen)
    path = unseen.with_name("named.npz")
    names = [f"class {place}" for place in range(14)]
    np.savez(path, **{key: named[key] for key in named.files}, class_names=names)
    facts = json.loads(call(capsys, *[path if word == unseen else word for word in words], "--json"))
    assert facts["unseen_classes"] == [f"class {place}" for place in range(10, 14)]
    said = call(capsys, *[path if word == unseen else word for word in words])
    assert "zero-shot: training saw 0 of the 4 classes of the queries" in said


def test_embeddings_of_two_files(tmp_path, capsys):
    draw = np.random.default_rng(0)
    for name, clips in (("q", 6), ("g", 9)):
        audio, visual = draw.normal(size=(2, clips, 3))
        np.savez(tmp_path / f"{name}.npz", audio=audio, visual=visual, labels=np.arange(clips) % 3)
    words = ["evaluate", "--query", tmp_path / "q.npz", "--gallery", tmp_path / "g.npz", "--json"]
    facts = json.loads(call(capsys, *words))
    assert (facts["gallery"]["queries"], facts["gallery"]["clips"]) == (6, 9)
    assert facts["gallery"]["own_pair"] is False


def test_a_look_counts_by_the_gallery_too(trained, unseen, capsys, tmp_path):
    results = shutil.copytree(trained / "results", tmp_path / "results")
    model = next((results / "one/checkpoints").iterdir())
    words = ["evaluate", model, "--results", results, "--query"]
    among_train = call(capsys, *words, f"{trained / 'toy.h5'}:train", "--gallery", f"{trained / 'toy.h5'}:train")
    assert "this look is counted" not in among_train
    said = call(capsys, *words, f"{trained / 'toy.h5'}:train", "--gallery", f"{trained / 'toy.h5'}:test")
    assert "this look is counted: 3" in said


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["one", "toy.h5", "--query", "toy.h5"], "--query names the clips to ask with; leave DATASET and"),
        (["one", "toy.h5", "--gallery", "othr"], "gallery is 'othr'; allowed: all, disjoint, other"),
        (["one", "--query", "bare.npz"], "has no labels; name their array labels"),
        (["one", "clips.npz"], "all clips of the file are scored by: avtune evaluate one --query clips.npz"),
        (["one", "~nosuchuser/x.h5"], "there is no folder ~nosuchuser"),
    ],
)
def test_what_cannot_be_asked_is_said(words, said, trained, capsys, monkeypatch):
    monkeypatch.chdir(trained)
    test = toy_dataset().test
    np.savez("bare.npz", audio=test.audio, visual=test.visual)
    np.savez("clips.npz", audio=test.audio, visual=test.visual, labels=test.labels)
    assert said in call(capsys, "evaluate", *words, code=2)
