"""What is done to a command from inside, at one of its file operations: a moment that a seed can name.

A process counts its own operations on files below a folder: opening for writing, writing, syncing, replacing, deleting,
making folders. At the n-th one it is killed, ends itself by a signal, finds the disk full from then on, or waits.
"""

from __future__ import annotations

import errno
import os
import re
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

KILL, TERM, INT, FULL, WAIT = "SIGKILL", "SIGTERM", "SIGINT", "disk full", "waits"
PLACES = (
    "",
    "journal.log",
    "curves.jsonl",
    "repeats.jsonl",
    "scored.jsonl",
    "best.yaml",
    "study.yaml",
    "trials.csv",
    "final/",
    "final/seeds/",
    "checkpoints/",
    "tensorboard/",
    "report.html",
    "retrained",
)
"""Which operations count: those on paths that hold this text. Places that are written rarely are met as often as
those that are written all the time."""
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT
_TORN = re.compile(r"(^|/)\.([^/]+)-[A-Za-z0-9_]{8}(?=/|$)")  # a file that is to replace another, named for a moment


@dataclass(frozen=True)
class Trap:
    """
    Attributes:
        what: one of the words above.
        place: of `PLACES`.
        at: which of these operations, from 1.
        half: a write is done by half first.
    """

    what: str
    place: str = ""
    at: int = 1
    half: bool = False

    def __str__(self) -> str:
        return f"{self.what} at operation {self.at} on {self.place or 'any file'}{', half done' * self.half}"


def plant(trap: Trap, root: Path, sprung: Path) -> None:
    """Lays the trap in this process. It cannot be taken away: for processes made for one command.

    Args:
        root: operations below it count, but for its locks.
        sprung: written when the trap springs, with the operation.
    """
    note, write = os.open(sprung, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), os.write
    counter = _Counter(trap, f"{root.resolve()}/", lambda text: write(note, text.encode()))
    _wrap(counter)
    sys.addaudithook(counter.audited)


class _Counter:
    def __init__(self, trap: Trap, root: str, say: Callable[[str], Any]) -> None:
        self._trap, self._root, self._say = trap, root, say
        self._seen = 0
        self.full = False

    def audited(self, event: str, words: tuple[Any, ...]) -> None:
        """Python tells of these before they are done."""
        if event == "open":
            path, _, flags = words
            if isinstance(flags, int) and flags & _WRITES:
                self.before("open", path)
        elif event in ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate"):
            self.before(event.removeprefix("os."), words[0])

    def before(self, operation: str, path: Any) -> bool:
        """Counts an operation and springs the trap where it is the one. Returns whether a half is to be done first."""
        if not isinstance(path, str | bytes | os.PathLike) or self.full:
            return False
        name = os.path.abspath(os.fsdecode(path))
        if not name.startswith(self._root):
            return False
        name = _TORN.sub(r"\1\2", name.removeprefix(self._root))
        if name.endswith("/lock") or self._trap.place not in name:
            return False
        self._seen += 1
        if self._seen != self._trap.at:
            return False
        self._say(f"{operation} {name}")
        if self._trap.half and operation == "write":
            return True
        self.spring()
        return False

    def spring(self) -> None:
        if self._trap.what == FULL:
            self.full = True
            return
        numbers = {KILL: signal.SIGKILL, TERM: signal.SIGTERM, INT: signal.SIGINT, WAIT: signal.SIGSTOP}
        os.kill(os.getpid(), numbers[self._trap.what])

    def of(self, handle: int) -> str:
        try:
            return os.readlink(f"/proc/self/fd/{handle}")
        except OSError:
            return ""

    def refuse(self, path: str) -> None:
        if self.full and path.startswith(self._root):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _wrap(counter: _Counter) -> None:
    """Has `os.write` and `os.fsync`, of which Python tells nobody, count too."""
    write, fsync = os.write, os.fsync

    def written(handle: int, data: bytes) -> int:
        path = counter.of(handle)
        counter.refuse(path)
        if counter.before("write", path):
            done = write(handle, data[: len(data) // 2]) if len(data) > 1 else 0
            counter.spring()
            if done:
                return done
        counter.refuse(path)
        return write(handle, data)

    def synced(handle: int) -> None:
        path = counter.of(handle)
        counter.refuse(path)
        counter.before("sync", path)
        counter.refuse(path)
        fsync(handle)

    os.write, os.fsync = written, synced
