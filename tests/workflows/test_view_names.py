"""A data set of images and texts: no table, file or message of it says audio or visual."""

import dataclasses
import json
import re

import numpy as np
import pytest
import yaml
from lab_files import dscmr_folder
from toy import SPACE, toy_dataset

import avtune
from avtune.cli.main import main
from avtune.core.errors import UserError
from avtune.core.view_names import VIEWS, views_in, ways
from avtune.data import read
from avtune.data.formats import write_hdf5
from avtune.data.options import options_of
from avtune.study.folder import StudyFolder
from avtune.workflows.dataset_facts import dataset_facts
from avtune.workflows.retrain import dataset_of


def made(data):
    """A data set as `lab_files` takes it."""
    parts = {"train": data.train, "test": data.test}
    return {
        f"{key}_{name}": getattr(part, view)
        for name, part in parts.items()
        for key, view in (("a", "audio"), ("b", "visual"), ("y", "labels"))
    }


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """A finished study of image-text features: its results folder, and the features."""
    root = tmp_path_factory.mktemp("image_text")
    folder = dscmr_folder(root / "pascal", made(toy_dataset(train=30, test=12)))
    space = SPACE.replace("finalists: 2", "finalists: 1")
    (root / "space.yaml").write_text(space)
    words = ["search", folder, "--space", root / "space.yaml", "--results", root / "results", "--name", "one"]
    words += ["--runner", "inline", "--gpus", "0", "--trials", "2", "--epochs", "2", "--objective", "text -> image"]
    assert main([str(word) for word in words]) == 0
    return root, folder


def said(capsys, *words):
    capsys.readouterr()
    assert main([str(word) for word in words]) == 0
    return capsys.readouterr().out


@pytest.mark.slow
def test_what_is_maximised_is_named_in_every_file(study, capsys):
    root, folder = study
    files = root / "results/one"
    assert (files / "trials.csv").read_text().startswith("trial,state,epochs,best_epoch,val_text->image,margin")
    lines = [json.loads(line) for line in (files / "curves.jsonl").read_text().splitlines()]
    epochs = [line for line in lines if "epoch" in line]
    assert epochs[0]["val_objective"] == epochs[0]["val_map_v2a"] != epochs[0]["val_map"]
    best = yaml.safe_load((files / "best.yaml").read_text())
    assert best["objective"] == "text->image"
    assert best["val_objective"] == max(line["val_objective"] for line in epochs if line["trial"] == best["trial"])
    metrics = json.loads((files / "final/metrics.json").read_text())
    assert metrics["objective"] == "text->image"
    assert metrics["test"]["objective"]["mean"] == pytest.approx(metrics["test"]["map_v2a"]["mean"], abs=1e-12)
    assert list(metrics["validation"]) == ["objective"]
    assert "validation text-&gt;image" in (files / "report.html").read_text()
    view = avtune.load_study(files)
    assert view.objective == view.best.objective == "text->image"
    assert view.trials["val_text->image"].max() == pytest.approx(best["val_objective"], abs=1e-6)
    assert "val_objective_mean" in view.finalists
    assert f"validation text->image {best['val_objective']:.4f}" in repr(view)
    words = ["search", folder, "--results", root / "results", "--name", "one", "--objective", "map@5"]
    assert main([str(word) for word in words]) == 2
    assert "other settings: search.objective: text->image -> map@5" in capsys.readouterr().err
    assert main([str(word) for word in [*words[:-3], "two", "--objective", "audio->visual"]]) == 2
    assert "this data set has image->text and text->image" in capsys.readouterr().err


OURS = re.compile(r"\b(audio|visual)(?!_dim|-visual)\b", re.I)


@pytest.mark.slow
def test_a_search_of_images_and_texts_says_so_everywhere(study, capsys):
    root, folder = study
    results = ["--results", root / "results"]
    files = root / "results/one"
    assert yaml.safe_load((files / "study.yaml").read_text())["dataset"]["views"] == ["image", "text"]
    assert json.loads((files / "final/metrics.json").read_text())["dataset"]["views"] == ["image", "text"]
    card = (files / "final/MODEL_CARD.md").read_text()
    assert "| map | image->text | text->image | map_running | objective |" in card
    page = re.sub(r"(?s)<script>.*?</script>|<style>.*?</style>", "", (files / "report.html").read_text())
    assert "<th>image-&gt;text</th>" in page
    assert "image to text" in page
    told = {
        "status": said(capsys, "status", "one", *results),
        "evaluate": said(capsys, "evaluate", "one", folder, *results),
        "retrieve": said(capsys, "retrieve", "one", folder, "--query", "0", *results),
        "back": said(capsys, "retrieve", "one", folder, "--query", "0", "--from", "text", *results),
        "info": said(capsys, "data", "info", folder),
        "embed": said(capsys, "embed", "one", folder, "--out", root / "z.npz", *results),
        "verify": said(capsys, "verify", "one", *results),
    }
    for name, text in {**told, "card": card, "page": page}.items():
        assert not OURS.search(text), (name, OURS.search(text), text[-2000:])
    assert "image->text\n" in told["evaluate"]
    assert "gallery: the text view of" in told["retrieve"]
    assert "gallery: the image view of" in told["back"]
    assert "image 10-d, text 7-d" in told["info"]
    with np.load(root / "z.npz", allow_pickle=False) as arrays:
        assert set(arrays) == {"image", "text", "labels"}
    scored = said(capsys, "evaluate", "--embeddings", root / "z.npz")
    assert "image->text" in scored


