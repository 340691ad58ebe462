"""Comparing two ways to the same result at run time: how far they are apart and how long they take."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor


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
    apart, norm = (torch.linalg.vector_norm(x.double()) for x in (found - wanted, wanted))
    return float(apart / norm.clamp(min=torch.finfo(torch.float64).tiny))
