from __future__ import annotations

import struct
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tensorboard.compat.tensorflow_stub import pywrap_tensorflow

from avtune.core.errors import UserError
from avtune.data import Dataset, load, on_disk, read_youtube8m
from avtune.data.layouts.tfrecord import masked_crc32c, parse_example
from avtune.data.options import options_of, recorded_options

CLASSES = "name,label_id\nDog,7\n'Violin, fiddle',3\nCat,12\n".replace("'", '"')


def varint(value: int) -> bytes:
    value &= 2**64 - 1
    out = bytearray()
    while value >= 128:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def field(number: int, content: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(content)) + content


def example(features: dict[str, Any]) -> bytes:
    """A tf.train.Example, byte by byte: bytes, floats and ints become the three kinds of lists."""
    entries = b""
    for name, value in features.items():
        if isinstance(value, bytes):
            feature = field(1, field(1, value))
        elif isinstance(value, np.ndarray):
            feature = field(2, field(1, value.astype("<f4").tobytes()))
        else:
            feature = field(3, field(1, b"".join(varint(item) for item in value)))
        entries += field(1, field(1, name.encode()) + field(2, feature))
    return field(1, entries)


def framed(records: Iterable[bytes]) -> bytes:
    out = b""
    for record in records:
        head = struct.pack("<Q", len(record))
        crc = pywrap_tensorflow.masked_crc32c
        out += head + struct.pack("<I", crc(head)) + record + struct.pack("<I", crc(record))
    return out


def clip(number: int, labels: Iterable[int], /, **changes: Any) -> dict[str, Any]:
    rng = np.random.default_rng(number)
    made = {
        "id": f"{number:04d}".encode(),
        "labels": list(labels),
        "mean_rgb": rng.normal(size=6),
        "mean_audio": rng.normal(size=4),
    }
    return {name: value for name, value in {**made, **changes}.items() if value is not None}


# 10 clips of each class, some with labels of no interest; 5 of two classes and 5 of none, which are left out.
CLIPS = [
    *(clip(i, [(7, 3, 12)[i % 3], 100 + i]) for i in range(30)),
    *(clip(i, [7, 12]) for i in range(30, 35)),
    *(clip(i, [99]) for i in range(35, 40)),
]


def write(folder: Path, *shards: list[dict[str, Any]], classes: str | None = CLASSES) -> Path:
    for i, shard in enumerate(shards):
        (folder / f"validate{i:04d}.tfrecord").write_bytes(framed(example(features) for features in shard))
    if classes is not None:
        (folder / "classes.csv").write_text(classes)
    return folder


def refused(folder: Path, **arguments: Any) -> str:
    with pytest.raises(UserError) as caught:
        read_youtube8m(folder, **arguments)
    assert str(caught.value).count("\n") <= 1
    return str(caught.value)


def rows(dataset: Dataset) -> dict[bytes, tuple[str, bytes]]:
    """Audio features -> class and visual features of every clip."""
    return {
        audio.tobytes(): (dataset.class_names[label], visual.tobytes())
        for split in (dataset.train, dataset.test)
        for audio, visual, label in zip(split.audio, split.visual, split.labels, strict=True)
    }


def test_shards_on_disk_are_those_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    twice = [clip(n, [7], id=b"0003") for n in (900, 901)]  # one of them and of clip 3 is kept, whatever their order
    folder = write(tmp_path, CLIPS[:13], [twice[0], *CLIPS[13:], twice[1]])
    in_memory = load(str(folder))
    monkeypatch.setattr(on_disk, "SMALL", 0)
    monkeypatch.setattr(on_disk, "available_memory", lambda: 1)
    monkeypatch.setattr(on_disk.Rows, "_EVERY", 8)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    found = load(str(folder))
    assert found.digest == in_memory.digest
    for split in (found.train, found.test):
        assert on_disk.is_on_disk(split.audio)
        assert on_disk.is_on_disk(split.visual)
    other = tmp_path / "other"
    other.mkdir()
    assert load(str(write(other, [twice[1], *CLIPS[::-1]], [twice[0]]))).digest == in_memory.digest


