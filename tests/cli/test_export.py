"""`avtune export`: each folder is read by what it is for, or by a reader written here."""

import json
import shutil
from importlib.util import find_spec

import numpy as np
import pytest
import torch
import yaml
from command import call
from slow_scores import slow_ap
from toy import toy_dataset, toy_results, write_leaky

import avtune
from avtune.core import files
from avtune.data.prepare import Scalers
from avtune.engine.model import Model, untrained
from avtune.methods import METHODS, defaults
from avtune.workflows import export_onnx
from avtune.workflows.export_hub import metadata
from avtune.workflows.export_onnx import write_onnx

DATA = toy_dataset().test


@pytest.fixture
def export(trained, capsys, tmp_path):
    """Runs `avtune export MODEL WORDS --out OUT`."""

    def export(to, *words, model="one", out="out", code=0):
        where = ["--to", to, "--out", tmp_path / out, "--results", trained / "results"]
        return call(capsys, "export", model, *words, *where, code=code)

    export.folder = tmp_path / "out"
    return export


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_hub_is_a_model_with_the_scores_that_it_has(export, trained, capsys):
    said = export("hub")
    assert "add `license:`" in said
    files = ["README.md", "by_class.json", "config.yaml", "metrics.json", "model.safetensors", "query_ap.npz"]
    assert names(export.folder) == files
    model, before = avtune.load_model(export.folder), avtune.load_model(trained / "results/one")
    np.testing.assert_array_equal(model.embed(audio=DATA.audio), before.embed(audio=DATA.audio))
    _, head, card = (export.folder / "README.md").read_text().split("---\n", 2)
    facts = yaml.safe_load(head)
    assert facts["library_name"] == "avtune"
    assert facts["datasets"] == ["toy"]
    assert facts["metrics"] == ["map"]
    assert "triplet" in facts["tags"]
    metrics = json.loads((trained / "results/one/final/metrics.json").read_text())
    (result,) = facts["model-index"][0]["results"]
    assert result["dataset"] == {"name": "toy", "type": "toy", "split": "test"}
    found = {one["name"]: one["value"] for one in result["metrics"]}
    assert found["MAP (mean of 2 seeds)"] == metrics["test"]["map"]["mean"]
    assert found["MAP, visual to audio (mean of 2 seeds)"] == metrics["test"]["map_v2a"]["mean"]
    assert found[f"MAP of these weights (seed {metrics['seeds'][0]})"] == metrics["test"]["map"]["seeds"][0]
    assert card.strip().startswith((trained / "results/one/final/MODEL_CARD.md").read_text().strip())
    assert "no difference" in call(capsys, "verify", export.folder, trained / "toy.h5")


def test_scores_that_were_selected_on_test_say_so_on_the_hub():
    (row,) = metadata(toy_results(seeds=3, label="selected on test"))["model-index"]
    names = [one["name"] for one in row["results"][0]["metrics"]]
    assert len(names) == 5
    assert all("selected on test" in name for name in names)
    assert len(metadata(toy_results())["model-index"][0]["results"][0]["metrics"]) == 4, "one seed: they are the same"


def test_the_hub_reads_that_head(export):
    repocard = pytest.importorskip("huggingface_hub.repocard", reason="huggingface_hub is not installed")
    export("hub")
    data = repocard.ModelCard.load(export.folder / "README.md").data
    assert data.to_dict()["library_name"] == "avtune"
    assert data.model_name == "triplet-toy"
    assert {one.dataset_name for one in data.eval_results} == {"toy"}
    assert [one.metric_type for one in data.eval_results].count("map") == 2


def test_a_model_without_scores_or_with_others_is_no_hub_folder(export, trained, tmp_path):
    checkpoint = next((trained / "results/one/checkpoints").iterdir())
    assert "avtune retrain STUDY --trial N" in export("hub", model=checkpoint, code=2)
    other = shutil.copytree(trained / "results/one/final", tmp_path / "other")
    facts = json.loads((other / "metrics.json").read_text())
    facts["test"]["map"]["mean"] = 0.99
    (other / "metrics.json").write_text(json.dumps(facts))
    assert "metrics.json is not as it was written" in export("hub", model=other, code=2)
    assert names(tmp_path) == ["other"]


