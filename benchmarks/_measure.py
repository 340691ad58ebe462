"""Several ways to compute one thing, measured side by side: agreement, time in turn, memory in a process of its own.

A side is first tried alone in a child process, under a time and a memory limit: that gives its values and its peak
memory, and keeps a side that is too slow or too large out of the timed rounds, with the reason. The rest are then
timed in one process in turn, A B C A B C, so that whatever else the machine does falls on all of them alike.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import multiprocessing
import os
import re
import resource
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np

Values = dict[str, float | np.ndarray]
Call = Callable[[], Values]
PAUSE = 0.05
"""Seconds between two sides: threads of the one that spin for more work are asleep when the other starts."""
SHORTEST = 0.1
"""A side is called again and again for at least this many seconds a round; its time is the mean."""
SLOW = 2.0
"""A side that takes longer than this many seconds is timed in `SLOW_ROUNDS` rounds at most."""
SLOW_ROUNDS = 3


@dataclass(frozen=True)
class Side:
    """One way to compute something.

    Attributes:
        name: as the report shows it.
        prepare: makes the inputs of a size, untimed, and returns the call that is measured. A module-level function or
            a `functools.partial` of one: it travels to the child process by name.
        needs: the distribution that has to be installed, if it is an optional one.
    """

    name: str
    prepare: Callable[[int], Call]
    needs: str | None = None


@dataclass(frozen=True)
class Limits:
    """What one call of a side may take: seconds, and bytes of resident memory."""

    seconds: float
    memory: int


@dataclass(frozen=True)
class Probe:
    """One call in a process of its own. `memory`: peak resident bytes above those before the call."""

    seconds: float
    memory: int
    values: Values


@dataclass
class Outcome:
    """What was measured of one side. `left_out` says why nothing was; `ratios` are this side's seconds over the first
    side's, round by round; `difference` is that from the first side's values, see `difference`."""

    name: str
    left_out: str = ""
    seconds: list[float] = field(default_factory=list)
    ratios: list[float] = field(default_factory=list)
    memory: int = 0
    values: Values = field(default_factory=dict)
    difference: tuple[float, str] = (0.0, "")


def compare(
    sides: Sequence[Side], sizes: Sequence[int], *, warm_size: int, rounds: int, limits: Limits
) -> Iterator[tuple[int, list[Outcome]]]:
    """Measures every side at every size, sizes ascending; the first side is the one that the others are compared with.

    Args:
        warm_size: size of the call that warms a child process up, so that loading and compiling take no part.
        rounds: timed rounds, after one that is thrown away.
    """
    too_much: dict[str, str] = {}
    for size in sorted(sizes):
        outcomes, calls = [], {}
        for side in sides:
            outcome = Outcome(side.name)
            outcomes.append(outcome)
            if side.needs is not None and installed(side.needs) is None:
                outcome.left_out = f"{side.needs} is not installed"
                continue
            if side.name in too_much:
                outcome.left_out = too_much[side.name]
                continue
            tried = probe(side.prepare, size, min(size, warm_size), limits)
            if isinstance(tried, str):
                outcome.left_out = tried
                too_much[side.name] = f"{tried} at {size:,} already"
                continue
            outcome.memory, outcome.values = tried.memory, tried.values
            outcome.difference = difference(outcomes[0].values, tried.values)
            calls[side.name] = (side.prepare(size), min(rounds, SLOW_ROUNDS) if tried.seconds > SLOW else rounds)
        timed = take_turns(calls)
        first = timed.get(sides[0].name, [])
        for outcome in outcomes:
            outcome.seconds = timed.get(outcome.name, [])
            # Not strict: a slow side has fewer rounds.
            outcome.ratios = [one / own for one, own in zip(outcome.seconds, first, strict=False)]
        yield size, outcomes


def take_turns(calls: Mapping[str, tuple[Callable[[], object], int]]) -> dict[str, list[float]]:
    """Seconds of each call, round by round. `calls` gives every call with its number of rounds; each round goes through
    the calls that still take part, in their order. A round before them warms up and does not count."""
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(-1, max((rounds for _, rounds in calls.values()), default=0)):
        for name, (call, rounds) in calls.items():
            if turn >= rounds:
                continue
            gc.collect()
            time.sleep(PAUSE)
            start, elapsed, count = time.perf_counter(), 0.0, 0
            while elapsed < SHORTEST:
                call()
                count += 1
                elapsed = time.perf_counter() - start
            if turn >= 0:
                seconds[name].append(elapsed / count)
    return seconds


def probe(prepare: Callable[[int], Call], size: int, warm_size: int, limits: Limits) -> Probe | str:
    """One call in a child process, after a call of `warm_size` there; why there is no result, in words, otherwise."""
    context = multiprocessing.get_context("forkserver")  # children come from a process that has only imported torch
    context.set_forkserver_preload(["torch"])
    receiver, sender = context.Pipe(duplex=False)
    child = context.Process(target=_try, args=(sender, prepare, size, warm_size), daemon=True)
    child.start()
    sender.close()
    started = None
    try:
        while True:
            if receiver.poll(0.02):
                try:
                    said = receiver.recv()
                except EOFError:
                    child.join()
                    return f"its process ended with exit code {child.exitcode}"
                if said is not None:
                    child.join(timeout=10)
                    return said  # type: ignore[no-any-return]
                started = time.perf_counter()
            if started is not None and time.perf_counter() - started > limits.seconds:
                return f"over {limits.seconds:g} s"
            if _memory(child.pid or 0, "VmRSS") > limits.memory:
                return f"over {limits.memory / 1e9:.1f} GB"
    finally:
        child.kill()
        child.join()
        receiver.close()


def _try(sender: Connection, prepare: Callable[[int], Call], size: int, warm_size: int) -> None:
    try:
        prepare(warm_size)()
        call = prepare(size)
        before = start_of_peak()
        sender.send(None)
        start = time.perf_counter()
        values = call()
        seconds = time.perf_counter() - start
        sender.send(Probe(seconds, max(0, peak() - before), values))
    except Exception as error:
        sender.send(_why(error))


def _why(error: Exception) -> str:
    said = str(error).splitlines()[0] if str(error) else ""
    if isinstance(error, MemoryError) or "allocate" in said:  # torch raises RuntimeErrors of several kinds
        asked = re.search(r"allocate (\d+) bytes", said)
        return f"out of memory, {int(asked[1]) / 1e9:.0f} GB asked for" if asked else f"out of memory: {said}"
    return f"failed: {type(error).__name__}: {said}"


def start_of_peak() -> int:
    """Resident bytes now, from which `peak` counts."""
    gc.collect()
    # Memory that was freed but not given back would hide as much of what the call takes.
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
    return _memory(os.getpid(), "VmRSS") or peak()


def peak() -> int:
    """Largest number of resident bytes since `start_of_peak` (of this process's life where there is no /proc)."""
    in_kilobytes = sys.platform != "darwin"
    usage = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1024 if in_kilobytes else 1)
    return _memory(os.getpid(), "VmHWM") or usage


def _memory(pid: int, name: str) -> int:
    """Bytes of a memory line of /proc/PID/status; 0 where there is none."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith(f"{name}:"):
                return int(line.split()[1]) * 1024
    return 0


def installed(distribution: str) -> str | None:
    """Its version; None when it is not installed."""
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None


def difference(first: Values, other: Values) -> tuple[float, str]:
    """The largest relative difference, |other - first| / |first| with Euclidean norms, among the values that both have,
    and that value's name."""
    largest = (0.0, "")
    for name in first.keys() & other.keys():
        apart = float(np.linalg.norm(np.asarray(other[name]) - first[name]))
        largest = max(largest, (apart / max(float(np.linalg.norm(first[name])), 1e-30), name))
    return largest


def spread(values: Sequence[float], digits: int = 3) -> str:
    """`median (min..max)` with so many significant digits."""
    median, low, high = (
        np.format_float_positional(value, digits, fractional=False, trim="-")
        for value in (statistics.median(values), min(values), max(values))
    )
    return f"{median} ({low}..{high})"
