from __future__ import annotations

import io
import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from avtune.core.errors import UserError
from avtune.data import read

Arrays = dict[str, Any]


def refused(path: Path) -> str:
    with pytest.raises(UserError) as caught:
        read(path)
    message = str(caught.value)
    assert message.startswith(str(path))
    assert message.count("\n") <= 1
    return message


def rewrite(path: Path, member: str, content: bytes) -> None:
    """Replaces one member of an .npz file."""
    with zipfile.ZipFile(path) as file:
        members = {name: file.read(name) for name in file.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, old in members.items():
            file.writestr(name, content if name == member else old)


@pytest.fixture
def path(arrays: Arrays, tmp_path: Path) -> Path:
    np.savez(tmp_path / "features.npz", **arrays)
    return tmp_path / "features.npz"


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_six_keys(arrays: Arrays, tmp_path: Path, save: Any) -> None:
    path = tmp_path / "features.npz"
    arrays["visual_train"] = np.asfortranarray(arrays["visual_train"].astype(">f8"))
    save(path, **arrays, class_names=np.array(["a", "b", "c"]))
    dataset = read(path)
    np.testing.assert_array_equal(dataset.train.visual, arrays["visual_train"])
    np.testing.assert_array_equal(dataset.test.audio, arrays["audio_test"])
    assert (dataset.name, dataset.class_names) == ("features", ("a", "b", "c"))


def test_labels_as_text(arrays: Arrays, path: Path) -> None:
    digest = read(path).digest
    for dtype in (str, "S4", float):
        np.savez(path, **{key: x.astype(dtype) if key.startswith("lab") else x for key, x in arrays.items()})
        assert read(path).digest == digest


def test_missing_key(arrays: Arrays, path: Path) -> None:
    arrays["label_test"] = arrays.pop("lab_test")
    np.savez(path, **arrays)
    assert "has no key 'lab_test'; did you mean 'label_test'?" in refused(path)


def test_objects_are_never_unpickled(arrays: Arrays, path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> Any:
            return (pytest.fail, ("unpickled",))

    np.savez(path, **{**arrays, "lab_test": np.array([Bomb()] * 6, object)})
    assert "lab_test holds Python objects, which are never read" in refused(path)


@pytest.mark.parametrize(
    ("shape", "said"),
    [
        ("(1000000000, 1000000)", "declares 4000000000000000 bytes and the file holds 72; it is damaged"),
        ("(6, 4)", "declares 96 bytes and the file holds 72; it is damaged"),
        ("(6, -3)", "declares -72 bytes and the file holds 72; it is damaged"),
    ],
)
def test_wrong_declared_shape_is_refused_before_reading(path: Path, shape: str, said: str) -> None:
    stream = io.BytesIO()
    np.lib.format.write_array(stream, np.zeros((6, 3), np.float32))
    content = stream.getvalue().replace(b"(6, 3)", shape.encode())
    size = int.from_bytes(content[8:10], "little") + len(shape) - len("(6, 3)")
    rewrite(path, "visual_test.npy", content[:8] + size.to_bytes(2, "little") + content[10:])
    assert said in refused(path)


def test_too_large_for_the_memory_is_refused_before_reading(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("avtune.data.arrays.available_memory", lambda: 1000)
    monkeypatch.setattr(np.lib.format, "read_array", lambda *_, **__: pytest.fail("read"))
    message = refused(path)
    assert "audio_train declares shape (12, 10) of float32" in message
    assert "is available here" in message


@pytest.mark.parametrize("order", "<>")
def test_letters_that_there_are_not_are_damage(path: Path, order: str) -> None:
    words = np.array(["cat", "dog", "owl"] * 4, f"{order}U3")
    stream = io.BytesIO()
    np.lib.format.write_array(stream, words)
    rewrite(path, "lab_train.npy", stream.getvalue()[:-4] + b"\x7f" * 4)
    assert "lab_train cannot be read" in refused(path)


def test_endless_header_is_refused(path: Path) -> None:
    rewrite(path, "audio_test.npy", b"\x93NUMPY\x02\x00" + (2**24).to_bytes(4, "little") + b" " * 2**24)
    tracemalloc.start()
    assert "audio_test cannot be read" in refused(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2**22


def test_other_npy_version_is_refused(path: Path) -> None:
    rewrite(path, "audio_test.npy", b"\x93NUMPY\x03\x00" + bytes(100))
    assert "audio_test is in .npy format 3.0" in refused(path)


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_damage_gives_a_user_error_or_a_dataset(arrays: Arrays, tmp_path: Path, data: st.DataObject) -> None:
    stream = io.BytesIO()
    np.savez_compressed(stream, **arrays)
    content = bytearray(stream.getvalue())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path / "damaged.npz"
    path.write_bytes(content[: data.draw(st.integers(1, len(content)))] if data.draw(st.booleans()) else content)
    try:
        dataset = read(path)
    except UserError:
        return
    assert len(dataset.train) == 12
