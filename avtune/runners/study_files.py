"""The files of a study for a process that trains: lane files, weights, and what code of the user's own prints.

Where the process sees the results folder it works on the files there. Elsewhere they travel to a process on the
driver's machine, which alone writes them (`file_server`), and back from there. No Ray here.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import IO, Any, Protocol, cast

from avtune.core.errors import StorageError
from avtune.core.files import using, write_bytes
from avtune.core.trial import Trial

PART = 4 << 20
"""Bytes of a file that travel at a time."""


class StudyFiles(Protocol):
    """Reaches the files of a study by the paths that its trials name. One thread calls it."""

    def write(self, path: Path, data: bytes) -> None:
        """Replaces a file as a whole. Its folder is made if need be, the one above is there.

        Raises:
            StorageError: it cannot be written; the file is as it was.
        """

    def reading(self, path: Path) -> AbstractContextManager[Path]:
        """In the block there is a file with that content on this machine, to be read only.

        Raises:
            OSError: the file cannot be read.
        """

    def received(self, trial: Trial) -> Trial:
        """The trial, with an `output` that can be written on this machine."""

    def sync(self) -> None:
        """What was printed so far is in the study afterwards.

        Raises:
            StorageError: it cannot be written there.
        """

    def close(self) -> None:
        """Takes away what it has made on this machine for itself."""


class SeenFiles:
    """On a machine that sees the results folder."""

    def write(self, path: Path, data: bytes) -> None:
        make_folder_of(path)
        write_bytes(path, data)

    @contextlib.contextmanager
    def reading(self, path: Path) -> Iterator[Path]:
        yield path

    def received(self, trial: Trial) -> Trial:
        return trial

    def sync(self) -> None:
        """Nothing."""

    def close(self) -> None:
        """Nothing."""


class SentFiles:
    """On a machine that does not.

    Args:
        call: calls a method of the `FileServer` on the driver's machine and waits for what it returns.
        put: takes a part of a file; what it returns is given to the server in its place.
    """

    def __init__(self, call: Callable[..., Any], put: Callable[[bytes], Any]) -> None:
        self._call, self._put = call, put
        self._outputs: dict[Path, Path] = {}  # the file of the study, by the folder of the one here
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    def write(self, path: Path, data: bytes) -> None:
        whole = memoryview(data)
        parts = [self._put(bytes(whole[at : at + PART])) for at in range(0, len(data), PART)]
        _check(self._call("write", str(path), parts))

    @contextlib.contextmanager
    def reading(self, path: Path) -> Iterator[Path]:
        with _in_memory() as file:
            version, size = _told(self._call("look", str(path)))
            for at in range(0, size, PART):
                found, data = _told(self._call("part", str(path), at, PART))
                if found != version:
                    raise OSError(f"{path} was replaced while it was read")
                file.write(data)
            file.flush()
            yield Path(f"/dev/fd/{file.fileno()}")

    def received(self, trial: Trial) -> Trial:
        if trial.output is None:
            return trial
        there = Path(trial.output)
        here = next((here for here, folder in self._outputs.items() if folder == there.parent), None)
        if here is None:
            here = self._new_folder()
            self._outputs[here] = there.parent
        return replace(trial, output=str(here / there.name))

    def sync(self) -> None:
        for here, there in self._outputs.items():
            for file in sorted(here.iterdir()):
                with using(file):
                    data = file.read_bytes()
                    os.truncate(file, 0)  # who prints appends to it
                if data:
                    _check(self._call("append", str(there / file.name), data))

    def _new_folder(self) -> Path:
        with using(Path(tempfile.gettempdir())):
            if self._folder is None:
                self._folder = tempfile.TemporaryDirectory(prefix="avtune-engine-")
            folder = Path(self._folder.name, str(len(self._outputs)))
            folder.mkdir()
        return folder

    def close(self) -> None:
        if self._folder is not None:
            self._folder.cleanup()
        self._folder, self._outputs = None, {}


def _check(error: str) -> None:
    if error:
        raise StorageError(error)


def _told(answer: Any) -> Any:
    """Raises:
    OSError: the server says why it has no answer.
    """
    if isinstance(answer, str):
        raise OSError(answer)
    return answer


def _in_memory() -> IO[bytes]:
    """A file that takes no room on this machine's disk, which may be small; on one without such files, it does."""
    if hasattr(os, "memfd_create"):
        return os.fdopen(os.memfd_create("avtune"), "w+b")
    return cast(IO[bytes], tempfile.TemporaryFile())


def make_folder_of(path: Path) -> None:
    """Makes the folder that a file of a study is to be in."""
    with using(path.parent):
        path.parent.mkdir(exist_ok=True)