def test_index_holds_unit_vectors_and_whose_they_are(export, trained):
    said = export("index", trained / "toy.h5")
    assert said.splitlines()[0] == f"{export.folder}/ of the test split of toy"
    facts = json.loads((export.folder / "index.json").read_text())
    assert (facts["clips"], facts["dims"], facts["split"]) == (24, 4, "test")
    assert facts["ids"] == list(range(24))
    assert facts["labels"] == DATA.labels.tolist()
    assert facts["classes"] == {"0": "class 0", "1": "class 1", "2": "class 2"}
    assert facts["dataset"]["digest"] == toy_dataset().digest
    model = avtune.load_model(trained / "results/one")
    for view in ("audio", "visual"):
        unit = np.load(export.folder / facts["views"][view]["file"], allow_pickle=False)
        z = model.embed(**{view: getattr(DATA, view)})
        assert unit.dtype == np.float32
        np.testing.assert_allclose(unit, z / np.linalg.norm(z, axis=1, keepdims=True), rtol=1e-6)
    assert ("pip install 'avtune[faiss]'" in said) == (find_spec("faiss") is None)


def test_index_of_one_view_without_labels(export, tmp_path):
    np.save(tmp_path / "sound.npy", DATA.audio)
    export("index", tmp_path / "sound.npy", "--view", "audio")
    facts = json.loads((export.folder / "index.json").read_text())
    assert list(facts["views"]) == ["audio"]
    assert not {"labels", "dataset", "split"} & facts.keys()
    assert not [name for name in names(export.folder) if name.startswith("visual")]


@pytest.mark.skipif(find_spec("faiss") is None, reason="the extra faiss is not installed")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of its generated bindings
def test_faiss_finds_what_retrieve_finds(export, trained, capsys):
    import faiss

    export("index", trained / "toy.h5")
    found = faiss.read_index(str(export.folder / "visual.faiss"))
    assert found.metric_type == faiss.METRIC_INNER_PRODUCT
    queries = np.load(export.folder / "audio.npy", allow_pickle=False)
    cosines, clips = found.search(queries[:5], 7)
    words = ["--query", "0,1,2,3,4", "--k", "7", "--json", "--results", trained / "results"]
    facts = json.loads(call(capsys, "retrieve", "one", trained / "toy.h5", *words))
    assert [[one["clip"] for one in query["found"]] for query in facts["queries"]] == clips.tolist()
    assert [[one["cosine"] for one in query["found"]] for query in facts["queries"]] == [
        pytest.approx(row, abs=1e-6) for row in cosines.tolist()
    ]


def read_trec(folder):
    """Each query's documents, best score first, and its relevant ones; by the formats' definition."""
    ranked, relevant = {}, {}
    for line in (folder / "run.trec").read_text().splitlines():
        query, q0, document, rank, score, tag = line.split(" ")
        assert (q0, tag) == ("Q0", "avtune-triplet")
        ranked.setdefault(query, []).append((float(score), int(rank), document))
    for line in (folder / "qrels.trec").read_text().splitlines():
        query, _, document, relevance = line.split(" ")
        assert relevance == "1"
        relevant.setdefault(query, set()).add(document)
    return ranked, relevant


def test_trec_scores_as_avtune_does(export, trained, capsys):
    said = export("trec", trained / "toy.h5")
    ranked, relevant = read_trec(export.folder)
    assert len(ranked) == len(relevant) == 48
    found = {}
    for query, documents in ranked.items():
        scores = [score for score, _, _ in documents]
        assert scores == sorted(scores, reverse=True)
        assert [rank for _, rank, _ in documents] == list(range(1, 25))
        assert len({document for _, _, document in documents}) == 24
        hits = [document in relevant[query] for _, _, document in documents]
        found[query] = slow_ap(hits)[0]
    facts = json.loads(call(capsys, "evaluate", "one", trained / "toy.h5", "--json", "--results", trained / "results"))
    assert facts["tied_queries"] == 0
    assert np.mean(list(found.values())) == pytest.approx(facts["map"], abs=1e-12)
    for way in ("a2v", "v2a"):
        of_way = [ap for query, ap in found.items() if query.startswith(way)]
        assert np.mean(of_way) == pytest.approx(facts[f"map_{way}"], abs=1e-12)
    assert f"avtune's MAP of them, {facts['map']:.4f}" in said
    assert json.loads((export.folder / "scores.json").read_text())["map"] == facts["map"]


