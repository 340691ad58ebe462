"""Choosing between two ways to the same result at run time: how far they are apart and how long they take."""

from __future__ import annotations

import logging
import statistics
import time
from collections.abc import Callable, Sequence
from typing import TypeVar

import torch
from torch import Tensor

_LOG = logging.getLogger(__name__)
_Way = TypeVar("_Way")


def wait(device: torch.device) -> None:
    """Until all that was asked of the device is done."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def median_seconds(call: Callable[[], object], device: torch.device, times: int = 5) -> float:
    """The median time of a call, by the host's clock, with the device's work done."""
    return statistics.median(clocked(call, 1, device) for _ in range(times))


def clocked(call: Callable[[], object], times: int, device: torch.device) -> float:
    """Calls it so many times; the seconds of the last call."""
    for _ in range(times):
        wait(device)
        start = time.perf_counter()
        call()
        wait(device)
    return time.perf_counter() - start


def relative_difference(found: Tensor, wanted: Tensor) -> float:
    """The Euclidean norm of the difference over that of what is wanted."""
    apart, norm = (torch.linalg.vector_norm(x.detach().double()) for x in (found - wanted, wanted))
    return float(apart / norm.clamp(min=torch.finfo(torch.float64).tiny))


def faster(
    kernel: Callable[[], Sequence[Tensor]], usual: Callable[[], Sequence[Tensor]], device: torch.device, allowed: float
) -> str:
    """Why a kernel is not to be used; empty if its results agree and it is faster.

    Args:
        kernel, usual: the two ways; each returns its results.
        device: where they run.
        allowed: largest relative difference of a result.
    """
    apart = max(relative_difference(x, y) for x, y in zip(kernel(), usual(), strict=True))
    if not apart <= allowed:
        return f"its results differ by {apart:.1e}"
    seconds = [median_seconds(way, device) for way in (kernel, usual)]
    return "" if seconds[0] < seconds[1] else f"it takes {seconds[0] / seconds[1]:.2f} times as long"


def kernel_or_none(name: str, load: Callable[[], _Way], why_not: Callable[[_Way], str]) -> _Way | None:
    """A Triton kernel that is right and pays on this device; None, and a line in the log, otherwise.

    Args:
        name: of what it does, for the log.
        load: imports it; may fail in any way (no Triton, no compiler for its launcher, a GPU that it does not know).
        why_not: tries it; see `faster`.
    """
    try:
        kernel = load()
        why = why_not(kernel)
    except Exception as error:
        why = f"{type(error).__name__}: {error}".splitlines()[0]
    if not why:
        return kernel
    _LOG.warning("%s: torch's operations are used, the Triton kernel is not: %s", name, why)
    return None
