"""The copy of a folder of a bucket on this machine, on which avtune works: brought from there, and sent to it."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any

from avtune.core.errors import UserError
from avtune.core.files import private_files, using, write_text
from avtune.core.names import legal_name
from avtune.core.snapshot import Stamp, Unsettled, looked_at, parts_of
from avtune.study.folder import StudyFolder
from avtune.workflows.remote_states import KEPT, PART, File, Gone, RemoteStates, State

_GROWS = ("curves.jsonl", "journal.log", "repeats.jsonl", "scored.jsonl", "log.txt")
_TRIES = 5
_LANES = "lanes"
_HERE = ("lock", "finish")  # of a process of this machine
_COUNTS = ("curves.jsonl", "journal.log", "repeats.jsonl", "scored.jsonl")  # lines that no command makes again


class TakenOver(UserError):
    """Another process has written the next state of the folder."""


class NotThere(UserError):
    """A study is here, but not in the store."""


class _Used(Exception):
    """A process of this machine has begun to work on the copy while a state was brought."""


def copies_of(url: str) -> Path:
    """The folder on this machine for copies of the studies of a URL.

    Raises:
        UserError: the user has no home folder, and `XDG_CACHE_HOME` names no other place.
    """
    try:
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    except RuntimeError:
        raise UserError(
            f"--results {url} works on copies below the home folder, and this user has none; set XDG_CACHE_HOME to a "
            "folder on a disk of this machine"
        ) from None
    last = legal_name(url.rstrip("/").rpartition("/")[2], 40)
    return cache / "avtune" / "results" / f"{last}-{hashlib.sha256(url.rstrip('/').encode()).hexdigest()[:12]}"


class RemoteCopy:
    """A folder of results: a study, as it is here and in the store. Whoever calls holds its `CopyLock`.

    Args:
        states: of the folder in the store.
        folder: here; its name is the study's.
        say: takes a line for the terminal.
    """

    def __init__(self, states: RemoteStates, folder: Path, say: Callable[[str], None] = lambda line: None) -> None:
        self.states, self.folder, self._say = states, folder, say
        self._record = folder.parent / f".{folder.name}.json"  # beside it: it is no part of the study
        self._known: dict[str, tuple[Stamp, File]] = {}
        self._there: set[str] | None = None
        self._needed: list[set[str]] = []
        self.state: State | None = None

    # -- from there

    def fetch(self) -> bool:
        """Makes the copy here the last state there, unless it is that one with what this machine has added since. Where
        a process elsewhere has continued the study, what this machine has not sent is kept under another name.

        Returns:
            Whether there is something here now; a copy of what has been deleted there counts, see `check_there`.

        Raises:
            StorageError: the store, or this machine's disk, does not serve.
            UserError: what is there is damaged.
        """
        self._clear_torn()
        for _ in range(_TRIES):
            state = self.states.latest()
            self.state = state
            if state is None or self._stays(state):
                return self.folder.is_dir()
            with contextlib.suppress(Gone, _Used):
                self._bring(state)
                return bool(state.files)
        raise UserError(f"{self.states.store.url} changes faster than it can be read; try again")

    def check_there(self, makes: bool) -> None:
        """
        Args:
            makes: whether the command makes a study where there is none.

        Raises:
            NotThere: what was to be fetched has been deleted there after it was brought from there, or sent; or the
                command makes no study, and one that was never there is here.
        """
        if self.state is not None or not self.folder.is_dir():
            return
        url = self.states.store.url
        if not makes:
            raise NotThere(f"{url} is not in the bucket; a copy of it is in {self.folder}")
        if self._recorded() is not None:
            raise NotThere(
                f"{url} is not in the bucket any more, and {self.folder} is a copy of it\n"
                "delete that folder to begin anew, or choose another --name"
            )

    def claim(self, owner: str) -> None:
        """Makes the next state, with the files of the last one: from now on this process alone adds states.

        Raises:
            TakenOver: another one has just done so.
            UserError: the store makes states in spite of the condition that there is none of their number.
        """
        last = self.state
        by = secrets.token_hex(16)
        claimed = State(1 if last is None else last.number + 1, by, owner, {} if last is None else last.files)
        before = self._recorded()
        self._write_record(last, by)  # first: a kill after the next line leaves a state that is known to be from here
        if self._added(claimed) is None:
            self._put_record(before)
            raise TakenOver(f"{self.states.store.url} has just been taken by another avtune; try again")
        if self.states.add(claimed):
            raise UserError(
                f"{self.states.store.url}: this store knows no conditional writes (If-None-Match), without which two "
                "searches of one study cannot be kept apart; use another one, or a folder"
            )
        self.state = claimed
        self._needed = [claimed.parts]

    def _stays(self, state: State) -> bool:
        """Whether there is a copy here that must not be replaced by that state."""
        used = StudyFolder(self.folder).holder() is not None
        return self.folder.is_dir() and (used or self._is_from_here(state))

    def _is_from_here(self, state: State) -> bool:
        """Whether the copy here is that state, or continues it: the last process that worked on it here wrote it."""
        record = self._recorded()
        return record is not None and (record["by"] == state.by or record["from"] == [state.number, state.by])

    def _recorded(self) -> Mapping[str, Any] | None:
        """The record beside the copy; None where there is none that can be read."""
        try:
            record: Mapping[str, Any] = json.loads(self._record.read_text())
            return {"from": record["from"], "by": record["by"], "sizes": record.get("sizes")}
        except (OSError, ValueError, LookupError, TypeError, AttributeError):
            return None

    def _write_record(self, state: State | None, by: str | None) -> None:
        """
        Args:
            state: what the copy here was made from, or was sent as.
            by: of the states that this process is going to write from it; None where all of it is there.
        """
        at = None if state is None else [state.number, state.by]
        self._put_record({"from": at, "by": by, "sizes": self._sizes()})

    def _put_record(self, record: Mapping[str, Any] | None) -> None:
        with using(self._record):
            self._record.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            if record is None:
                self._record.unlink(missing_ok=True)
            else:
                write_text(self._record, json.dumps(record) + "\n")

    def _sizes(self) -> dict[str, int]:
        """Bytes of the files to which results are added."""
        return {name: (self.folder / name).stat().st_size for name in _COUNTS if (self.folder / name).is_file()}

    def _is_unsent(self) -> bool:
        """Whether the copy may hold what is nowhere else: a process that worked on it has not ended in order, or a
        command that named the copy by its path has added something."""
        record = self._recorded()
        if record is None:  # of an earlier try to bring it, which was cut off
            return False
        return record["by"] is not None or record["sizes"] not in (None, self._sizes())

    def _keep(self) -> None:
        """Renames the copy, for people to look at."""
        made = kept = self.folder.with_name(f"{self.folder.name}-unsent-{datetime.now(UTC):%Y-%m-%d}")
        for number in count(2):
            if not kept.exists():
                break
            kept = made.with_name(f"{made.name}-{number}")
        self.folder.rename(kept)
        url = self.states.store.url
        self._say(f"note: {url} has been continued elsewhere; what this machine had not sent is kept in {kept}")

    def _bring(self, state: State) -> None:
        with using(self.folder), private_files():
            self.folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            made = Path(tempfile.mkdtemp(dir=self.folder.parent, prefix=f".{self.folder.name}-"))
        try:
            with using(made), private_files():
                for name, file in state.files.items():
                    self._bring_file(made / name, self.folder / name, file)
                if self._stays(state):  # a command that names the copy by its path does not hold our lock
                    raise _Used
                if self.folder.exists() and self._is_unsent():
                    self._keep()
                self._record.unlink(missing_ok=True)
                if self.folder.exists():
                    self.folder.rename(made.with_name(f"{made.name}-before"))
                if state.files:
                    made.rename(self.folder)
            self._write_record(state, None)
        finally:
            for left in (made, made.with_name(f"{made.name}-before")):
                shutil.rmtree(left, ignore_errors=True)

    def _clear_torn(self) -> None:
        """Deletes what a kill left of a copy that was being brought."""
        made = re.compile(rf"\.{re.escape(self.folder.name)}-[a-z0-9_]{{8}}(-before)?")  # names of `mkdtemp`
        with contextlib.suppress(FileNotFoundError):
            for path in self.folder.parent.iterdir():
                if made.fullmatch(path.name) and path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path, ignore_errors=True)

    def _bring_file(self, to: Path, before: Path, file: File) -> None:
        to.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(OSError):
            if before.is_file() and before.stat().st_size == file.size and _digests(before) == file.parts:
                shutil.copyfile(before, to)
                os.utime(to, (file.time, file.time))
                return
        with to.open("wb") as out:
            for part in file.parts:
                out.write(self.states.part(part))
            out.flush()
            os.fsync(out.fileno())
        os.utime(to, (file.time, file.time))

    # -- to there

    def send(self, *, lanes: bool = False) -> bool:
        """Makes what the folder holds now the next state there, where it differs from the last one.

        Args:
            lanes: with the states of trials that are running, which are large and change with every rung.

        Returns:
            Whether there was something new.

        Raises:
            TakenOver: this process is not the one any more that adds states.
            StorageError: the store does not take it; it has the last state.
            Unsettled: the folder changes too fast.
        """
        assert self.state is not None, "claimed"
        if not self.folder.is_dir():
            return False
        if self.states.overtaken(self.state):  # before a part is written
            raise self.taken_over()
        files = self._files(lanes)
        if files == dict(self.state.files):
            return False
        while files != dict(self.state.files):
            added = self._added(replace(self.state, number=self.state.number + 1, files=files))
            if added is None:
                raise self.taken_over()
            self.state = added
            self._needed = [*self._needed[-KEPT + 1 :], added.parts]
        self._there = self.states.tidy(self.state, set().union(*self._needed), self._there or ())
        return True

    def all_is_sent(self) -> None:
        """Notes beside the copy that the last state holds all of it."""
        self._write_record(self.state, None)

    def _added(self, state: State) -> State | None:
        """Makes the next state. Returns it; or that of its number which this process has made before: when an answer is
        lost, and the store asked again, it refuses what it has done. None where another process has made that."""
        if self.states.add(state):
            return state
        with contextlib.suppress(Gone):
            there = self.states.state(state.number)
            return there if there.by == state.by else None
        return None

    def taken_over(self) -> TakenOver:
        """What to raise once another process adds states."""
        return TakenOver(
            f"{self.states.store.url} has been taken over by another avtune, which had no sign of this one; what this "
            f"one has is in {self.folder}"
        )

    def _files(self, lanes: bool) -> dict[str, File]:
        for _ in range(_TRIES):
            with contextlib.suppress(Unsettled):
                seen = looked_at(self.folder, lambda name: _belongs(name, lanes))
                return {name: self._sent(name, stamp) for name, stamp in seen.items()}
        raise Unsettled(str(self.folder))

    def _sent(self, name: str, stamp: Stamp) -> File:
        """A file whose parts are in the store."""
        known = self._known.get(name)
        if known is not None and known[0] == stamp:
            return known[1]
        if self._there is None:
            self._there = self.states.parts()
        parts = []
        for data in parts_of(self.folder / name, stamp, PART, grows=grows(name)):
            digest = hashlib.sha256(data).hexdigest()
            if digest not in self._there:
                self.states.add_part(digest, data)
                self._there.add(digest)
            parts.append(digest)
        file = File(stamp.size, stamp.time, tuple(parts))
        self._known[name] = (stamp, file)
        return file


def grows(name: str) -> bool:
    """Whether lines are added to a file of a study, and none is changed."""
    return name in _GROWS or name.startswith(("tensorboard/", "output/"))


def _belongs(name: str, lanes: bool) -> bool:
    """Whether a file or a folder of a study, by its path from there, is sent: not its lock, nor what is being made."""
    last = name.rpartition("/")[2]
    return not last.startswith(".") and name not in (*_HERE, *([] if lanes else [_LANES]))


def _digests(path: Path) -> tuple[str, ...]:
    return tuple(hashlib.sha256(data).hexdigest() for data in _parts(path))


def _parts(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while data := file.read(PART):
            yield data