def test_clips_of_exactly_one_class_are_kept(tmp_path: Path) -> None:
    dataset = load(str(write(tmp_path, CLIPS[:13], CLIPS[13:])))
    assert dataset.class_names == ("Violin, fiddle", "Dog", "Cat")
    assert (len(dataset.train), len(dataset.test)) == (24, 6)
    assert (dataset.audio_dim, dataset.visual_dim) == (4, 6)
    assert np.bincount(dataset.train.labels).tolist() == [8, 8, 8]
    assert np.bincount(dataset.test.labels).tolist() == [2, 2, 2]
    names = {7: "Dog", 3: "Violin, fiddle", 12: "Cat"}
    assert rows(dataset) == {
        c["mean_audio"].astype("f4").tobytes(): (names[c["labels"][0]], c["mean_rgb"].astype("f4").tobytes())
        for c in CLIPS[:30]
    }


def test_with_several_labels_a_clip_has_all_of_the_classes_that_it_carries(tmp_path: Path) -> None:
    dataset = load(str(write(tmp_path, CLIPS[:13], CLIPS[13:])), options_of(several_labels=True))
    assert dataset.class_names == ("Violin, fiddle", "Dog", "Cat")
    assert len(dataset.train) + len(dataset.test) == 35
    assert len(dataset.test) in (6, 7, 8)
    assert dataset.is_multi_label
    names = {7: "Dog", 3: "Violin, fiddle", 12: "Cat"}
    found = {
        audio.tobytes(): {dataset.class_names[place] for place in np.flatnonzero(labels)}
        for split in (dataset.train, dataset.test)
        for audio, labels in zip(split.audio, split.labels, strict=True)
    }
    assert found == {
        c["mean_audio"].astype("f4").tobytes(): {names[label] for label in c["labels"] if label in names}
        for c in CLIPS[:35]
    }
    assert dataset.options == {"several_labels": True}
    assert recorded_options({"options": dataset.options}, "study.yaml") == options_of(several_labels=True)


def test_order_of_shards_and_repeated_clips_do_not_matter(tmp_path: Path) -> None:
    digests = set()
    for name, shards in (("a", [CLIPS]), ("b", [CLIPS[20:], CLIPS[:20]]), ("c", [CLIPS[::-1], CLIPS[4:9], []])):
        (tmp_path / name).mkdir()
        digests.add(read_youtube8m(write(tmp_path / name, *shards)).digest)
    assert len(digests) == 1


def test_the_split_follows_its_seed_and_fraction(tmp_path: Path) -> None:
    folder = write(tmp_path, CLIPS)
    first = read_youtube8m(folder)
    assert read_youtube8m(folder, seed=0).digest == first.digest
    assert read_youtube8m(folder, seed=1).digest != first.digest
    assert len(read_youtube8m(folder, fraction=0.5).test) == 15
    assert "fraction of 0.01" in refused(folder, fraction=0.01)


def test_class_file_is_given_or_found(tmp_path: Path) -> None:
    folder = write(tmp_path, CLIPS, classes=None)
    assert "no classes.csv" in refused(folder)
    elsewhere = tmp_path / "two.csv"
    elsewhere.write_text("Dog,7\nCat,12")
    dataset = load(str(folder), options_of(classes=str(elsewhere)))
    assert dataset.class_names == ("Dog", "Cat")
    assert len(dataset.train) + len(dataset.test) == 20


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("Dog,7\nCat", "line 2: 'Cat' is not `name,label_id`"),
        ("Dog,-7\nCat,3", "line 1: 'Dog,-7' is not"),
        ("name,label_id\nDog,7\nCat,x", "line 3: 'Cat,x' is not"),
        ("Dog,7\nCat,7", "line 2: 'Cat' or label 7 is there already"),
        ("Dog,7\nDog,12", "line 2: 'Dog' or label 12 is there already"),
        ("Dog,7", "lists 1 class; at least two are needed"),
        ("Dog,7\nGoat,77", "has 0 clips of class 'Goat' (label 77) alone; at least 3 are needed"),
    ],
)
def test_wrong_class_file_is_refused(tmp_path: Path, text: str, said: str) -> None:
    assert said in refused(write(tmp_path, CLIPS, classes=text))


