"""What a file that is no dataset is, by its first bytes, and how to make a dataset of it. Nothing of it is unpacked."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

HEAD_BYTES = 1024
"""The first bytes of a file, which are enough to know its kind."""
_PACKED = (  # magic bytes, name, what unpacks it
    (b"\x1f\x8b", "gzip", "gunzip"),
    (b"BZh", "bzip2", "bunzip2"),
    (b"\xfd7zXZ\x00", "xz", "unxz"),
    (b"\x28\xb5\x2f\xfd", "Zstandard", "unzstd"),
    (b"7z\xbc\xaf\x27\x1c", "7z", "7z x"),
    (b"Rar!\x1a\x07", "RAR", "unrar x"),
)
_OLD_TORCH = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."  # a pickled number that torch.save wrote until 2020
_MEDIA = (b"OggS", b"ID3", b"fLaC", b"\x1aE\xdf\xa3", b"\x89PNG", b"\xff\xd8\xff", b"FLV\x01")


def kind_of(path: Path, head: bytes, keys: Sequence[str]) -> str | None:
    """What the file is and what to do, for a message that begins with its path; None for a kind that is not known.

    Args:
        head: its first `HEAD_BYTES`, or all of it when it is shorter.
        keys: the arrays that are wanted of it.
    """
    if path.suffix == ".tfrecord":
        return "is a TFRecord shard; give the folder that holds the shards"
    return lost_or_packed(head) or _arrays(path, head, keys) or _media(head) or _text(path, head, keys)


def kind_of_zip(path: Path, members: Iterable[str], keys: Sequence[str]) -> str:
    """As `kind_of`, for a zip archive that holds no `.npy` array."""
    names = list(members)
    if any(re.fullmatch(r"(?:[^/]*/)?data\.pkl", name) for name in names):
        return _checkpoint(path, keys)
    if "[Content_Types].xml" in names:
        return f"is an Office document, e.g. an Excel table; {_written(path, keys)}"
    return "is a zip archive without .npy arrays; unpack it, and give the file or folder in it"


def turned_round(path: Path, keys: Sequence[str], *, hdf5: bool) -> str:
    """As `kind_of`, for a file of arrays [dims, clips], as HDF5 shows those of MATLAB 7.3.

    Args:
        hdf5: it is HDF5; else .npz.
    """
    module, load = ("h5py", "h5py.File") if hdf5 else ("numpy", "numpy.load")
    code = _converted(path, module, f"{load}({_quoted(path)})", keys, "d[k][()].T" if hdf5 else "d[k].T")
    return f"holds its arrays turned round, [dims, clips], as MATLAB 7.3 leaves them; {code}"


def lost_or_packed(head: bytes) -> str | None:
    """As `kind_of`, for what may come in place of any file: a download that failed, or a compressed file."""
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if not head:
        return "is empty; download or write it again"
    if not head.strip(b"\x00"):
        return "begins with zero bytes only: it was not written to its end; download or write it again"
    if start.startswith((b"<!doctype html", b"<html")):
        return (
            "is a web page, not the file itself: the link led to a page that asks or warns\n"
            "open the link in a browser and download the file from there"
        )
    if start.startswith(b"version https://git-lfs"):
        return "is a Git LFS pointer, which stands for the file; fetch the file itself: git lfs pull"
    if head[257:262] == b"ustar":
        return "is a tar archive; unpack it (tar -xf), and give the file or folder in it"
    for magic, name, command in _PACKED:
        if head.startswith(magic):
            return f"is compressed with {name}; unpack it ({command}), and give the file or folder in it"
    return None


def _arrays(path: Path, head: bytes, keys: Sequence[str]) -> str | None:
    """Files of arrays in other formats."""
    if head.startswith(b"MATLAB 5.0 MAT-file"):
        return f"is a MATLAB 5 file; {_converted(path, 'scipy.io', f'scipy.io.loadmat({_quoted(path)})', keys)}"
    if head.startswith(b"\x93NUMPY"):
        return f"is a single NumPy array, and {len(keys)} of them in one .npz are wanted; {_written(path, keys)}"
    if head.startswith(_OLD_TORCH):
        return _checkpoint(path, keys)
    if re.match(rb"\x80[\x02-\x05]", head) or path.suffix in (".pkl", ".pickle"):
        load = f"pickle.load(open({_quoted(path)}, 'rb'))"
        return (
            "is a pickle, which avtune never reads: reading one can run code. "
            f"If you trust it, {_converted(path, 'pickle', load, keys)}"
        )
    if head.startswith(b"\x89HDF\r\n\x1a\n"):
        return f"is an HDF5 file; {_converted(path, 'h5py', f'h5py.File({_quoted(path)})', keys, 'd[k][()]')}"
    if head.startswith(b"PAR1"):
        return f"is a Parquet table (pandas.read_parquet reads it); {_written(path, keys)}"
    if head.startswith(b"ARROW1"):
        return f"is an Arrow table (pyarrow.feather reads it); {_written(path, keys)}"
    return None


def _checkpoint(path: Path, keys: Sequence[str]) -> str:
    load = f"torch.load({_quoted(path)}, weights_only=True)"
    return f"is a PyTorch checkpoint; {_converted(path, 'torch', load, keys, 'd[k].numpy()')}"


def _media(head: bytes) -> str | None:
    if head.startswith(_MEDIA) or head[4:8] == b"ftyp" or head.startswith(b"RIFF"):
        return (
            "is a picture, sound or video; avtune reads feature vectors, extracted from such files by another program"
        )
    return None


def _text(path: Path, head: bytes, keys: Sequence[str]) -> str | None:
    try:  # a letter may be cut at the end of the head
        text = codecs.getincrementaldecoder("utf-8")().decode(head, final=len(head) < HEAD_BYTES)
    except UnicodeDecodeError:
        return None
    if not all(letter.isprintable() or letter in "\t\r\n\f" for letter in text):
        return None
    return f"is {'JSON' if text.lstrip()[:1] in ('{', '[') else 'text (CSV?)'}; {_written(path, keys)}"


def _converted(path: Path, module: str, load: str, keys: Sequence[str], item: str = "d[k]") -> str:
    """Python that writes the arrays of a file that can be loaded like a dict."""
    names = f"'{' '.join(keys)}'.split()"
    modules = "numpy" if module == "numpy" else f"numpy, {module}"
    return f"in Python: import {modules}; d = {load}\nnumpy.savez({_npz(path)}, **{{k: {item} for k in {names}}})"


def _written(path: Path, keys: Sequence[str]) -> str:
    return f"write the arrays in Python:\nnumpy.savez({_npz(path)}, {', '.join(f'{key}=...' for key in keys)})"


def _npz(path: Path) -> str:
    return _quoted(path.with_suffix(".arrays.npz" if path.suffix == ".npz" else ".npz"))


def _quoted(path: Path) -> str:
    return ascii(str(path))