@pytest.mark.slow
def test_python_takes_the_names(study):
    root, folder = study
    model = avtune.load_model(root / "results/one/final")
    assert model.views == ("image", "text")
    data = avtune.load_dataset(folder)
    both = model.embed(data.test.audio, data.test.visual)
    np.testing.assert_array_equal(model.embed(image=data.test.audio), both[0])
    np.testing.assert_array_equal(model.embed(text=data.test.visual, image=data.test.audio)[1], both[1])
    assert repr(model).startswith("<Model triplet: image 10-d, text 7-d")
    with pytest.raises(UserError, match="sound= is no view of this model; it has image and text"):
        model.embed(sound=data.test.audio)
    with pytest.raises(UserError, match="the view image is given twice"):
        model.embed(data.test.audio, image=data.test.audio)
    scores = avtune.evaluate(model, data, results=root / "results")
    assert "image->text" in repr(scores)


@pytest.mark.slow
def test_what_is_no_view_is_said(study, capsys):
    root, folder = study
    for words, text in (
        (
            ["retrieve", "one", folder, "--query", "0", "--from", "audio"],
            "--from is audio; the views are image and text",
        ),
        (
            ["embed", "one", folder, "--view", "audio", "--out", root / "y.npz"],
            "--view is audio; the model has image and",
        ),
    ):
        assert main([str(word) for word in [*words, "--results", root / "results"]]) == 2
        assert text in capsys.readouterr().err


def renamed(data, *views):
    """The same clips, whose first view is called so."""
    return dataclasses.replace(data, views=views)


@pytest.fixture(scope="module")
def crossed(tmp_path_factory):
    """A model whose second view is called audio, its data set, and the results folder."""
    results = tmp_path_factory.mktemp("crossed")
    data = renamed(toy_dataset(train=30, test=12, dims=(8, 8)), "image", "audio")
    more = {"space.hidden_dim": 8, "space.embedding_dim": 4, "final.finalists": 1, "final.seeds": 1}
    how = {"trials": 1, "epochs": 2, "set": more, "runner": "inline", "gpus": 0, "quiet": True, "reference": False}
    study = avtune.search(data, method="triplet", name="one", results=results, **how)
    return avtune.load_model(study), data, results


def test_a_view_is_embedded_by_its_name_in_whatever_place_it_is(crossed):
    model, data, _ = crossed
    first, second = model.embed(data.test.audio, data.test.visual)
    np.testing.assert_array_equal(model.embed(audio=data.test.visual), second)
    np.testing.assert_array_equal(model.embed(audio=data.test.visual, image=data.test.audio)[0], first)
    with pytest.raises(UserError, match="visual= is no view of this model; it has image and audio"):
        model.embed(visual=data.test.audio)
    plain = dataclasses.replace(model, views=("image", "text"))
    np.testing.assert_array_equal(plain.embed(audio=data.test.audio), first)
    np.testing.assert_array_equal(plain.embed(visual=data.test.visual), second)


def test_a_data_set_in_the_other_order_is_embedded_by_name(crossed, tmp_path):
    model, data, results = crossed
    turned = dataclasses.replace(
        data, train=data.train.swapped(), test=data.test.swapped(), views=("audio", "image"), source="turned"
    )
    scores, again = (avtune.evaluate(model, one, results=results) for one in (data, turned))
    assert (again.map, again.map_a2v) == (scores.map, scores.map_a2v)
    assert "image->audio" in repr(again)
    assert turned.in_order(model.views).digest == data.digest, "looks at a study's own test split are counted by it"
    write_hdf5(turned, tmp_path / "turned.h5")
    assert (
        main(["embed", "one", str(tmp_path / "turned.h5"), "--out", str(tmp_path / "z.npz"), "--results", str(results)])
        == 0
    )
    with np.load(tmp_path / "z.npz", allow_pickle=False) as arrays:
        np.testing.assert_array_equal(arrays["audio"], model.embed(audio=data.test.visual))
    mixed = renamed(data, "audio", "text")
    with pytest.raises(UserError, match="has audio and text, in this order, and the model has image and audio"):
        avtune.evaluate(model, mixed, results=results)


