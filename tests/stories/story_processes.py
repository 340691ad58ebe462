"""Commands with Ray, in processes of their own as a user starts them, and what is done to those.

A process of a command is known by the command's mark in its environment, so that nothing else is ever touched.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
import uuid
from dataclasses import dataclass
from pathlib import Path

from fault_search import marked
from story_commands import DEADLINE, THREADS, Ended, Hang

ROOT = Path(__file__).parents[2]
DRIVER, WORKER = "driver", "engine"
_MARK = "AVTUNE_STORIES_MARK"
_GONE_AFTER = 60.0
"""Seconds in which what a killed command leaves behind ends by itself, on a busy machine."""


@dataclass(frozen=True)
class Blow:
    """What is done to a command.

    Attributes:
        target: its driver, or the process of an engine or a trial.
        number: the signal.
        lines: so many new lines of the study's files come first.
        seconds: and then so many seconds pass.
    """

    target: str
    number: int
    lines: int
    seconds: float

    def __str__(self) -> str:
        name = signal.Signals(self.number).name
        return f"{name} to the {self.target} {self.seconds:.1f} s after {self.lines} lines"


def drawn_blow(draw: random.Random) -> Blow | None:
    """What happens to a command with Ray, or nothing."""
    chosen = draw.choices((None, DRIVER, WORKER), (4, 4, 3))[0]
    if chosen is None:
        return None
    number = signal.SIGKILL
    if chosen == DRIVER:
        number = draw.choices((signal.SIGKILL, signal.SIGTERM, signal.SIGINT), (4, 1, 1))[0]
    if draw.random() < 0.3:
        return Blow(chosen, number, 0, draw.uniform(1.0, 8.0))
    return Blow(chosen, number, draw.randint(1, 25), draw.uniform(0.0, 0.3))


class Apart:
    """One command in a process of its own, started by making this.

    Args:
        words, folder, notes: as in `Forked`.
        mark: of the story, in the environment of all that its commands start.
        study: whose files tell how far it is.
    """

    def __init__(self, words: list[str], folder: Path, notes: Path, mark: str, study: Path) -> None:
        self.words, self._notes, self._study = tuple(map(str, words)), notes, study
        self._mark = mark
        notes.mkdir(parents=True, exist_ok=True)
        env = {name: value for name, value in os.environ.items() if name not in THREADS}
        env |= {_MARK: mark, "PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, [env.get("PYTHONPATH")])])}
        self._known, self._began = self._lines(), time.monotonic()
        with (notes / "out").open("w") as out, (notes / "err").open("w") as err:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "avtune", *self.words],
                cwd=folder,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
            )

    def wait(self, blow: Blow | None = None) -> Ended:
        """Waits for its end; `sprung` of what is returned says whether the blow was struck."""
        try:
            struck = blow is not None and self._until(blow) and self._strike(blow)
            try:
                code = self.process.wait(DEADLINE)
            except subprocess.TimeoutExpired:
                raise Hang(f"avtune {' '.join(self.words)} has not ended in {DEADLINE:g} s") from None
        finally:
            self.process.kill()
            self.process.wait()
        out, err = ((self._notes / name).read_text(errors="replace") for name in ("out", "err"))
        seconds = time.monotonic() - self._began
        return Ended(self.words, code, out, err, seconds, str(blow) if struck else "")

    def _until(self, blow: Blow) -> bool:
        """Waits for the moment; False when the command ended first."""
        deadline = time.monotonic() + DEADLINE
        while self._lines() < self._known + blow.lines and time.monotonic() < deadline:
            if self.process.poll() is not None:
                return False
            time.sleep(0.01)
        try:
            self.process.wait(blow.seconds)
        except subprocess.TimeoutExpired:
            return True
        return False

    def _strike(self, blow: Blow) -> bool:
        if blow.target == DRIVER:
            started = bool((self._notes / "out").read_text())  # before, Python itself answers
            if started or blow.number == signal.SIGKILL:
                self.process.send_signal(blow.number)
            return started or blow.number == signal.SIGKILL
        engines = [pid for pid in marked(f"{_MARK}={self._mark}", b"ImplicitFunc") if pid != self.process.pid]
        for pid in engines[:1]:
            os.kill(pid, blow.number)
        return bool(engines)

    def _lines(self) -> int:
        paths = [self._study / name for name in ("curves.jsonl", "repeats.jsonl")]
        return sum(path.read_bytes().count(b"\n") for path in paths if path.exists())


def new_mark() -> str:
    return uuid.uuid4().hex


def left_running(mark: str, seconds: float = _GONE_AFTER) -> list[int]:
    """The processes of a story's commands that are there after so many seconds; they are ended then."""
    deadline = time.monotonic() + seconds
    while (found := marked(f"{_MARK}={mark}", b"")) and time.monotonic() < deadline:
        time.sleep(0.1)
    for pid in found:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    return found
