"""A control group of Linux that limits the memory of a command and all that it starts; needs root."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from types import TracebackType

from avtune.core.system import size

_V1, _V2 = Path("/sys/fs/cgroup/memory"), Path("/sys/fs/cgroup")
_WAIT_SECONDS = 30


class MemoryGroup:
    """A group of so many bytes, removed at the end of the context.

    Attributes:
        command: what to put before a command, so that it runs in the group: a shell that joins it and becomes the
            command.
        text: what the group has counted so far: its peak, the pages of files included, and how many processes were
            ended for lack of memory.
    """

    def __init__(self, limit: int) -> None:
        self._is_v1 = (_V1 / "memory.limit_in_bytes").exists()
        self._folder = (_V1 if self._is_v1 else _V2) / f"avtune-{os.getpid()}"
        self._limit = limit

    def __enter__(self) -> MemoryGroup:
        try:
            self._folder.mkdir()
            name = "memory.limit_in_bytes" if self._is_v1 else "memory.max"
            (self._folder / name).write_text(str(self._limit))
        except OSError as error:
            sys.exit(f"no control group can be made here ({error}); run as root, or leave --group out")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        until = time.monotonic() + _WAIT_SECONDS  # Ray's last processes end a moment after their driver
        while self._processes() and time.monotonic() < until:
            time.sleep(0.2)
        try:
            self._folder.rmdir()
        except OSError:
            print(f"{self._folder} still has processes {self._processes()}", file=sys.stderr)

    @property
    def command(self) -> list[str]:
        return ["/bin/sh", "-c", f'echo $$ > "{self._folder}/cgroup.procs" && exec "$@"', "sh"]

    @property
    def text(self) -> str:
        peak = self._number("memory.max_usage_in_bytes" if self._is_v1 else "memory.peak")
        facts = dict(line.split() for line in self._read(self._events).splitlines())
        kills = facts.get("oom_kill", "not counted")
        return f"{size(peak)} of {size(self._limit)} at most, the pages of files included; killed: {kills}"

    @property
    def _events(self) -> str:
        return "memory.oom_control" if self._is_v1 else "memory.events"

    def _processes(self) -> list[str]:
        return self._read("cgroup.procs").split()

    def _number(self, name: str) -> int:
        return int(self._read(name))

    def _read(self, name: str) -> str:
        return (self._folder / name).read_text()
