"""`avtune embed` of files that hold one view or both, without labels or splits, in every format that it writes."""

import csv
import shutil

import h5py
import numpy as np
import pyarrow.parquet as pq
import pytest
from command import call
from toy import toy_dataset

import avtune

DATA = toy_dataset().test


@pytest.fixture(scope="module")
def made(trained):
    """The folder of a study, with files of its test clips."""
    folder = trained
    np.save(folder / "audio.npy", DATA.audio.astype(np.float64))
    np.savez(folder / "both.npz", audio=DATA.audio, visual=DATA.visual)
    np.savez(folder / "labelled.npz", audio_feat=DATA.audio, visual_feat=DATA.visual, Label_ID=DATA.labels + 5)
    with h5py.File(folder / "deep.h5", "w") as file:
        file["a/sound"] = DATA.audio
        file["picture"] = DATA.visual
        file["other"] = h5py.SoftLink("/a")
        file["elsewhere"] = h5py.ExternalLink("both.h5", "/")
    with h5py.File(folder / "splits.h5", "w") as file:
        file["audio_test"], file["audio_train"] = DATA.audio, toy_dataset().train.audio
    return folder


@pytest.fixture(scope="module")
def wanted(made):
    """The test clips' embeddings, from Python."""
    model = avtune.load_model(made / "results/one")
    return {"audio": model.embed(audio=DATA.audio), "visual": model.embed(visual=DATA.visual)}


@pytest.fixture
def embed(made, capsys, tmp_path):
    def embed(file, *words, out="z.npz", code=0):
        where = ["--results", made / "results", "--out", tmp_path / out]
        return call(capsys, "embed", "one", made / file, *where, *words, code=code)

    return embed


def arrays(path):
    with np.load(path) as file:
        return {key: file[key] for key in file.files}


@pytest.mark.parametrize(
    ("file", "words", "views"),
    [
        ("audio.npy", ["--view", "audio"], ["audio"]),
        ("both.npz", [], ["audio", "visual"]),
        ("both.npz", ["--view", "visual"], ["visual"]),
        ("labelled.npz", [], ["audio", "visual", "labels"]),
        ("labelled.npz", ["--map", "visual=visual_feat"], ["visual"]),
        ("deep.h5", ["--map", "audio=a/sound,visual=picture"], ["audio", "visual"]),
        ("deep.h5", ["--map", "audio=a/sound", "--map", "visual=picture", "--view", "audio"], ["audio"]),
        ("splits.h5", ["--split", "test"], ["audio"]),
        ("toy.h5", [], ["audio", "visual", "labels"]),
        ("toy.h5", ["--view", "audio"], ["audio", "labels"]),
    ],
)
def test_a_file_needs_no_labels_no_split_and_only_one_view(file, words, views, embed, wanted, tmp_path):
    said = embed(file, *words)
    found = arrays(tmp_path / "z.npz")
    named = ["class_names"] if file == "toy.h5" else []  # whose classes have names
    assert sorted(found) == sorted([*views, *named])
    for view in set(views) - {"labels"}:
        assert found[view].dtype == np.float32
        np.testing.assert_array_equal(found[view], wanted[view])
        assert f"{view} 24 x 4" in said
    if "labels" in views:
        np.testing.assert_array_equal(found["labels"], DATA.labels + (5 if file == "labelled.npz" else 0))
    assert said.splitlines()[0].endswith(
        "; the test split of toy"
        if file == "toy.h5"
        else f"; {file}{' (test split)' if words[:1] == ['--split'] else ''}"
    )
    assert "counted" not in said, "it is the published model"
    assert ("; not read: elsewhere, other\n" in said) == (file == "deep.h5" and "visual" in views)


@pytest.mark.parametrize("view", ["audio", "visual"])
def test_every_format_holds_the_same_floats(view, embed, wanted, tmp_path):
    for out in ("z.npy", "z.csv", "z.parquet"):
        embed("labelled.npz", "--view", view, out=out)
    np.testing.assert_array_equal(np.load(tmp_path / "z.npy", allow_pickle=False), wanted[view])
    with (tmp_path / "z.csv").open(newline="") as file:
        header, *rows = csv.reader(file)
    assert header == ["clip", "label", *(f"{view}_{at}" for at in range(4))]
    np.testing.assert_array_equal(np.array([row[2:] for row in rows], np.float32), wanted[view])
    table = pq.read_table(tmp_path / "z.parquet")
    assert table.column_names == ["clip", "label", view]
    assert str(table.schema.field(view).type) == "fixed_size_list<element: float>[4]"
    np.testing.assert_array_equal(np.stack(table[view].to_numpy()), wanted[view])
    assert table["label"].to_pylist() == (DATA.labels + 5).tolist()