def test_class_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    folder = write(tmp_path, CLIPS)
    (folder / "classes.csv").write_bytes(b"Dog,\xff\xfe7\n")
    assert "is no CSV text" in refused(folder)
    assert "cannot be read: No such file" in refused(folder, classes=tmp_path / "nowhere.csv")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"mean_audio": None}, "record 2 has no feature 'mean_audio'"),
        ({"mean_audio": None, "mean_adio": np.zeros(4)}, "did you mean 'mean_adio'?"),
        ({"labels": None}, "record 2 has no feature 'labels'"),
        ({"id": None}, "record 2 has no feature 'id'"),
        ({"mean_rgb": np.zeros(5)}, "record 2: mean_rgb has 5 values and 6 in the records before"),
        ({"mean_rgb": np.zeros(0)}, "record 2: mean_rgb is empty"),
        ({"mean_rgb": b"zeros"}, "record 2: feature 'mean_rgb' is of another kind"),
        ({"labels": np.zeros(1)}, "record 2: feature 'labels' is of another kind"),
        ({"mean_audio": np.array([1, np.nan, 0, 0])}, "record 2: mean_audio holds values that are NaN or infinite"),
    ],
)
def test_wrong_record_is_named(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    shard = [*CLIPS[:2], clip(2, [3], **changes), *CLIPS[3:]]
    message = refused(write(tmp_path, shard))
    assert message.startswith(str(tmp_path / "validate0000.tfrecord"))
    assert said in message


def test_damaged_shards_are_named_with_the_record(tmp_path: Path) -> None:
    folder = write(tmp_path, CLIPS)
    shard = folder / "validate0000.tfrecord"
    good = shard.read_bytes()
    start = 2 * (len(framed([example(CLIPS[0])])))  # of record 2: all clips have the same length
    for content, said in (
        (good[: start + 5], "record 2 is cut off after 5 bytes"),
        (good[: start + 40], "record 2 claims"),
        (good[:start] + b"\x00" + good[start + 1 :], "record 2 has a damaged length"),
        (good[: start + 50] + bytes([good[start + 50] ^ 1]) + good[start + 51 :], "record 2 is damaged (checksum)"),
        (good + framed([b"\xff\xff\xff"]), "record 40 is no tf.train.Example"),
        (b"\x1e\x8b" + bytes(100), "record 0 has a damaged length; this is no TFRecord file"),
    ):
        shard.write_bytes(content)
        message = refused(folder)
        assert message.startswith(f"{shard}: record ")
        assert said in message


@pytest.mark.parametrize("length", [2**26 + 1, 2**40, 2**63, 2**64 - 1])
def test_a_huge_length_allocates_nothing(tmp_path: Path, length: int) -> None:
    folder = write(tmp_path, CLIPS)
    head = struct.pack("<Q", length)
    (folder / "validate0000.tfrecord").write_bytes(head + struct.pack("<I", masked_crc32c(head)) + bytes(100))
    assert f"record 0 claims {length} bytes, more than it can have" in refused(folder)


def test_folder_without_shards_names_a_feature_file(tmp_path: Path) -> None:
    (tmp_path / "features.h5").write_bytes(b"")
    assert f"without .tfrecord shards; did you mean '{tmp_path / 'features.h5'}'?" in refused(tmp_path)


def test_a_class_file_goes_with_a_folder_only(tmp_path: Path) -> None:
    arrays = {"audio": np.ones((4, 2)), "visual": np.ones((4, 2)), "lab": np.arange(4) % 2}
    six = {f"{key}_{split}": value for key, value in arrays.items() for split in ("train", "test")}
    np.savez(tmp_path / "features.npz", **six)
    with pytest.raises(UserError, match="six keys, which takes no --classes; it goes with AVE's own folder or YouTube"):
        load(str(tmp_path / "features.npz"), options_of(classes="classes.csv"))


@settings(deadline=None, max_examples=50)
@given(st.one_of(st.binary(max_size=40), st.integers(1000, 4000).map(lambda n: np.random.default_rng(n).bytes(n))))
def test_checksum_equals_tensorboards(data: bytes) -> None:
    assert masked_crc32c(data) == pywrap_tensorflow.masked_crc32c(data)


@settings(deadline=None, max_examples=50)
@given(st.binary(max_size=60))
def test_any_bytes_parse_or_are_refused(data: bytes) -> None:
    try:
        assert isinstance(parse_example(data, "here"), dict)
    except UserError:
        assert data


def test_unpacked_floats_parse(tmp_path: Path) -> None:
    unpacked = b"".join(varint(1 << 3 | 5) + struct.pack("<f", value) for value in (1.5, -2.0))
    record = field(1, field(1, field(1, b"x") + field(2, field(2, unpacked))))
    np.testing.assert_array_equal(parse_example(record, "here")["x"], [1.5, -2.0])
