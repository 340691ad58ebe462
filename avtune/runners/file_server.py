"""The process on the driver's machine that reads and writes a study's files for those that train on machines which do
not see the results folder.

A file of its own that imports next to nothing, as `mailbox` is.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from avtune.core.errors import StorageError
from avtune.core.files import write_parts
from avtune.core.output import Output


class FileServer:
    """A Ray actor. It keeps nothing between two calls, so that Ray may start it again, and holds one part of a file at
    a time. Errors are returned as texts: an exception would come back as one of Ray's.

    Args:
        fetch: gives the bytes of a part, from what `SentFiles` was given for it.
    """

    def __init__(self, fetch: Any = None) -> None:
        self._fetch = fetch or _fetched

    def write(self, path: str, parts: Sequence[Any]) -> str:
        """Replaces a file by these parts once all have come; says what is wrong, if anything. A sender that dies
        meanwhile leaves the file as it was."""
        file = Path(path)
        try:
            file.parent.mkdir(mode=0o700, exist_ok=True)
            write_parts(file, self._all(parts))
        except StorageError as error:
            return str(error)
        except OSError as error:
            return f"{path} cannot be written: {error.strerror or error}"
        return ""

    def look(self, path: str) -> tuple[str, int] | str:
        """What tells this content of a file from a later one, and its size; or what is wrong."""
        try:
            return _version(os.stat(path))
        except OSError as error:
            return f"{path} cannot be read: {error.strerror or error}"

    def part(self, path: str, at: int, size: int) -> tuple[str, bytes] | str:
        """What tells this content of a file from a later one, and so many bytes of it; or what is wrong."""
        try:
            with open(path, "rb") as file:
                file.seek(at)
                return _version(os.fstat(file.fileno()))[0], file.read(size)
        except OSError as error:
            return f"{path} cannot be read: {error.strerror or error}"

    def append(self, path: str, data: bytes) -> str:
        """Adds what was printed to a file, see `core.output`; says what is wrong, if anything."""
        output = Output(path)
        output.append(data)
        try:
            output.close()
        except StorageError as error:
            return str(error)
        return ""

    def _all(self, parts: Sequence[Any]) -> Iterator[bytes]:
        for part in parts:
            yield self._fetch(part)


def _version(facts: os.stat_result) -> tuple[str, int]:
    return f"{facts.st_ino} {facts.st_mtime_ns} {facts.st_size}", facts.st_size


def _fetched(part: Any) -> bytes:
    import ray

    data: bytes = ray.get(part)
    return data
