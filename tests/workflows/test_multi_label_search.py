"""A search of image-text features whose clips have several labels, from the file to the report."""

import json

import numpy as np
import pytest
import scipy.io
from lab_files import several
from toy import SPACE

import avtune
from avtune.cli.main import main
from avtune.core.errors import UserError
from avtune.core.relevance import relevance
from avtune.methods import METHODS


def said(capsys, *words):
    capsys.readouterr()
    assert main([str(word) for word in words]) == 0
    return capsys.readouterr().out


def features(labels, draw, centres):
    """Each view: the sum of the centres of a clip's labels, and noise."""
    return [(labels @ of + 0.3 * draw.normal(size=(len(labels), of.shape[1]))).astype(np.float32) for of in centres]


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    root = tmp_path_factory.mktemp("several")
    draw = np.random.default_rng(0)
    centres = [draw.normal(size=(4, dim)) for dim in (10, 7)]
    arrays = {}
    for split, count, seed in (("train", 40, 0), ("test", 16, 1)):
        arrays[f"{split}_lab"] = several(count, seed=seed).astype(float)
        arrays[f"{split}_img"], arrays[f"{split}_txt"] = features(arrays[f"{split}_lab"], draw, centres)
    scipy.io.savemat(root / "flickr.mat", arrays)
    (root / "space.yaml").write_text(SPACE.replace("finalists: 2", "finalists: 1"))
    words = ["search", root / "flickr.mat", "--space", root / "space.yaml", "--results", root / "results"]
    words += ["--name", "one", "--runner", "inline", "--gpus", "0", "--trials", "2", "--epochs", "2"]
    assert main([str(word) for word in words]) == 0
    return root, arrays


def test_a_search_from_the_file_to_the_report(study, capsys):
    root, arrays = study
    place = ["--results", root / "results"]
    files = root / "results/one"
    facts = json.loads((files / "final/metrics.json").read_text())
    by_class = json.loads((files / "final/by_class.json").read_text())
    hot = arrays["test_lab"] == 1
    assert by_class["clips"] == hot.sum(0).tolist()
    assert by_class["labels"] == [np.flatnonzero(row).tolist() for row in hot]
    assert by_class["a2v"]["mean"] == pytest.approx(facts["test"]["map_a2v"]["mean"], abs=1e-6)
    example = by_class["a2v"]["examples"][0]["query"]
    said_of_it = f"<td>{example} {', '.join(map(str, np.flatnonzero(hot[example])))}</td>"
    assert said_of_it in (files / "report.html").read_text()
    scored = said(capsys, "evaluate", "one", root / "flickr.mat", "--per-class", "--confusion", "--json", *place)
    scored = json.loads(scored)
    assert scored["classes"] == 4
    assert sum(one["clips"] for one in scored["by_class"]["classes"]) == hot.sum()
    for row in scored["confusion"]["a2v"]:
        assert sum(row) == pytest.approx(1)

    said(capsys, "embed", "one", root / "flickr.mat", "--out", root / "z.npz", *place)
    with np.load(root / "z.npz", allow_pickle=False) as made:
        np.testing.assert_array_equal(made["labels"], hot)
    again = json.loads(said(capsys, "evaluate", "--embeddings", root / "z.npz", "--json"))
    assert again["map"] == scored["map"]

    answer = json.loads(
        said(capsys, "retrieve", "one", root / "flickr.mat", "--query", "3", "--k", "16", "--json", *place)
    )
    (answer,) = answer["queries"]
    relevant = relevance(hot[[3]], hot)[0]
    assert answer["label"] == ", ".join(map(str, np.flatnonzero(hot[3])))
    assert answer["relevant"] == relevant.sum()
    assert {one["clip"] for one in answer["found"] if one["hit"]} == set(np.flatnonzero(relevant))


def test_a_method_of_one_label_is_refused_before_anything_starts(study, monkeypatch, capsys):
    root, arrays = study
    rows = [(arrays[f"{split}_img"], arrays[f"{split}_txt"], arrays[f"{split}_lab"]) for split in ("train", "test")]
    data = avtune.Dataset.from_arrays(train=rows[0], test=rows[1], views=("image", "text"))
    assert data.digest == avtune.load_dataset(root / "flickr.mat").digest
    monkeypatch.setattr(METHODS["eics"], "multi_label", False)
    for start in (
        lambda: avtune.search(data, method="eics", name="two", results=root / "results", trials=2),
        lambda: avtune.bench(data, methods=["eics"], name="two", results=root / "results", trials=2),
    ):
        with pytest.raises(UserError, match="eics learns from one label a clip, and clips of this"):
            start()
    for words in (["curves", "--methods", "eics", "--name", "two"], ["plan", "--method", "eics"]):
        verb, *options = words
        place = [] if verb == "plan" else ["--results", root / "results"]
        assert main([str(word) for word in (verb, root / "flickr.mat", *options, *place)]) == 2
        assert "eics learns from one label a clip" in capsys.readouterr().err
    assert not (root / "results/two").exists()
