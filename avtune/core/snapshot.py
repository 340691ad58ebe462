"""What a folder holds at one moment, while other threads and processes write to it.

The files are looked at twice. If none has changed between the two looks, there was a moment between them at which all
were as they were seen: the state that a kill at that moment would have left.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

_TRIES = 200
_PAUSE = 0.005  # seconds, times the number of the try, before the next one
_LONGEST = 0.25


@dataclass(frozen=True)
class Stamp:
    """What tells a content of a file from another.

    Attributes:
        size: in bytes.
        inode: of the file.
        written, changed: when its content was last written, and its inode changed; nanoseconds since 1970.
    """

    size: int
    inode: int
    written: int
    changed: int

    @property
    def time(self) -> float:
        """When it was last written, in whole milliseconds as seconds since 1970."""
        return self.written // 1_000_000 / 1000


class Unsettled(Exception):
    """The files of a folder change faster than they can be looked at, or a file has been replaced since the look."""


def looked_at(
    folder: Path, wanted: Callable[[str], bool], pause: Callable[[float], None] = time.sleep
) -> dict[str, Stamp]:
    """The regular files below a folder at one moment, by their paths from it. Links are not followed.

    Args:
        wanted: says of such a path, of a file or a folder, whether it belongs to it.
        pause: waits for so many seconds.

    Raises:
        Unsettled: it was not still for a moment.
        OSError: the folder cannot be read.
    """
    before = _stamps(folder, wanted)
    for again in range(1, _TRIES + 1):
        now = _stamps(folder, wanted)
        if now == before:
            return now
        pause(min(_PAUSE * again, _LONGEST))
        before = _stamps(folder, wanted)
    raise Unsettled(str(folder))


def parts_of(path: Path, seen: Stamp, size: int, *, grows: bool) -> Iterator[bytes]:
    """The content that a file had when it was looked at, in parts of so many bytes.

    Args:
        grows: lines are added to the file and never changed, so that what was seen is its beginning.

    Raises:
        Unsettled: the file is another one by now.
    """
    try:
        with path.open("rb") as file:
            left = seen.size
            while left > 0:
                data = file.read(min(size, left))
                if not data:
                    raise Unsettled(str(path))
                left -= len(data)
                yield data
            now = _stamp(os.fstat(file.fileno()))
    except FileNotFoundError:
        raise Unsettled(str(path)) from None
    same = now.inode == seen.inode and now.size >= seen.size if grows else now == seen
    if not same:
        raise Unsettled(str(path))


def _stamps(folder: Path, wanted: Callable[[str], bool]) -> dict[str, Stamp]:
    return dict(_walk(str(folder), "", wanted))


def _walk(folder: str, inside: str, wanted: Callable[[str], bool]) -> Iterator[tuple[str, Stamp]]:
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except FileNotFoundError:
        if inside:  # deleted since it was listed
            return
        raise
    for entry in entries:
        name = f"{inside}{entry.name}"
        if not wanted(name):
            continue
        try:
            facts = entry.stat(follow_symlinks=False)
        except FileNotFoundError:
            continue
        if stat.S_ISDIR(facts.st_mode):
            yield from _walk(entry.path, f"{name}/", wanted)
        elif stat.S_ISREG(facts.st_mode):
            yield name, _stamp(facts)


def _stamp(facts: os.stat_result) -> Stamp:
    return Stamp(facts.st_size, facts.st_ino, facts.st_mtime_ns, facts.st_ctime_ns)
