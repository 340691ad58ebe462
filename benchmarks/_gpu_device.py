"""The device under measurement: its clock, its memory, what it can do. The CPU stands in where there is no GPU."""

from __future__ import annotations

import contextlib
import gc
import math
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial

import torch

from benchmarks import _measure

MOST_CALLS = 2000
"""Calls timed in one go: no more than a GPU's queue takes without keeping the host waiting for long."""


Call = Callable[..., object]
First = Callable[[], object]


class Clock:
    """What is left of a number of seconds."""

    def __init__(self, seconds: float) -> None:
        self._end = time.perf_counter() + seconds

    @property
    def left(self) -> float:
        return self._end - time.perf_counter()

    def part(self, share: float) -> Clock:
        """A clock for this share of what is left."""
        return Clock(max(0.0, self.left * share))

    def parts(self, shares: Sequence[float]) -> Iterator[Clock]:
        """A clock for each share of the whole: what one part leaves unused is the next ones'."""
        for at, share in enumerate(shares):
            yield self.part(share / sum(shares[at:]))


class Device:
    """`cuda`, the current GPU, or `cpu`."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.cuda = kind == "cuda"
        self.torch = torch.device(kind)

    @property
    def precisions(self) -> tuple[str, ...]:
        return ("bf16", "fp32", "tf32") if self.cuda else ("bf16", "fp32")

    def wait(self) -> None:
        """Until all that was asked of the device is done."""
        if self.cuda:
            torch.cuda.synchronize()

    def seconds(self, call: Call, *, least: float, rounds: int = 3, first: First | None = None) -> list[float]:
        """Seconds of a call, round by round; each round repeats it for about `least` seconds, by the clock of the
        device. A call before them warms up.

        Args:
            first: is called before every call, outside of its time, and gives its argument.
        """
        once = self._timed(call, 1, first)
        once = self._timed(call, 1, first)
        count = min(MOST_CALLS, max(1, math.ceil(least / max(once, 1e-7))))
        if once > 10 * least:
            rounds = 1
        return [self._timed(call, count, first) / count for _ in range(rounds)]

    def _timed(self, call: Call, count: int, first: First | None) -> float:
        """Seconds of so many calls: all in one go, or each by itself where something comes before it."""
        if first is None:
            return self._clocked(lambda: [call() for _ in range(count)])()
        taken = [self._clocked(partial(call, first())) for _ in range(count)]
        return sum(one() for one in taken)

    def _clocked(self, call: Callable[[], object]) -> Callable[[], float]:
        """Calls it; the seconds are told when they are asked for, so that a GPU need not be waited for before."""
        if self.cuda:
            before, after = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            before.record()
            call()
            after.record()

            def seconds() -> float:
                after.synchronize()
                return float(before.elapsed_time(after)) / 1000

            return seconds
        start = time.perf_counter()
        call()
        elapsed = time.perf_counter() - start
        return lambda: elapsed

    def median(self, call: Call, *, least: float, rounds: int = 3, first: First | None = None) -> float:
        return statistics.median(self.seconds(call, least=least, rounds=rounds, first=first))

    def free(self) -> None:
        """Gives back what torch keeps for later."""
        gc.collect()
        if self.cuda:
            torch.cuda.empty_cache()

    def start_of_peak(self) -> int:
        """Bytes in use now; `peak` counts from here."""
        if not self.cuda:
            return _measure.start_of_peak()
        self.free()
        torch.cuda.reset_peak_memory_stats()
        return torch.cuda.memory_allocated()

    def peak(self) -> int:
        """The most bytes in use since `start_of_peak`: torch's allocations on a GPU, resident memory on a CPU."""
        return torch.cuda.max_memory_allocated() if self.cuda else _measure.peak()

    def facts(self) -> list[list[str]]:
        """(name, value), for the head of the report."""
        if not self.cuda:
            return [["device", "cpu"]]
        card = torch.cuda.get_device_properties(0)
        return [
            [
                "device",
                f"{card.name}, compute capability {card.major}.{card.minor}, {card.multi_processor_count} "
                f"multiprocessors, {card.total_memory / 2**30:.0f} GiB",
            ],
            ["CUDA", f"{torch.version.cuda}, driver {_driver()}"],
        ]


def _driver() -> str:
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        said = subprocess.run(command, capture_output=True, text=True, check=True, timeout=20).stdout
        return said.splitlines()[0].strip() if said.strip() else "unknown"
    return "unknown"


def out_of_memory(error: BaseException) -> bool:
    """Whether an error says so: torch has several for it."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or (
        isinstance(error, RuntimeError) and any(word in str(error) for word in ("allocate", "out of memory", "ALLOC_"))
    )
