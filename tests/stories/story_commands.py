"""Runs avtune's commands in forks of this process, which has imported everything.

A fork starts in a few milliseconds where Python with torch takes three seconds; that is what makes a thousand commands
affordable. This process must have one thread: see `preload`.
"""

from __future__ import annotations

import importlib
import os
import select
import shlex
import signal
import sys
import time
import traceback
from dataclasses import dataclass
from pathlib import Path

from story_traps import Trap, plant

DEADLINE = 180.0
"""Seconds after which a command hangs. Most take one."""
THREADS = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")
_MODULES = (
    "avtune.workflows.bench.run",
    "avtune.cli.main",
    "avtune.workflows.evaluate",
    "avtune.report.page",
    "avtune.workflows.retrain",
    "avtune.workflows.search",
    "avtune.workflows.verify",
    "scipy.optimize",
    "scipy.stats",
    "sklearn.model_selection",
)


def preload() -> None:
    """Imports what the commands take. Call it first of all, before NumPy has started its threads."""
    os.environ |= dict.fromkeys(THREADS, "1")
    import torch

    torch.set_num_threads(1)
    for name in _MODULES:
        try:
            importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name != name:
                raise


@dataclass(frozen=True)
class Ended:
    """How a command ended.

    Attributes:
        words: of the command, without `avtune`.
        code: its exit code; negative: the signal that killed it.
        out, err: what it printed.
        sprung: what its trap met, empty where it did not spring.
        killed: a kill that came with the clock did.
    """

    words: tuple[str, ...]
    code: int
    out: str
    err: str
    seconds: float
    sprung: str = ""
    killed: bool = False

    @property
    def command(self) -> str:
        return shlex.join(["avtune", *self.words])


class Hang(Exception):
    """A command has not ended in `DEADLINE` seconds, or does not come to where it should."""


class Forked:
    """One command in a fork of this process, started by making this.

    Args:
        words: of the command.
        folder: its current folder.
        notes: where its output goes.
        trap: laid in it.
    """

    def __init__(self, words: list[str], folder: Path, notes: Path, trap: Trap | None = None) -> None:
        self.words = tuple(map(str, words))
        self._notes, self._began = notes, time.monotonic()
        notes.mkdir(parents=True, exist_ok=True)
        for name in ("out", "err", "sprung"):
            (notes / name).write_text("")
        sys.stdout.flush()
        sys.stderr.flush()
        self.pid = os.fork()
        if self.pid == 0:
            _become(self.words, folder, notes, trap)
        self._handle = os.pidfd_open(self.pid)
        self._ended = False

    def __enter__(self) -> Forked:
        return self

    def __exit__(self, *exception: object) -> None:
        if not self._ended:
            self.kill()
            self._reap()

    def kill(self, number: int = signal.SIGKILL) -> None:
        signal.pidfd_send_signal(self._handle, number)

    def until_it_waits(self) -> bool:
        """Waits until its trap has stopped it; False when it ended first."""
        deadline = time.monotonic() + DEADLINE
        while time.monotonic() < deadline:
            found = os.waitid(os.P_PID, self.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
            assert found is not None
            return found.si_code == os.CLD_STOPPED
        raise Hang(f"{shlex.join(self.words)} neither waits nor ends")

    def wait(self, kill_after: float | None = None) -> Ended:
        """Waits for its end.

        Args:
            kill_after: seconds after which it is killed, None for never.
        """
        killed = kill_after is not None and not self._ends(kill_after)
        if killed:
            self.kill()
        if not self._ends(DEADLINE):
            self.kill()
            self._reap()
            raise Hang(f"avtune {shlex.join(self.words)} has not ended in {DEADLINE:g} s")
        code = self._reap()
        out, err, sprung = ((self._notes / name).read_text(errors="replace") for name in ("out", "err", "sprung"))
        return Ended(self.words, code, out, err, time.monotonic() - self._began, sprung, killed)

    def _ends(self, seconds: float) -> bool:
        poll = select.poll()
        poll.register(self._handle, select.POLLIN)
        return bool(poll.poll(seconds * 1000))

    def _reap(self) -> int:
        _, status = os.waitpid(self.pid, 0)
        os.close(self._handle)
        self._ended = True
        return os.waitstatus_to_exitcode(status)


def _become(words: tuple[str, ...], folder: Path, notes: Path, trap: Trap | None) -> None:
    """Runs a command in this process, which ends with it."""
    code = 70
    try:
        nothing = os.open(os.devnull, os.O_RDONLY)
        out, err = (os.open(notes / name, os.O_WRONLY | os.O_TRUNC) for name in ("out", "err"))
        for handle, place in ((nothing, 0), (out, 1), (err, 2)):
            os.dup2(handle, place)
        sys.stdout = os.fdopen(1, "w", encoding="utf-8", closefd=False)
        sys.stderr = os.fdopen(2, "w", encoding="utf-8", closefd=False, buffering=1)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        os.chdir(folder)
        sys.argv = ["avtune", *words]
        if trap is not None:
            plant(trap, folder, notes / "sprung")
        from avtune.cli.main import main

        code = main(list(words))
        sys.stdout.flush()
        sys.stderr.flush()
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)