def test_models_of_views_in_different_orders_are_compared_way_by_way(crossed, tmp_path):
    model, data, results = crossed
    turned = dataclasses.replace(
        model,
        views=("audio", "image"),
        about={key: value for key, value in model.about.items() if key != "run"},
    )
    (tmp_path / "turned").mkdir()
    turned.save(tmp_path / "turned")
    found = avtune.compare_models("one", tmp_path / "turned", data, results=results)
    ways = {one.name: one for one in found.differences}
    first, second = (avtune.evaluate(one, data, results=results) for one in (model, turned))
    assert [ways["map"].a, ways["map"].b] == pytest.approx([first.map, second.map])
    to_second, to_first = found.differences[1:]
    assert [to_second.a, to_first.a] == pytest.approx([first.map_a2v, first.map_v2a])
    assert [to_second.b, to_first.b] == pytest.approx([second.map_v2a, second.map_a2v])


def test_the_key_audio_holds_the_view_that_is_called_so(tmp_path):
    data = renamed(toy_dataset(train=30, test=12, dims=(8, 8)), "image", "audio")
    write_hdf5(data, tmp_path / "crossed.h5")
    again = read(tmp_path / "crossed.h5")
    assert again.views == ("audio", "image")
    np.testing.assert_array_equal(again.train.audio, data.train.visual)


def test_six_keys_keep_names_splits_and_groups(tmp_path):
    folder = dscmr_folder(tmp_path / "pascal", made(toy_dataset(train=30, test=12)))
    data = read(folder)
    write_hdf5(data, tmp_path / "a.h5")
    again = read(tmp_path / "a.h5")
    assert (again.views, again.digest) == (("image", "text"), data.digest)
    held = dataclasses.replace(
        data, validation=np.arange(24, 30), groups=np.arange(30) // 2, test_groups=np.arange(12) // 2 + 14
    )
    write_hdf5(held, tmp_path / "b.h5")
    again = read(tmp_path / "b.h5")
    assert again.digest == held.digest
    assert again.leaked == held.leaked == 2
    assert again.validation.tolist() == held.validation.tolist()


def test_arrays_in_memory_have_names_and_a_validation_split():
    whole = toy_dataset(train=30, test=12)
    parts = [(one.audio, one.visual, one.labels) for one in (whole.train, whole.test)]
    held = tuple(part[:6] for part in parts[0])
    data = avtune.Dataset.from_arrays(train=parts[0], test=parts[1], validation=held, views=("image", "text"))
    assert repr(data) == "<Dataset arrays: 36 training and 12 test clips, 3 classes, image 10-d, text 7-d>"
    assert data.validation.tolist() == list(range(30, 36))
    with pytest.raises(UserError, match=r"validation is 2 items; give \(image, text, labels\)"):
        avtune.Dataset.from_arrays(train=parts[0], test=parts[1], validation=held[:2], views=("image", "text"))
    with pytest.raises(UserError, match="give two different names"):
        avtune.Dataset.from_arrays(train=parts[0], test=parts[1], views=("image", "image"))


def test_a_study_reads_its_file_as_it_did_before(tmp_path):
    whole, folder = toy_dataset(train=30, test=12).train, tmp_path / "npy"
    folder.mkdir()
    for name, array in (("image", whole.audio), ("text", whole.visual), ("labels", whole.labels)):
        np.save(folder / f"{name}.npy", array, allow_pickle=False)
    data = read(folder, options_of(test_fraction=0.3))
    study = StudyFolder(tmp_path / "one")
    study.root.mkdir()
    settings = {"format": 1, "dataset": dataset_facts(data, str(folder)), "runner": "inline", "placement": ""}
    more = {
        "space": {"method": "cca", "search": {"trials": 1}},
        "overrides": [],
        "deterministic": False,
        "precision": "fp32",
    }
    study.study_yaml.write_text(yaml.safe_dump(settings | more))
    again = dataset_of(study, None)
    assert (again.digest, again.views) == (data.digest, ("image", "text"))
    with pytest.raises(UserError, match="its content differs"):
        dataset_of(study, None, options_of(test_fraction=0.5))


def test_old_files_mean_audio_and_visual():
    assert views_in({}) == views_in({"views": "x"}) == views_in({"views": ["a"]}) == VIEWS
    assert ways(VIEWS) == {"a2v": "audio->visual", "v2a": "visual->audio"}
