"""`avtune evaluate --per-class --confusion --at`: its numbers against loops over every pair of clips, in 80 columns."""

import json
import statistics

import numpy as np
import pytest
from command import call
from slow_scores import slow_ap_at, slow_ap_at_r, slow_ndcg

import avtune

CLIPS, CLASSES = 36, 4
NAMES = ("car", "dog", "rain", "siren")


def made(seed=0, clips=CLIPS, names=NAMES):
    draw = np.random.default_rng(seed)
    of = draw.integers(len(names), size=clips)
    of[: len(names)] = np.arange(len(names))
    audio = np.eye(8, dtype=float)[of % 8] + 0.6 * draw.normal(size=(clips, 8))
    return audio, audio + 0.8 * draw.normal(size=(clips, 8)), np.array(names)[of]


@pytest.fixture(scope="module")
def embeddings(tmp_path_factory):
    path = tmp_path_factory.mktemp("evaluate") / "e.npz"
    audio, visual, labels = made()
    np.savez(path, audio=audio, visual=visual, labels=labels)
    return path


def rankings(queries, gallery):
    """For each query the places of the gallery, nearest first; nothing ties here."""
    unit = [[row / np.linalg.norm(row) for row in view] for view in (queries, gallery)]
    return [sorted(range(len(gallery)), key=lambda at, one=one: -float(one @ unit[1][at])) for one in unit[0]]


def slow(queries, gallery, labels, k, near):
    """What is said of one direction, from the definitions."""
    order = rankings(queries, gallery)
    ap, first, pair = [], [], []
    relevant = [[labels[clip] == labels[query] for clip in found] for query, found in enumerate(order)]
    for query, found in enumerate(order):
        ranks = [rank for rank, clip in enumerate(found, 1) if labels[clip] == labels[query]]
        ap.append(sum(hits / rank for hits, rank in enumerate(ranks, 1)) / len(ranks))
        first.append(ranks[0])
        pair.append(found.index(query) + 1)
    by_class = {
        name: statistics.mean(a for a, label in zip(ap, labels, strict=True) if label == name) for name in NAMES
    }
    found = [[[labels[clip] for clip in one[:near]].count(name) for name in NAMES] for one in order]
    table = [np.mean([row for row, label in zip(found, labels, strict=True) if label == name], 0) / near
             for name in NAMES]  # fmt: skip
    return {
        "map": statistics.mean(ap),
        "by_class": by_class,
        "hit": statistics.mean(rank <= k for rank in first),
        "pair": statistics.mean(rank <= k for rank in pair),
        "map_at_r": statistics.mean(map(slow_ap_at_r, relevant)),
        "ndcg": statistics.mean(map(slow_ndcg, relevant)),
        "at": {
            "map": statistics.mean(slow_ap_at(one, k, "min") for one in relevant),
            "map_found": statistics.mean(slow_ap_at(one, k, "found") for one in relevant),
            "ndcg": statistics.mean(slow_ndcg(one, k) for one in relevant),
        },
        "medians": (statistics.median(first), statistics.median(pair)),
        "confusion": table,
    }


@pytest.mark.parametrize("near", [1, 3])
def test_json_is_what_the_definitions_say(embeddings, capsys, near):
    asked = ["--confusion"] if near == 1 else ["--confusion-at", "3"]
    words = ["evaluate", "--embeddings", embeddings, "--at", "1,5,10", "--per-class", *asked, "--json"]
    facts = json.loads(call(capsys, *words))
    audio, visual, labels = made()
    macro = []
    for way, views in (("a2v", (audio, visual)), ("v2a", (visual, audio))):
        for row, k in zip(facts["at"], (1, 5, 10), strict=True):
            true = slow(*views, labels, k, near)
            assert row["k"] == k
            assert row[f"hit_rate_{way}"] == pytest.approx(true["hit"])
            assert row[f"pair_hit_rate_{way}"] == pytest.approx(true["pair"])
            assert {name: row[f"{name}_{way}"] for name in true["at"]} == pytest.approx(true["at"])
        for name in ("map", "map_at_r", "ndcg"):
            assert facts[f"{name}_{way}"] == pytest.approx(true[name])
        assert (facts["median_rank"][f"class_{way}"], facts["median_rank"][f"pair_{way}"]) == true["medians"]
        classes = facts["by_class"]["classes"]
        assert {one["name"]: one[f"map_{way}"] for one in classes} == pytest.approx(true["by_class"])
        macro.append(statistics.mean(true["by_class"].values()))
        assert facts["by_class"][f"macro_map_{way}"] == pytest.approx(macro[-1])
        assert facts["confusion"]["classes"] == list(NAMES)
        assert np.array(facts["confusion"][way]) == pytest.approx(np.array(true["confusion"]))
    for name in ("map_at_r", "ndcg"):
        assert facts[name] == pytest.approx((facts[f"{name}_a2v"] + facts[f"{name}_v2a"]) / 2)
    assert [one["clips"] for one in classes] == [list(labels).count(name) for name in NAMES]
    assert facts["by_class"]["macro_map"] == pytest.approx(statistics.mean(macro))
    assert facts["by_class"]["macro_map"] != pytest.approx(facts["map"], abs=1e-6)
    assert facts["confusion"]["k"] == near


