"""A search as a user starts it, in a process of its own, that faults can be done to.

A process of a run is known by the run's own mark in its environment, so that nothing else is ever touched.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import uuid
from dataclasses import dataclass, field
from pathlib import Path

FAULTS = {
    "driver SIGKILL": signal.SIGKILL,
    "driver SIGTERM": signal.SIGTERM,
    "driver SIGINT": signal.SIGINT,
    "worker SIGKILL": signal.SIGKILL,
    "node SIGKILL": signal.SIGKILL,
}
_MARK = "AVTUNE_FAULTS_MARK"
_NEEDLES = {"worker": b"ImplicitFunc", "node": b"/raylet/raylet\0"}


@dataclass
class Search:
    """One run of the command; use it as a context manager, which leaves no driver running. What a killed driver leaves
    behind must not disturb the next run; `sweep` ends it when all is over.

    Attributes:
        folder: holds `toy.h5`, `space.yaml`, the study in `results/one`, and what the run printed.
        words: further words of the command.
        limits: a function that the process calls before it begins, e.g. to limit its files.
    """

    folder: Path
    words: list[str]
    limits: object = None
    mark: str = field(default_factory=lambda: uuid.uuid4().hex)

    @property
    def study(self) -> Path:
        return self.folder / "results" / "one"

    def __enter__(self) -> Search:
        self.known = self.progress()
        self.began = time.monotonic()
        command = [sys.executable, "-m", "avtune", "search", "toy.h5", "--space", "space.yaml", "--name", "one"]
        with (self.folder / "out").open("w") as out, (self.folder / "err").open("w") as err:
            self.process = subprocess.Popen(
                [*command, "--gpus", "0", *self.words],
                cwd=self.folder,
                env=os.environ | {_MARK: self.mark},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
                preexec_fn=self._prepare,
            )
        return self

    def _prepare(self) -> None:
        # A shell that starts tests in the background has them ignore Ctrl-C, and children inherit that.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        if self.limits is not None:
            self.limits()  # type: ignore[operator]

    def __exit__(self, *exception: object) -> None:
        self.process.kill()
        self.process.wait()

    def sweep(self) -> None:
        """Ends what is left of the run."""
        for pid in self.processes(b""):
            _kill(pid, signal.SIGKILL)

    @property
    def printed(self) -> tuple[str, str]:
        """What it has written to standard output and to standard error."""
        return (self.folder / "out").read_text(), (self.folder / "err").read_text()

    def processes(self, needle: bytes) -> list[int]:
        """The run's processes, without the driver, whose command line holds `needle`."""
        return [pid for pid in marked(f"{_MARK}={self.mark}", needle) if pid != self.process.pid]

    def progress(self) -> int:
        """Lines in the append-only files that grow with the work."""
        paths = [self.study / name for name in ("curves.jsonl", "repeats.jsonl")]
        return sum(path.read_bytes().count(b"\n") for path in paths if path.exists())

    def until(self, lines: int | None, seconds: float, patience: float) -> bool:
        """Waits for so many new lines and then so many seconds, or for the seconds alone; False when it ended first."""
        deadline = time.monotonic() + patience
        while lines is not None and self.progress() < self.known + lines:
            if self.process.poll() is not None:
                return False
            if time.monotonic() > deadline:
                raise Hang(f"no {lines} new lines in {patience:g} s; it printed {self.printed}")
            time.sleep(0.02)
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            return True
        return False

    def do(self, fault: str) -> bool:
        """Does a fault; returns whether there was something to do it to."""
        target = fault.partition(" ")[0]
        if target == "driver":
            return _kill(self.process.pid, FAULTS[fault])
        return any(_kill(pid, FAULTS[fault]) for pid in self.processes(_NEEDLES[target])[:1])

    def wait(self, patience: float) -> int:
        """Waits for its end; returns the exit code as a shell shows it but for signals, which are negative."""
        try:
            return self.process.wait(patience)
        except subprocess.TimeoutExpired:
            raise Hang(f"it has not ended in {patience:g} s; it printed {self.printed}") from None


class Hang(Exception):
    """A run that should have ended or gone on has not."""


def marked(mark: str, needle: bytes) -> list[int]:
    """The processes with `mark` in their environment and `needle` in their command line."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if needle in (entry / "cmdline").read_bytes() and f"{mark}\0".encode() in (entry / "environ").read_bytes():
                found.append(int(entry.name))
        except OSError:  # gone, or another user's
            continue
    return sorted(found)


def _kill(pid: int, number: int) -> bool:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True


def whole_lines(path: Path) -> list[dict]:
    """The records of a file of JSON lines, without a torn last one."""
    text = path.read_bytes().rpartition(b"\n")[0] if path.exists() else b""
    return [json.loads(line) for line in text.splitlines()]