def test_trec_gives_clips_that_tie_one_score(export, tmp_path):
    same = np.repeat(DATA.visual[:4], 6, axis=0)
    np.savez(tmp_path / "clips.npz", audio=DATA.audio, visual=same, labels=DATA.labels)
    assert "50 % of the queries have ties" in export("trec", tmp_path / "clips.npz")
    ranked, _ = read_trec(export.folder)
    assert {len({score for score, _, _ in ranked[f"a2v-{clip}"]}) for clip in range(24)} == {4}


def test_trec_carries_what_is_wrong_with_the_data(export, tmp_path):
    data, _ = write_leaky(tmp_path)
    said = " ".join(export("trec", data).split())
    problems = json.loads((export.folder / "scores.json").read_text())["problems"]
    assert len(problems) == 2, "four test clips are training clips, and a class has no test clip"
    assert all(f"note: {one}" in said for one in problems)


@pytest.mark.slow
@pytest.mark.skipif(find_spec("ranx") is None, reason="ranx is not installed (make bench installs it)")
@pytest.mark.filterwarnings("ignore")  # of numba
def test_ranx_gives_the_same_map(export, trained):
    from ranx import Qrels, Run, evaluate

    export("trec", trained / "toy.h5")
    qrels = Qrels.from_file(str(export.folder / "qrels.trec"), kind="trec")
    run = Run.from_file(str(export.folder / "run.trec"), kind="trec")
    wanted = json.loads((export.folder / "scores.json").read_text())["map"]
    assert evaluate(qrels, run, "map") == pytest.approx(wanted, abs=1e-9)


def test_what_holds_the_clips_is_a_look_and_the_model_alone_is_none(trained, capsys, tmp_path):
    results = shutil.copytree(trained / "results", tmp_path / "results")
    model = next((results / "one/checkpoints").iterdir())
    words = ["--results", results, "--out"]
    said = call(capsys, "export", results / "one", trained / "toy.h5", "--to", "trec", *words, tmp_path / "winner")
    assert "counted" not in said, "the winner has been scored"
    train = ["--split", "train", "--to", "index", *words, tmp_path / "train"]
    assert "counted" not in call(capsys, "export", model, trained / "toy.h5", *train)
    test = ["--to", "index", *words, tmp_path / "test"]
    assert "this look is counted: 3" in call(capsys, "export", model, trained / "toy.h5", *test)
    again = ["--to", "trec", *words, tmp_path / "again"]
    assert "counted" not in call(capsys, "export", model, trained / "toy.h5", *again)


@pytest.mark.parametrize(
    ("to", "words", "said"),
    [
        ("index", [], "name a dataset or a file after the model"),
        ("hub", ["toy.h5"], "--to hub writes the model itself; leave DATA out"),
        ("onnx", ["--split", "test"], "leave --split out"),
        ("hub", ["--view", "audio"], "leave --view out"),
        ("tensorrt", [], "'tensorrt' is no --to of avtune export"),
        ("trec", ["sound.npz"], "does not have labels"),
        ("trec", ["heard.npz"], "does not have both views"),
    ],
)
def test_what_is_wrong_is_said_and_nothing_appears(to, words, said, export, trained, tmp_path):
    np.savez(tmp_path / "sound.npz", audio=DATA.audio, visual=DATA.visual)
    np.savez(tmp_path / "heard.npz", audio=DATA.audio, labels=DATA.labels)
    given = [(tmp_path if word.endswith("npz") else trained) / word if "." in word else word for word in words]
    assert said in export(to, *given, code=2)
    assert names(tmp_path) == ["heard.npz", "sound.npz"]


