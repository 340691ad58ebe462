"""The lock of the copy of a study on this machine: whoever works on a copy holds it from beginning to end, and whoever
only reads does so while the last state is brought, so that no folder is replaced under another process."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from avtune.core.errors import UserError
from avtune.core.files import private_opener, using
from avtune.core.locks import lock

_PAUSE = 0.2  # seconds before the lock is tried again
_WORKS, _BRINGS = "works", "brings"
_WAY_OUT = "set XDG_CACHE_HOME to a folder on a disk of this machine, or have it mounted with locks"


class CopyLock:
    """A file beside the copy, because the copy itself is replaced. Other users' processes have copies of their own.

    Args:
        folder: of the copy.
        say: takes a line for the terminal.
        sleep: waits for so many seconds.
    """

    def __init__(self, folder: Path, say: Callable[[str], None], sleep: Callable[[float], None] = time.sleep) -> None:
        self._folder, self._say, self._sleep = folder, say, sleep
        self._path = folder.parent / f".{folder.name}.lock"
        self._file: IO[str] | None = None

    def hold(self) -> None:
        """Takes it until `release`, for a process that works on the copy. While another process brings the copy, this
        one waits.

        Raises:
            UserError: another process works on the copy, or there are no file locks.
            StorageError: the file of the lock cannot be written.
        """
        owner = self._take(_WORKS)
        if owner is not None:
            raise UserError(
                f"{self._folder} is being worked on by another avtune ({owner}); wait for it, stop it, or choose "
                "another --name"
            )

    @contextlib.contextmanager
    def while_it_is_brought(self) -> Iterator[bool]:
        """In the block no other process replaces the copy or begins to work on it; gives False where one works on it
        already: then the copy is newer than anything in the store. While another process brings the copy, this one
        waits.

        Raises:
            UserError: there are no file locks.
            StorageError: the file of the lock cannot be written.
        """
        owner = self._take(_BRINGS)
        try:
            yield owner is None
        finally:
            self.release()

    def release(self) -> None:
        """Lets it go; without effect where it is not held."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _take(self, what: str) -> str | None:
        """Returns None once this process has it, or the process that works on the copy."""
        said = False
        with using(self._path):
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            file = open(self._path, "a+", opener=private_opener)  # noqa: SIM115
        try:
            while not self._locked(file):
                file.seek(0)
                does, _, owner = file.read().partition(" ")
                if does == _WORKS:
                    return owner
                if not said:
                    self._say(f"note: {self._folder} is being brought by another avtune; waiting for it")
                    said = True
                self._sleep(_PAUSE)
            with using(self._path):
                file.truncate(0)
                file.write(f"{what} process {os.getpid()} on {os.uname().nodename}")
                file.flush()
            self._file = file
        finally:
            if self._file is not file:
                file.close()
        return None

    def _locked(self, file: IO[str]) -> bool:
        try:
            with using(self._path):
                lock(file, self._path.parent, _WAY_OUT)
        except BlockingIOError:
            return False
        return True
