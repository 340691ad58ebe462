"""A folder of results in a bucket: numbered states, each a list of its files whose parts are objects named by their
content, and who works on it.

    objects/SHA256        a part of a file; never changed
    states/0000000007     the seventh state, made on the condition that there is none: of two that write it one does
    worker                who works on it, written again every few seconds while they do

A state is written after its parts, so that a kill at any moment leaves the state of before or the next one. Whoever
takes the folder over makes the next state first: what another still sends is refused from then on.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import PurePosixPath
from typing import Any

from avtune.core.errors import UserError
from avtune.core.object_store import ObjectStore
from avtune.core.schema import misfit

PART = 4 << 20
"""Bytes of a part. A file that grows is sent again from its last part on."""
KEPT = 2
"""States that are kept: who reads the one before the last has time to end."""
_STATES, _OBJECTS, _WORKER = "states", "objects", "worker"
_TRIES = 5
_FILE = {"size": int, "time": float, "parts": [str]}
_STATE = {"format": int, "by": str, "owner": str, "files": {str: _FILE}}
_WORKER_SHAPE = {"by": str, "owner": str, "process": int, "machine": str, "sign": int, "time": float, "ended": bool}
_FORMAT = 1
_LATEST = 1e11  # seconds since 1970 that a file system can keep


@dataclass(frozen=True)
class File:
    """A file of a state.

    Attributes:
        size: in bytes.
        time: when it was last written, in seconds since 1970.
        parts: SHA-256 of its parts, in order.
    """

    size: int
    time: float
    parts: tuple[str, ...]


@dataclass(frozen=True)
class State:
    """What the folder held at one moment.

    Attributes:
        number: from 1.
        by: a random text that the process which wrote it had.
        owner: that process, for people.
        files: by their paths from the folder, with `/`.
    """

    number: int
    by: str
    owner: str
    files: Mapping[str, File] = field(default_factory=dict)

    @property
    def parts(self) -> set[str]:
        """The objects that it needs."""
        return {part for file in self.files.values() for part in file.parts}


@dataclass(frozen=True)
class Worker:
    """Who works on the folder.

    Attributes:
        by, owner: see `State`.
        process, machine: its number, and what tells this machine from others.
        sign: grows while it is alive.
        time: of that sign, in seconds since 1970 by its clock.
        ended: it has gone in order.
    """

    by: str
    owner: str
    process: int
    machine: str
    sign: int
    time: float
    ended: bool = False


class Gone(Exception):
    """A state, or a part of one, has been deleted because newer ones have been written."""


class Damaged(UserError):
    """An object does not hold what it should."""


class RemoteStates:
    """The states of one folder of results.

    Args:
        store: where they are.
    """

    def __init__(self, store: ObjectStore) -> None:
        self.store = store
        self._states, self._objects = store.below(_STATES), store.below(_OBJECTS)

    def latest(self) -> State | None:
        """The last state; None where there is none.

        Raises:
            StorageError: the store does not answer.
            UserError: the state is damaged, or a newer avtune wrote it.
        """
        for _ in range(_TRIES):
            numbers = self.numbers()
            if not numbers:
                return None
            with contextlib.suppress(Gone):
                return self.state(numbers[-1])
        raise UserError(f"{self.store.url} changes faster than it can be read; try again")

    def add(self, state: State) -> bool:
        """Writes the next state; False where another process has written one of its number, or later ones: the number
        is free again once `tidy` has deleted its state, and a machine may have slept for so long."""
        files = {name: asdict(file) for name, file in state.files.items()}
        record = {"format": _FORMAT, "by": state.by, "owner": state.owner, "files": files}
        if not self._states.create(_name(state.number), json.dumps(record, separators=(",", ":")).encode()):
            return False
        if self.numbers()[-1] > state.number:
            self._states.delete([_name(state.number)])
            return False
        return True

    def overtaken(self, state: State) -> bool:
        """Whether another process has written a later state than this one."""
        numbers = self.numbers()
        if not numbers or numbers[-1] <= state.number:
            return False
        try:
            return self.state(numbers[-1]).by != state.by
        except Gone:  # for a later one still
            return True

    def part(self, digest: str) -> bytes:
        """A part of a file.

        Raises:
            Gone: it is not there any more.
            UserError: it has changed since it was written.
        """
        try:
            data = self._objects.read(digest)
        except FileNotFoundError:
            raise Gone(digest) from None
        if hashlib.sha256(data).hexdigest() != digest:
            raise UserError(f"{self._objects.url}/{digest} is damaged; restore it from a copy")
        return data

    def add_part(self, digest: str, data: bytes) -> None:
        """Writes a part."""
        self._objects.write(digest, data)

    def parts(self) -> set[str]:
        """The parts that are there."""
        return set(self._objects.names())

    def tidy(self, last: State, needed: Iterable[str], there: Iterable[str]) -> set[str]:
        """Deletes what only states need that are not kept any more; only for who works on the folder.

        Args:
            last: the last state.
            needed: parts of the states that are kept.
            there: parts that are there.

        Returns:
            The parts that are there afterwards.
        """
        self._states.delete(_name(number) for number in self.numbers() if number <= last.number - KEPT)
        kept = set(needed)
        old = set(there) - kept
        self._objects.delete(old)
        return set(there) - old

    def worker(self) -> Worker | None:
        """Who works on the folder, or was the last to do so; None where nobody ever has.

        Raises:
            Damaged: nobody can tell; whoever works on it writes that again within seconds.
            StorageError: the store does not answer.
        """
        try:
            data = self.store.read(_WORKER)
        except FileNotFoundError:
            return None
        return Worker(**_checked(data, _WORKER_SHAPE, f"{self.store.url}/{_WORKER}", tuple(_WORKER_SHAPE)))

    def set_worker(self, worker: Worker) -> None:
        """Says who works on it."""
        self.store.write(_WORKER, json.dumps(asdict(worker)).encode())

    def numbers(self) -> list[int]:
        """Those of the states that are there, in order."""
        return sorted(int(name) for name in self._states.names() if name.isdecimal())

    def state(self, number: int) -> State:
        """One of them.

        Raises:
            Gone: it is not there any more.
            UserError: it is damaged, or a newer avtune wrote it.
        """
        where = f"{self._states.url}/{_name(number)}"
        try:
            data = self._states.read(_name(number))
        except FileNotFoundError:
            raise Gone(where) from None
        record = _checked(data, _STATE, where, tuple(_STATE))
        if record["format"] > _FORMAT:
            raise UserError(f"{where} was written by a newer avtune (format {record['format']}); update this one")
        files = {name: File(one["size"], one["time"], tuple(one["parts"])) for name, one in record["files"].items()}
        for name, file in files.items():
            _check_path(name, where)
            if len(file.parts) != -(-file.size // PART) or not all(_is_digest(part) for part in file.parts):
                raise UserError(f"{where} is damaged: the parts of {name[:60]!r}; restore it from a copy")
            if not 0 <= file.time < _LATEST:
                raise UserError(f"{where} is damaged: the time of {name[:60]!r}; restore it from a copy")
        return State(number, record["by"], record["owner"], files)


def _name(number: int) -> str:
    return f"{number:010d}"


def _checked(data: bytes, shape: Any, where: str, names: tuple[str, ...]) -> dict[str, Any]:
    try:
        record = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise Damaged(f"{where} is damaged ({error}); restore it from a copy") from None
    if (wrong := misfit(record, shape)) is not None:
        raise Damaged(f"{where} is damaged: {wrong}; restore it from a copy")
    return {name: record[name] for name in names}


def _check_path(name: str, where: str) -> None:
    """A path in a state is one below the folder, whoever wrote it."""
    parts = PurePosixPath(name).parts
    odd = not parts or name.startswith("/") or ".." in parts or any(sign in name for sign in "\\\0")
    if odd or str(PurePosixPath(name)) != name:
        raise UserError(f"{where} is damaged: {name[:60]!r} is no path in it; restore it from a copy")


def _is_digest(text: str) -> bool:
    return len(text) == 64 and set(text) <= set("0123456789abcdef")
