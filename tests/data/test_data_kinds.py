from __future__ import annotations

import gzip
import io
import json
import os
import pickle
import struct
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from avtune.core.errors import UserError
from avtune.data import read
from avtune.workflows.evaluate import read_embeddings

Arrays = dict[str, Any]


def refused(path: Path, reader: Callable[[Path], Any] = read) -> str:
    with pytest.raises(UserError) as caught:
        reader(path)
    message = str(caught.value)
    assert message.startswith(str(path))
    assert message.count("\n") <= 1
    assert message.replace("\n", "").isprintable()
    return message


def npy() -> bytes:
    stream = io.BytesIO()
    np.save(stream, np.ones((3, 4)))
    return stream.getvalue()


def tar() -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as file:
        file.addfile(tarfile.TarInfo("a.h5"))
    return stream.getvalue()


def zipped(*names: str) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as file:
        for name in names:
            file.writestr(name, b"x")
    return stream.getvalue()


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.npy", npy(), "is a single NumPy array"),
        ("a.h5.gz", gzip.compress(b"x" * 99), "is compressed with gzip; unpack it (gunzip)"),
        ("a.tar", tar(), "is a tar archive"),
        ("a.zip", zipped("b.h5", "c.txt"), "is a zip archive without .npy arrays; unpack it"),
        ("a.xlsx", zipped("[Content_Types].xml", "xl/workbook.xml"), "is an Office document"),
        ("a.csv", b"audio,visual\n1,2\n" * 400, "is text (CSV?)"),
        ("a.csv", b"x" * 1023 + "ü".encode() + b"x", "is text (CSV?)"),
        ("a.json", json.dumps({"audio": [1]}).encode(), "is JSON"),
        ("a.h5", b"", "is empty; download or write it again"),
        ("a.h5", bytes(5000), "begins with zero bytes only"),
        ("a.h5", b"\r\n<!DOCTYPE html><html lang='en'>", "is a web page, not the file itself"),
        ("a.npz", b"version https://git-lfs.github.com/spec/v1\noid sha256:ab\n", "git lfs pull"),
        ("a.wav", b"RIFF\0\0\0\0WAVE", "is a picture, sound or video"),
        ("a.mp4", b"\0\0\0\x18ftypmp42" + bytes(20), "is a picture, sound or video"),
        ("shard.tfrecord", b"1234567890", "give the folder that holds the shards"),
        ("a.pkl", b"(dp0\n.", "is a pickle, which avtune never reads"),
    ],
    ids=lambda value: value if isinstance(value, str) else "bytes",  # which hold the time
)
def test_the_kind_is_named(tmp_path: Path, name: str, content: bytes, said: str) -> None:
    (tmp_path / name).write_bytes(content)
    message = refused(tmp_path / name)
    assert said in message
    assert "damaged" not in message


def test_what_is_not_known_may_be_damaged(tmp_path: Path) -> None:
    (tmp_path / "a.h5").write_bytes(bytes(range(255, 0, -1)))
    assert "neither HDF5, .mat nor .npz: it begins with b'\\xff" in refused(tmp_path / "a.h5")


@pytest.mark.parametrize("kind", ["pickle", "torch", "old torch"])
def test_the_python_in_the_message_makes_a_dataset(
    arrays: Arrays, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.chdir(tmp_path)
    path = Path("it's (v2).bin")
    if kind == "pickle":
        path.write_bytes(pickle.dumps(arrays))
    else:
        tensors = {key: torch.from_numpy(value) for key, value in arrays.items()}
        torch.save(tensors, path, _use_new_zipfile_serialization=kind == "torch")
    message = refused(path)
    named = {"pickle": "a pickle, which avtune never reads"}
    assert f"is {named.get(kind, 'a PyTorch checkpoint')}" in message
    code = message.partition("in Python: ")[2]
    exec(
        code.replace("pickle.load(open(", "pickle.load(opened("),
        {"opened": lambda path, mode: io.BytesIO(Path(path).read_bytes())},
    )
    np.testing.assert_array_equal(read("it's (v2).npz").train.audio, arrays["audio_train"])


def test_embeddings_of_another_kind_are_named(tmp_path: Path) -> None:
    for name, content, said in (
        ("e.csv", b"clip,label\n", "is text (CSV?)"),
        ("e.h5", b"\x89HDF\r\n\x1a\n" + bytes(90), "is an HDF5 file"),
        ("e.npz", zipped("a.txt"), "is a zip archive without .npy arrays"),
        ("e.npy", npy(), "is a single NumPy array"),
    ):
        (tmp_path / name).write_bytes(content)
        message = refused(tmp_path / name, read_embeddings)
        assert said in message
        assert "audio_train" not in message


def test_an_encrypted_archive_is_not_damaged(arrays: Arrays, tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez(path, **arrays)
    content = bytearray(path.read_bytes())
    for sign, flags in ((b"PK\x01\x02", 8), (b"PK\x03\x04", 6)):
        at = -1
        while (at := content.find(sign, at + 1)) >= 0:
            bits = struct.unpack_from("<H", content, at + flags)[0]
            struct.pack_into("<H", content, at + flags, bits | 1)
    path.write_bytes(content)
    message = refused(path)
    assert "is encrypted" in message
    assert "damaged" not in message


def test_a_shard_that_is_something_else_is_named(tmp_path: Path) -> None:
    (tmp_path / "classes.csv").write_text("cat,0\ndog,1\n")
    for content, said in (
        (gzip.compress(os.urandom(99)), "compressed with gzip"),
        (b"<html>" + bytes(40), "a web page"),
    ):
        (tmp_path / "a.tfrecord").write_bytes(content)
        with pytest.raises(UserError, match=said) as caught:
            read(tmp_path)
        assert "a.tfrecord is" in str(caught.value)