@pytest.mark.parametrize(
    ("file", "words", "said"),
    [
        ("audio.npy", [], "say what it is: --view audio or visual"),
        (
            "audio.npy",
            ["--view", "visual"],
            "has 10 dimensions; the model takes 7 of visual; 10 are those of its audio",
        ),
        ("audio.npy", ["--view", "audio", "--split", "test"], "has no splits; leave --split test out"),
        ("audio.npy", ["--map", "audio=x"], "is one array without a name"),
        ("both.npz", ["--map", "audio=visual"], "are the views swapped?"),
        ("both.npz", ["--map", "audio=Audio"], "has no 'Audio'; did you mean 'audio'?"),
        ("both.npz", ["--map", "sound=audio"], "--map names 'sound'; allowed: audio, labels or visual"),
        ("both.npz", ["--map", "audio"], "--map has 'audio'; give VIEW=KEY"),
        ("both.npz", ["--map", "audio=audio,audio=audio"], "--map names audio twice"),
        ("both.npz", ["--map", "audio=audio", "--view", "visual"], "--map names no visual"),
        ("both.npz", ["--map", "labels=audio"], "--map names no view"),
        ("both.npz", ["--split", "test"], "has no splits"),
        ("both.npz", ["--classes", "c.csv"], "--classes goes with a dataset"),
        ("deep.h5", [], "has no array called audio or visual"),
        ("deep.h5", ["--map", "audio=a/noise"], "there is no such array"),
        ("deep.h5", ["--map", "audio=a"], "is a group; an array is expected"),
        ("deep.h5", ["--map", "audio=other/sound"], "is a link"),
        ("deep.h5", ["--map", "audio=elsewhere/audio"], "is a link"),
        ("splits.h5", [], "has audio_test and audio_train; choose with --split test or train"),
        ("splits.h5", ["--view", "visual"], "has no array called visual"),
        ("toy.h5", ["--map", "audio=audio_test"], "is a dataset; leave --map out"),
        ("space.yaml", [], "is text"),
        ("none.h5", [], "no such file"),
    ],
)
def test_what_does_not_fit_is_said(file, words, said, embed, tmp_path):
    assert said in embed(file, *words, code=2)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"audio": np.where(DATA.audio == DATA.audio[3, 2], np.nan, DATA.audio)}, "in row 3, column 2"),
        ({"audio": DATA.audio.T}, "write it transposed"),
        ({"audio": DATA.audio[:5], "visual": DATA.visual}, "rows differ: audio has 5, visual has 24"),
        ({"audio": DATA.audio, "labels": DATA.labels[:3]}, "labels has 3"),
        ({"audio": DATA.audio, "audio_feat": DATA.audio}, "has audio and audio_feat; choose with --map audio=KEY"),
        ({"audio": np.array([[None] * 10], object)}, "Python objects, which are never read"),
    ],
)
def test_bad_arrays_are_refused(arrays, said, made, capsys, tmp_path):
    np.savez(tmp_path / "bad.npz", **arrays)
    words = ["embed", "one", tmp_path / "bad.npz", "--results", made / "results", "--out", tmp_path / "z.npz"]
    assert said in call(capsys, *words, code=2)
    assert [path.name for path in tmp_path.iterdir()] == ["bad.npz"]


def test_a_damaged_npy_and_one_of_objects_are_refused(made, capsys, tmp_path):
    whole = (made / "audio.npy").read_bytes()
    np.save(tmp_path / "objects.npy", np.array([{}], object), allow_pickle=True)
    kept = {"short": whole[:-1], "long": whole + b"x", "head": whole[:60], "objects": None}
    for name, data in kept.items():
        if data is not None:
            (tmp_path / f"{name}.npy").write_bytes(data)
        words = ["--results", made / "results", "--view", "audio", "--out", tmp_path / "z.npz"]
        said = call(capsys, "embed", "one", tmp_path / f"{name}.npy", *words, code=2)
        assert ("never read" if name == "objects" else "damaged") in said


def test_two_views_are_no_npy_and_a_file_is_replaced_when_asked(embed, tmp_path):
    assert "holds one view" in embed("both.npz", out="z.npy", code=2)
    embed("both.npz", "--view", "audio", out="z.npy")
    assert "exists; give another --out, or --overwrite" in embed("both.npz", "--view", "audio", out="z.npy", code=2)
    embed("both.npz", "--view", "visual", "--overwrite", out="z.npy")
    assert [path.name for path in tmp_path.iterdir()] == ["z.npy"]


def test_one_view_of_the_test_split_is_a_look(made, capsys, tmp_path):
    results = shutil.copytree(made / "results", tmp_path / "results")
    model = next((results / "one/checkpoints").iterdir())
    words = ["--results", results, "--view", "audio", "--overwrite", "--out", tmp_path / "z.npz"]
    assert "this look is counted: 3" in call(capsys, "embed", model, made / "toy.h5", *words)
    assert "counted" not in call(capsys, "embed", model, made / "toy.h5", *words)


def test_features_over_time_are_pooled_as_a_data_set_s_are(made, embed, tmp_path, wanted):
    """A model of pooled features is used on new clips that are not pooled yet."""
    frames = np.stack([DATA.audio - 1, DATA.audio, DATA.audio + 1], axis=1)
    np.savez(made / "frames.npz", audio=frames, visual=DATA.visual)
    assert "pool over its other axes with --pool mean" in embed("frames.npz", code=2)
    embed("frames.npz", "--pool", "mean", out="pooled.npz")
    found = arrays(tmp_path / "pooled.npz")
    np.testing.assert_allclose(found["audio"], wanted["audio"], atol=1e-5)
    np.testing.assert_allclose(found["visual"], wanted["visual"], atol=1e-5)
    assert "pools over time, and no features have a time axis" in embed("both.npz", "--pool", "mean", code=2)
