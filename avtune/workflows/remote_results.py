"""A folder of results that is a URL: studies are brought here when they are named, and sent there while they change."""

from __future__ import annotations

import contextlib
import os
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from avtune.core.errors import StorageError, UserError
from avtune.core.files import update_text, using, write_text
from avtune.core.names import is_legal_name
from avtune.core.object_store import ObjectStore, store_at
from avtune.core.snapshot import Unsettled
from avtune.study.folder import COPIES, StudyFolder
from avtune.workflows.remote_copy import NotThere, RemoteCopy, TakenOver, copies_of
from avtune.workflows.remote_lock import CopyLock
from avtune.workflows.remote_states import Damaged, RemoteStates, Worker

if TYPE_CHECKING:
    from types import TracebackType

Say = Callable[[str], None]
"""Takes a line for the terminal."""

_SIGN = 10.0  # seconds between two signs of life
_SEND = 30.0  # seconds between two looks at what has changed
_DEAD = 60.0  # seconds without a sign after which a process is held for dead
_LAST_TRIES = 6  # at the end, each after a second more than the one before
_TRIES_IN_A_HURRY = 2  # where the command has been ended from outside


@dataclass(frozen=True)
class Clock:
    """Seconds that pass, and waiting for them."""

    now: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep


class RemoteResults:
    """The studies of a URL.

    Args:
        url: of the folder of results.
        changes: whether the command changes studies, and so holds those that it takes until `close`.
        makes: whether it makes a study where there is none of a name.
        say: takes a line for the terminal.
        lost: is called on another thread when a study that is held has been taken over by another process, or cannot be
            sent any more: this command is to end.
    """

    def __init__(
        self,
        url: str,
        *,
        changes: bool,
        makes: bool = False,
        say: Say,
        lost: Callable[[], None] = lambda: None,
        store: ObjectStore | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.url = url
        self.here = copies_of(url)
        self._store = store or store_at(url)
        self.changes, self._makes = changes, makes
        self._say, self._lost, self._clock = say, lost, clock or Clock()
        self._held: dict[str, HeldStudy] = {}

    def take(self, name: str) -> Path:
        """Brings a study here, where there is one of that name, and holds it if the command changes it. Where there is
        none, it is held for a command that makes studies.

        Returns:
            Its folder here, which may not exist.

        Raises:
            StorageError: the store, or this machine's disk, does not serve.
            UserError: another process works on it, or what is there is damaged.
            NotThere: it has been deleted in the store; or the command makes no study, and one that was never in the
                store is here.
        """
        folder = self.here / name
        if name in self._held:
            return folder
        with using(self.here):
            self.here.mkdir(mode=0o700, parents=True, exist_ok=True)
            update_text(self.here / COPIES, f"{self.url}\n")
        states = RemoteStates(self._store.below(name))
        copy, lock = RemoteCopy(states, folder, self._say), CopyLock(folder, self._say, self._clock.sleep)
        if not self.changes:
            with lock.while_it_is_brought() as mine:
                if mine and copy.fetch():
                    copy.check_there(self._makes)
                    self._note_worker(states, folder)
            return folder
        held = HeldStudy(copy, lock, self._say, self._lost, self._clock)
        if held.begin(self._makes):
            self._held[name] = held
        return folder

    def holds(self, name: str) -> bool:
        """Whether this command works on a study, and sends it."""
        return name in self._held

    def take_all(self) -> list[str]:
        """Brings all studies here, and says which are only here.

        Returns:
            The names of those that are there, sorted.
        """
        there = []
        for name in filter(is_legal_name, self._store.folders()):
            with contextlib.suppress(NotThere):
                self.take(name)
                there.append(name)
        here = sorted({path.parent.name for path in self.here.glob("*/study.yaml")} - set(there))
        if here:
            self._say(f"note: not in {self.url}, but copies are in {self.here}: {', '.join(here)}")
        return there

    def close(self, *, quietly: bool = False) -> None:
        """Sends what has changed, and lets the studies go.

        Args:
            quietly: the command ends by an error, or from outside: be quick, and say what is wrong rather than raise.

        Raises:
            StorageError: the store does not take it; says where it is.
            TakenOver: another process has one of them.
            UserError: what sends one of them has failed.
        """
        errors: list[Exception] = []
        for held in self._held.values():
            try:
                held.end(_TRIES_IN_A_HURRY if quietly else _LAST_TRIES)
            except Exception as error:  # of one study; the others are sent all the same
                errors.append(error)
        self._held = {}
        if errors and not quietly:
            raise errors[0]
        for one in errors:
            self._say(f"note: {one}")

    def _note_worker(self, states: RemoteStates, folder: Path) -> None:
        """Leaves word for `StudyFolder.owner`."""
        note = StudyFolder(folder).elsewhere
        worker = None
        with contextlib.suppress(Damaged):  # of one that is alive it is written again soon
            worker = states.worker()
        with using(note):
            ago = 0.0 if worker is None else time.time() - worker.time
            if worker is None or worker.ended or ago > _DEAD or has_died(worker):
                note.unlink(missing_ok=True)
            else:
                write_text(note, f"{worker.owner}, a sign of it is {max(0.0, ago):.0f} s old")

    def __enter__(self) -> RemoteResults:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        lost = any(held.has_ended_this for held in self._held.values())
        self.close(quietly=kind is not None and not lost)


class HeldStudy:
    """A study that this process works on. A thread of its own gives signs of life and sends what has changed."""

    def __init__(self, copy: RemoteCopy, lock: CopyLock, say: Say, lost: Callable[[], None], clock: Clock) -> None:
        self._copy, self._lock, self._say, self._lost, self._clock = copy, lock, say, lost, clock
        self._me = Worker("", f"process {os.getpid()} on {os.uname().nodename}", os.getpid(), this_machine(), 0, 0.0)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="avtune-remote", daemon=True)
        self._failing = ""
        self._over_by: UserError | None = None

    def begin(self, makes: bool) -> bool:
        """Takes it: waits until it is clear that nobody works on it, brings it here, and makes the next state.

        Args:
            makes: whether a study may be made.

        Returns:
            Whether it is taken; else there is none of that name, and nothing was changed.

        Raises:
            UserError: somebody works on it.
            NotThere: see `RemoteResults.take`.
        """
        self._lock.hold()
        taken = False
        try:
            self._wait_for_others()
            found = self._copy.fetch()
            self._copy.check_there(makes)
            if found or makes:
                self._take()
                taken = True
        finally:
            if not taken:
                self._lock.release()
        if taken:
            self._thread.start()
        return taken

    def _take(self) -> None:
        study = StudyFolder(self._copy.folder)
        if (holder := study.holder()) is not None:  # by the path of the copy: it may be no copy of the last state
            raise UserError(
                f"{study.root} is being worked on by another avtune ({holder.owner}); wait for it, stop it, or choose "
                "another --name"
            )
        with using(study.root):
            study.elsewhere.unlink(missing_ok=True)
        self._copy.claim(self._me.owner)
        assert self._copy.state is not None
        self._me = replace(self._me, by=self._copy.state.by)
        self._copy.states.set_worker(self._me)

    def end(self, tries: int) -> None:
        """Sends the rest: first what is small, then the states of running trials too.

        Raises:
            StorageError: the store does not take it.
            TakenOver: another process has the study.
        """
        self._over.set()
        self._thread.join()
        try:
            self._send_the_rest(tries)
        finally:
            self._lock.release()

    @property
    def has_ended_this(self) -> bool:
        """Whether its thread has ended this command: another process has the study, or the thread has failed."""
        return self._over_by is not None

    def _send_the_rest(self, tries: int) -> None:
        if self._over_by is None:
            self._send_all(tries)
            return
        if not isinstance(self._over_by, TakenOver):
            with contextlib.suppress(Exception):  # what has failed may fail again
                self._send_all(1)
        raise self._over_by

    def _send_all(self, tries: int) -> None:
        for lanes in (False, True):
            self._send_at_last(lanes, tries)
        self._me = replace(self._me, ended=True)
        self._sign()
        self._copy.all_is_sent()

    def step(self, *, send: bool) -> None:
        """What the thread does again and again. What the store has against it is said once, and tried again; where this
        process has lost the study, or makes a mistake of its own, the command is ended."""
        try:
            self._step(send)
        except TakenOver as error:
            self._end_this(error)
        except Exception as error:  # without this thread the search would go on, and nobody know
            study, why = self._copy.folder, f"{type(error).__name__}: {error}".splitlines()[0]
            self._note(traceback.format_exc(), aloud=False)
            url = self._copy.states.store.url
            self._end_this(
                UserError(
                    f"what sends to {url} has failed ({why}); details in {study}/log.txt\nthe same command continues"
                )
            )

    def _step(self, send: bool) -> None:
        try:
            self._sign()
            if send:
                self._copy.send()
        except TakenOver:
            raise
        except (UserError, Unsettled) as error:
            if not self._failing:
                self._failing = str(error)
                self._note(f"{error}; trying again every {_SIGN:g} s")
        else:
            if self._failing:
                self._note(f"{self._copy.states.store.url} can be written again")
            self._failing = ""

    def _end_this(self, error: UserError) -> None:
        self._over_by = error
        self._over.set()
        self._lost()

    def _note(self, text: str, *, aloud: bool = True) -> None:
        if aloud:
            self._say(f"note: {text}")
        if self._copy.folder.is_dir():
            with contextlib.suppress(StorageError):  # a full disk ends the search by itself
                StudyFolder(self._copy.folder).note(text)

    def _run(self) -> None:
        sent = self._clock.now()
        while not self._over.wait(_SIGN):
            now = self._clock.now()
            due = now - sent >= _SEND or bool(self._failing)
            self.step(send=due)
            sent = now if due else sent

    def _sign(self) -> None:
        """
        Raises:
            TakenOver: another process says that it works on the study.
        """
        try:
            now = self._copy.states.worker()
            other = now is not None and now.by != self._me.by
        except Damaged:  # it is written again, unless it is another's
            assert self._copy.state is not None, "claimed"
            other = self._copy.states.overtaken(self._copy.state)
        if other:
            raise self._copy.taken_over()
        self._me = replace(self._me, sign=self._me.sign + 1, time=time.time())
        self._copy.states.set_worker(self._me)

    def _send_at_last(self, lanes: bool, tries: int) -> None:
        for again in range(1, tries + 1):
            try:
                self._copy.send(lanes=lanes)
            except TakenOver:
                raise
            except (UserError, Unsettled) as error:
                if again == tries:
                    raise StorageError(
                        f"{error}\nwhat is missing there is in {self._copy.folder}; the same command sends it"
                    ) from None
                self._clock.sleep(float(again))
            else:
                return

    def _worker(self) -> Worker | None:
        """Who works on the study, or was the last to do so. Where that is damaged, a process that is known by its next
        sign."""
        try:
            return self._copy.states.worker()
        except Damaged:
            return Worker("", "an unknown process", 0, "", 0, 0.0)

    def _wait_for_others(self) -> None:
        """
        Raises:
            UserError: another process works on the study: it gives signs of life.
        """
        states = self._copy.states
        first = self._worker()
        if first is None or first.ended or has_died(first):
            return
        url = states.store.url
        self._say(f"note: {url} was worked on by {first.owner}; waiting {_DEAD:g} s for a sign of it")
        end = self._clock.now() + _DEAD
        while self._clock.now() < end:
            self._clock.sleep(_SIGN / 2)
            now = self._worker()
            if now is not None and (now.by, now.sign) != (first.by, first.sign):
                if now.ended:
                    return
                raise UserError(
                    f"{url} is being worked on by another avtune ({now.owner}); wait for it, stop it, or choose "
                    "another --name"
                )


def this_machine() -> str:
    """What tells this machine, since it was started, from others."""
    known = [os.uname().nodename]
    with contextlib.suppress(OSError):
        known.append(Path("/proc/sys/kernel/random/boot_id").read_text().strip())
    with contextlib.suppress(OSError):
        known.append(os.readlink("/proc/self/ns/pid"))
    return " ".join(known)


def has_died(worker: Worker) -> bool:
    """Whether it was a process of this machine that is not there any more."""
    if worker.machine != this_machine():
        return False
    try:
        os.kill(worker.process, 0)
    except ProcessLookupError:
        return True
    except (OSError, OverflowError):  # another user's; or no number of a process
        return False
    return worker.process == os.getpid()