def test_without_being_asked_there_are_no_classes(embeddings, capsys):
    facts = json.loads(call(capsys, "evaluate", "--embeddings", embeddings, "--json"))
    assert not {"by_class", "confusion"} & facts.keys()
    assert "MAP by class" not in call(capsys, "evaluate", "--embeddings", embeddings)


def test_python_says_the_same(embeddings, capsys):
    words = ["evaluate", "--embeddings", embeddings, "--per-class", "--confusion-at", "2", "--json"]
    facts = json.loads(call(capsys, *words))
    audio, visual, labels = made()
    found = avtune.evaluate(audio=audio, visual=visual, labels=labels, per_class=True, confusion=2)
    assert found.by_class == facts["by_class"]
    assert found.confusion == facts["confusion"]
    assert found.median_rank == facts["median_rank"]
    assert (found.map_at_r, found.ndcg_v2a) == (facts["map_at_r"], facts["ndcg_v2a"])
    assert list(found.at) == facts["at"]
    assert ["macro", "MAP", f"{facts['by_class']['macro_map']:.4f}"] in [
        line.split() for line in repr(found).splitlines()
    ]
    with pytest.raises(avtune.UserError, match="confusion is -1; allowed: True, or how many nearest clips count"):
        avtune.evaluate(audio=audio, visual=visual, labels=labels, confusion=-1)


def below_the_path(printed):
    """What follows the line with the file's path; before it a slow machine says what takes long."""
    lines = printed.splitlines()
    return lines[next(place for place, line in enumerate(lines) if ".npz: " in line) + 1 :]


def test_the_terminal_shows_it_in_80_columns(embeddings, capsys):
    words = ["evaluate", "--embeddings", embeddings, "--per-class", "--confusion", "--at", "1,5,40"]
    lines = below_the_path(call(capsys, *words))
    assert max(map(len, lines)) <= 80
    facts = json.loads(call(capsys, *words, "--json"))
    text = "\n".join(lines)
    row = facts["at"][1]
    keys = ("precision_v2a", "recall_v2a", "hit_rate_v2a", "pair_hit_rate_v2a")
    assert [line.split() for line in lines if line.startswith("5 ")][1] == ["5", *(f"{row[key]:.4f}" for key in keys)]
    assert "k  precision  class recall  class hit rate  pair hit rate" in lines
    keys = ("map_a2v", "map_found_a2v", "ndcg_a2v")
    assert [line.split() for line in lines if line.startswith("5 ")][2] == ["5", *(f"{row[key]:.4f}" for key in keys)]
    assert ["map@r", f"{facts['map_at_r']:.4f}"] in [line.split() for line in lines]
    assert "note: nothing at 40: there are 36 clips" in lines
    macro = next(line.split() for line in lines if line.startswith("mean over classes (macro)"))
    assert macro[4] == f"{facts['by_class']['macro_map']:.4f}"
    share = facts["confusion"]["a2v"][1][1]
    dog = next(line for line in lines if line.startswith("1 dog"))
    assert f" {100 * share:.0f}" in dog
    assert "audio->visual: classes of the nearest clip, % by the class of the query (row)" in text


@pytest.mark.parametrize("count", [15, 60])
def test_many_classes_fit_too(count, tmp_path, capsys):
    names = [f"class number {place}" for place in range(count - 1)] + ["a name\tthat is \x1b[31mmuch too long"]
    audio, visual, labels = made(clips=200, names=names)
    np.savez(tmp_path / "e.npz", audio=audio, visual=visual, labels=labels)
    printed = call(capsys, "evaluate", "--embeddings", tmp_path / "e.npz", "--per-class", "--confusion")
    lines = below_the_path(printed)
    assert max(map(len, lines)) <= 80
    assert ("most often found instead, %" in printed) == (count == 60)
    assert "\x1b" not in printed
    for place in range(count - 1):
        assert sum(f"class number {place} " in f"{line} " for line in lines) >= 3, "MAP, and both directions"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--confusion-at", "0"], "--confusion-at is '0'; allowed: how many nearest clips count, from 1"),
        (["--confusion-at", "37"], "k is 37; allowed: 1 to 36, the number of clips"),
        (["--at", "0"], "--at is '0'; allowed: whole numbers from 1"),
        (["--split", "train"], "--split goes with a model and a dataset; embeddings hold everything"),
        (["--map", "audio=x"], "--map goes with a model and a dataset"),
        (["--test-fraction", "0.3"], "--test-fraction goes with a model and a dataset"),
    ],
)
def test_what_cannot_be_counted_is_said(words, said, embeddings, capsys):
    assert said in call(capsys, "evaluate", "--embeddings", embeddings, *words, code=2)
