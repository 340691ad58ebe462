"""`avtune retrieve`: the nearest clips of the other view."""

import json
import math
import shutil

import numpy as np
import pytest
from command import call
from toy import toy_dataset

import avtune
from avtune.workflows.retrieve import ranking

DATA = toy_dataset().test


@pytest.fixture
def ask(trained, capsys):
    def ask(data, *words, code=0):
        return call(capsys, "retrieve", "one", data, "--results", trained / "results", *words, code=code)

    return ask


def nearest(model, query, view):
    """Cosine and row of every clip of the other view, one number at a time, best first."""
    z = {"audio": model.embed(audio=DATA.audio).tolist(), "visual": model.embed(visual=DATA.visual).tolist()}
    other = {"audio": "visual", "visual": "audio"}[view]
    found = []
    for clip, vector in enumerate(z[other]):
        dot = math.fsum(a * b for a, b in zip(z[view][query], vector, strict=True))
        found.append((dot / math.hypot(*z[view][query]) / math.hypot(*vector), clip))
    return sorted(found, key=lambda one: (-one[0], one[1]))


@pytest.mark.parametrize("view", ["audio", "visual"])
def test_the_nearest_clips_by_exact_cosine(view, ask, trained):
    facts = json.loads(ask(trained / "toy.h5", "--query", "3,5", "--query", "0", "--k", "7", "--from", view, "--json"))
    assert facts["gallery"] == {
        "view": "visual" if view == "audio" else "audio",
        "clips": 24,
        "of": "the test split of toy",
    }
    assert [one["clip"] for one in facts["queries"]] == [3, 5, 0]
    model = avtune.load_model(trained / "results/one")
    for one in facts["queries"]:
        wanted = nearest(model, one["clip"], view)[:7]
        assert [found["clip"] for found in one["found"]] == [clip for _, clip in wanted]
        assert [found["cosine"] for found in one["found"]] == pytest.approx([cosine for cosine, _ in wanted], abs=1e-12)
        for found in one["found"]:
            assert found["hit"] == (DATA.labels[found["clip"]] == DATA.labels[one["clip"]])
            assert found["label"] == f"class {DATA.labels[found['clip']]}"
            assert found["own_pair"] == (found["clip"] == one["clip"])
        assert one["relevant"] == 8


def test_what_is_printed_says_the_gallery(ask, trained):
    lines = ask(trained / "toy.h5", "--query", "4", "--k", "24", "--split", "train").splitlines()
    assert lines[0] == "gallery: the visual view of the training split of toy, all 60 clips"
    assert lines[2] == "query 4, audio (class 1)"
    assert lines[3].split() == ["rank", "clip", "cosine", "label"]
    assert len(lines) == 4 + 24 + 1
    assert lines[-1] == "20 of the 60 clips of the gallery have the query's label"
    assert any("own pair" in line for line in lines)
    assert "--k is 25 and the gallery has 24 clips" in ask(trained / "toy.h5", "--query", "4", "--k", "25")


def test_clips_without_labels_have_no_hits_and_ties_are_in_the_order_of_rows(ask, tmp_path):
    same = np.repeat(DATA.visual[:4], 6, axis=0)  # of each six clips the visual view is the same
    np.savez(tmp_path / "clips.npz", audio=DATA.audio, visual=same)
    facts = json.loads(ask(tmp_path / "clips.npz", "--query", "9", "--k", "24", "--json"))
    found = [one["clip"] for one in facts["queries"][0]["found"]]
    assert sorted(found) == list(range(24))
    for start in range(0, 24, 6):
        assert found[start : start + 6] == list(range(min(found[start : start + 6]), min(found[start : start + 6]) + 6))
    assert all(one["tied"] and "hit" not in one and "label" not in one for one in facts["queries"][0]["found"])
    said = ask(tmp_path / "clips.npz", "--query", "9", "--k", "2")
    assert said.splitlines()[0] == "gallery: the visual view of clips.npz, all 24 clips"
    assert said.splitlines()[4].split() == ["rank", "clip", "cosine"]


def test_rounding_makes_no_order():
    draw = np.random.default_rng(0)
    cosines = np.repeat([0.5, -0.25, 0.75], 40)
    order, ties = ranking(cosines + draw.uniform(-1e-15, 1e-15, 120))
    assert order.tolist() == [*range(80, 120), *range(40), *range(40, 80)]
    assert ties.tolist() == [0] * 40 + [1] * 40 + [2] * 40
    apart = draw.permutation(np.linspace(-1, 1, 99))
    order, ties = ranking(apart)
    assert order.tolist() == np.argsort(-apart).tolist()
    assert ties.tolist() == list(range(99))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--query", "24"], "--query is 24; the test split of toy has the clips 0 to 23"),
        (["--query", "first"], "--query has 'first'; give rows of clips, counted from 0"),
        (["--query", "1", "--k", "0"], "--k is 0"),
        (["--query", "1", "--from", "text"], "--from is text; the views are audio and visual"),
        ([], "--query"),
    ],
)
def test_what_is_wrong_is_said(words, said, ask, trained):
    assert said in ask(trained / "toy.h5", *words, code=2)


def test_one_view_is_no_gallery(ask, tmp_path):
    assert "put both into an .npz" in ask(tmp_path / "one.npy", "--query", "0", code=2)
    np.savez(tmp_path / "one.npz", audio=DATA.audio)
    assert "one.npz has no visual view" in ask(tmp_path / "one.npz", "--query", "0", code=2)


def test_examples_score_nothing_and_many_queries_are_a_look(trained, capsys, tmp_path):
    results = shutil.copytree(trained / "results", tmp_path / "results")
    model = next((results / "one/checkpoints").iterdir())
    words = ["retrieve", model, trained / "toy.h5", "--results", results, "--k", "24", "--query"]
    looks = (results / "one/scored.jsonl").read_text().splitlines()
    assert "counted" not in call(capsys, *words, ",".join(map(str, range(20))))
    assert (results / "one/scored.jsonl").read_text().splitlines() == looks
    assert "this look is counted: 3" in call(capsys, *words, ",".join(map(str, range(21))))
    assert "counted" not in call(capsys, *words, ",".join(map(str, range(24)))), "the same model again"