def test_a_folder_is_never_written_over_and_appears_whole(export, trained, tmp_path, monkeypatch):
    export.folder.mkdir()
    assert "exists; give another --out, or move it away" in export("hub", code=2)
    assert "does not exist; make it" in export("hub", out="no/out", code=2)
    monkeypatch.setattr(files, "_sync_file", lambda path: exit(9))  # a kill when all is written
    with pytest.raises(AssertionError, match="SystemExit"):
        export("index", trained / "toy.h5", out="other")
    assert names(tmp_path) == ["out"]
    assert names(export.folder) == []


def model_of(method):
    """A model of random weights and scalers, whose sums over clips (deep CCA) are not empty."""
    config = {**defaults(METHODS[method])}
    config |= {name: 12 for name in config if name.endswith("_dim")}
    made = untrained(method, config, (10, 7, 3), 0)
    draw = torch.Generator().manual_seed(1)
    for name, value in made.buffers.items():
        if name in ("cca.aa", "cca.vv"):
            half = torch.randn(value.shape, generator=draw)
            value.copy_(half @ half.T + torch.eye(len(half)))
        elif name in ("cca.count", "cca.av"):
            value.copy_(torch.rand(value.shape, generator=draw) + 1)
    scalers = Scalers.fit(toy_dataset(seed=3).train)
    return Model(method, config, made, scalers, ("a", "b", "c"), {"seed": 0})


@pytest.mark.parametrize("method", ["dcca", "c_dcca", "tnn_ccca", "triplet"])
def test_what_a_method_has_settled_embeds_the_same(method):
    model = model_of(method)
    one = model.trained
    params, buffers = ({name: value[None] for name, value in part.items()} for part in (one.params, one.buffers))
    views = [torch.tensor(view)[None] for view in (DATA.audio, DATA.visual)]
    settled = one.method.settled(params, buffers)
    for wanted, found in zip(
        one.method.embed(params, buffers, *views), one.method.embed(params, settled, *views), strict=True
    ):
        assert torch.equal(wanted, found)
        assert wanted.abs().max() > 1e-3


@pytest.mark.slow
@pytest.mark.skipif(find_spec("onnxruntime") is None, reason="the extra onnx is not installed")
@pytest.mark.parametrize("method", METHODS)
def test_onnxruntime_gives_the_embeddings_of_avtune(method, tmp_path):
    import onnxruntime

    model = model_of(method)
    write_onnx(model, tmp_path)
    facts = json.loads((tmp_path / "model.json").read_text())
    for view, features in (("audio", DATA.audio), ("visual", DATA.visual)):
        about = facts["views"][view]
        session = onnxruntime.InferenceSession(tmp_path / about["file"], providers=["CPUExecutionProvider"])
        (found,) = session.run([about["output"]], {about["input"]: features})
        wanted = model.embed(**{view: features})
        assert found.shape == wanted.shape == (24, wanted.shape[1])
        np.testing.assert_allclose(found, wanted, atol=1e-5 * max(1, np.abs(wanted).max()))


@pytest.mark.slow
@pytest.mark.skipif(find_spec("onnxruntime") is None, reason="the extra onnx is not installed")
def test_a_file_that_computes_something_else_is_refused(monkeypatch, tmp_path):
    model = model_of("cca")
    monkeypatch.setattr("avtune.workflows.export_onnx.TOLERANCE", -1.0)
    with pytest.raises(avtune.UserError, match="differ from avtune's"):
        write_onnx(model, tmp_path)


@pytest.mark.slow
@pytest.mark.skipif(find_spec("onnxruntime") is None, reason="the extra onnx is not installed")
def test_where_float32_is_not_enough_a_file_computes_in_float64(monkeypatch, tmp_path):
    told = iter([0.1, None, 0.1, None])
    difference = export_onnx._difference
    monkeypatch.setattr(export_onnx, "_difference", lambda *given: next(told) or difference(*given))
    write_onnx(model_of("kcca"), tmp_path)
    facts = json.loads((tmp_path / "model.json").read_text())
    assert {one["computes_in"] for one in facts["views"].values()} == {"float64"}
    assert next(told, "all asked") == "all asked"


@pytest.mark.skipif(find_spec("onnxruntime") is not None, reason="the extra onnx is installed")
def test_onnx_without_its_extra_says_what_to_install(export, tmp_path):
    assert "pip install 'avtune[onnx]'" in export("onnx", code=2)
    assert names(tmp_path) == []
