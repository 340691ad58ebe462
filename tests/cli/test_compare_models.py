"""`avtune compare-models`: two saved models on the same clips, and the looks that this is."""

import json
import shutil

import numpy as np
import pytest
import yaml
from command import call
from slow_scores import slow_ap
from toy import write_toy

import avtune
from avtune.engine.model import load_model
from avtune.metrics import randomisation_test
from avtune.workflows.compare_models import _SEED, Difference, ModelComparison


@pytest.fixture
def place(trained, tmp_path):
    shutil.copytree(trained, tmp_path, dirs_exist_ok=True)
    return tmp_path


def compare(place, capsys, *more, a="one", b="one/checkpoints/trial_0", code=0):
    words = ("compare-models", a, b, place / "toy.h5", "--results", place / "results", *more)
    return call(capsys, *words, code=code)


def looks(place):
    return len((place / "results/one/scored.jsonl").read_text().splitlines())


def ap_of(queries, gallery, labels):
    """Average precision of every query, by sorting each one's similarities."""
    found = []
    for query, label in zip(queries.astype(np.float64), labels, strict=True):
        cosines = gallery.astype(np.float64) @ query / np.linalg.norm(gallery.astype(np.float64), axis=1)
        found.append(slow_ap((labels == label)[np.argsort(-cosines, kind="stable")])[0])
    return found


def test_scores_differences_and_p_values_are_those_of_slow_ones(place, capsys):
    found = json.loads(compare(place, capsys, "--json"))
    test = avtune.load_dataset(place / "toy.h5").test
    ap = []
    for folder in ("final", "checkpoints/trial_0"):
        z = load_model(place / "results/one" / folder).embed(test.audio, test.visual)
        ap.append([ap_of(*pair, test.labels) for pair in (z, z[::-1])])
    ap = np.array(ap)  # model, direction, clip
    by_way = [ap.mean(1), ap[:, 0], ap[:, 1]]
    assert [one["name"] for one in found["differences"]] == ["map", "map_a2v", "map_v2a"]
    for one, (first, second) in zip(found["differences"], by_way, strict=True):
        assert one["a"] == pytest.approx(first.mean())
        assert one["b"] == pytest.approx(second.mean())
        assert one["difference"] == pytest.approx(first.mean() - second.mean())
        assert one["interval"][0] <= one["difference"] <= one["interval"][1]
    assert found["differences"][0]["p"] == pytest.approx(randomisation_test(*by_way[0], _SEED))
    raw = [randomisation_test(*pair, _SEED) for pair in by_way[1:]]
    assert min(one["p"] for one in found["differences"][1:]) == pytest.approx(min(1, 2 * min(raw)))


def test_a_look_is_counted_once_and_said(place, capsys):
    before = looks(place)
    printed = " ".join(compare(place, capsys).split())
    assert f"this look is counted: {before + 1} configurations" in printed
    assert "the test is over the clips" in printed
    assert "the tests of avtune bench and avtune compare are over seeds too" in printed
    assert looks(place) == before + 1
    assert "is counted" not in compare(place, capsys)
    assert looks(place) == before + 1


def test_the_training_split_is_no_look(place, capsys):
    before = looks(place)
    assert "60 train clips" in compare(place, capsys, "--split", "train")
    assert looks(place) == before


def test_in_python(place, monkeypatch):
    monkeypatch.chdir(place)
    found = avtune.compare_models("results/one", "results/one/checkpoints/trial_0", "toy.h5")
    assert found.map.difference == pytest.approx(found.map.a - found.map.b)
    assert found.clips == 24
    assert any("is counted" in look for look in found.looks)
    assert found.verdict in repr(found)
    assert "<table>" in found._repr_html_()
    other = avtune.compare_models("results/one/checkpoints/trial_0", "results/one", "toy.h5")
    assert other.map.difference == pytest.approx(-found.map.difference)
    assert other.map.p == found.map.p


def one_of(difference, p, detectable):
    each = Difference("map", 0.5 + difference, 0.5, difference, (-0.1, 0.1), p, detectable)
    return ModelComparison("first", "second", "test", 9, (each,), (), ())


def test_the_verdict_says_who_is_better_or_what_could_have_been_seen():
    assert one_of(0.1, 0.01, 0.05).verdict.startswith("first is better than second (by 0.1000 MAP")
    assert one_of(-0.1, 0.0001, 0.05).verdict.startswith("second is better than first")
    assert "p < 0.001" in one_of(-0.1, 0.0001, 0.05).verdict
    assert "would have shown 0.0400 MAP or more, 80% of the time" in one_of(0.01, 0.3, 0.04).verdict
    assert "would have shown no difference at all" in one_of(0.01, 0.3, float("inf")).verdict
    assert one_of(0.01, 0.3, float("inf")).to_json()["differences"][0]["detectable"] is None


def test_models_that_score_the_same_show_nothing_of_what_could_be_seen(place, capsys):
    shutil.copytree(place / "results/one/final", place / "copy")
    printed = " ".join(compare(place, capsys, b=place / "copy").split())
    assert "no difference was found (by 0.0000 MAP" in printed
    assert "it is the same on every clip" in printed
    assert "would have shown" not in printed
    assert "not known" in printed
    found = json.loads(compare(place, capsys, "--json", b=place / "copy"))
    assert [one["detectable"] for one in found["differences"]] == [None] * 3


def test_a_model_whose_epoch_was_selected_on_test_says_so(place, capsys):
    shutil.copytree(place / "results/one/final", place / "published")
    config = place / "published" / "config.yaml"
    facts = yaml.safe_load(config.read_text())
    facts["about"]["epoch"] = "selected on test"
    config.write_text(yaml.safe_dump(facts))
    name = str(place / "published")
    found = json.loads(compare(place, capsys, "--json", b=name))
    assert found["selected_on_test"] == [name]
    assert found["verdict"].endswith(f"; the epoch of {name} was selected on test")
    printed = " ".join(compare(place, capsys, b=name).split())
    assert "was selected on test" in printed
    assert json.loads(compare(place, capsys, "--json"))["selected_on_test"] == []


def test_what_cannot_be_compared_is_said(place, capsys):
    said = compare(place, capsys, b="one", code=2)
    assert "one and one are one model" in said
    assert "one model" in compare(place, capsys, b="one/final", code=2)
    write_toy(place / "results", dims=(5, 7))
    (place / "results/toy.h5").rename(place / "toy.h5")
    assert "10" in compare(place, capsys, code=2)
