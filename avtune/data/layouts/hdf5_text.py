"""Reads text of any length from an HDF5 file in a process of its own.

The HDF5 library keeps such text in heaps that it follows without end when they are damaged, and nothing stops it there
but the end of its process. Run as a script, which imports nothing of ours; `read_texts` starts it.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Literal

MAX_TEXT = 200
"""Characters of one text of an array."""
MAX_ATTRIBUTE = 1_000_000
"""Characters of an attribute."""
CPU_SECONDS = 20
_SECONDS = 120
_MEMORY = 4 << 30
_NOT_DAMAGED = 3  # exit code
_BLOCK = 256  # rows read at a time, so that many references to one long text cannot fill memory


class NotDamaged(ValueError):
    """The text can be read, and is not what is asked for."""


def read_texts(path: str, kind: Literal["array", "attribute"], name: str) -> list[str]:
    """The texts of an array at the root of a file, in C order, or the one text of an attribute of the root.

    Raises:
        NotDamaged: one is too long, or not UTF-8.
        ValueError: they cannot be read; says why.
    """
    command = [sys.executable, "-P", "-W", "ignore", __file__, path, kind, name, str(CPU_SECONDS)]
    try:
        ended = subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL, timeout=_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        raise ValueError("reading its text takes too long") from None
    if ended.returncode < 0:
        raise ValueError("the HDF5 library does not come to an end with its text")
    if ended.returncode:
        lines = ended.stderr.decode(errors="replace").strip().splitlines()
        said = lines[-1] if lines else "its text cannot be read"
        raise NotDamaged(said) if ended.returncode == _NOT_DAMAGED else ValueError(said)
    texts: list[str] = json.loads(ended.stdout)
    return texts


def _main(path: str, kind: str, name: str, seconds: str) -> None:
    import resource

    import h5py

    limits = [(resource.RLIMIT_CPU, int(seconds)), (resource.RLIMIT_CORE, 0)]
    with contextlib.suppress(OSError):  # no Linux: memory is not limited
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        limits.append((resource.RLIMIT_AS, _MEMORY + pages * resource.getpagesize()))
    for which, most in limits:
        hard = resource.getrlimit(which)[1]
        resource.setrlimit(which, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard))
    texts: list[str] = []
    with h5py.File(path, "r", locking=False) as file:
        if kind == "attribute":
            texts.append(_text(file.attrs[name], MAX_ATTRIBUTE))
        else:
            array = file[name]
            for start in range(0, len(array), _BLOCK):
                texts += [_text(item, MAX_TEXT) for item in array[start : start + _BLOCK].reshape(-1)]
    json.dump(texts, sys.stdout)
    sys.stdout.flush()


def _text(item: object, most: int) -> str:
    try:
        text = item.decode("utf-8") if isinstance(item, bytes) else str(item)
    except UnicodeDecodeError:
        raise NotDamaged("it holds text that is not UTF-8; write it again as UTF-8") from None
    if len(text) > most:
        raise NotDamaged(f"it holds a text of {len(text)} characters; at most {most} are read")
    return text


if __name__ == "__main__":
    try:
        _main(*sys.argv[1:])
    except Exception as error:
        print(" ".join(str(error).split()) or type(error).__name__, file=sys.stderr)
        sys.exit(_NOT_DAMAGED if isinstance(error, NotDamaged) else 1)
