"""Choosing between two ways to the same result at run time: how far they are apart and how long they take."""

from __future__ import annotations

import logging
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


def largest_difference(found: Sequence[Tensor], wanted: Sequence[Tensor]) -> float:
    """Of tensors in turn, the largest `relative_difference`."""
    return max(relative_difference(x, y) for x, y in zip(found, wanted, strict=True))


def disagreement(found: Sequence[Tensor], wanted: Sequence[Tensor], allowed: float) -> str:
    """Why a kernel with the results `found` is refused; empty if none differs by more than `allowed` of itself."""
    apart = largest_difference(found, wanted)
    return "" if apart <= allowed else f"its results differ by {apart:.1e}"


def kernel_or_none(name: str, load: Callable[[], _Way], why_not: Callable[[_Way], str]) -> _Way | None:
    """A Triton kernel that works and agrees on this device; None, and a line in the log, otherwise.

    It is not timed: engines that share a GPU would choose by each other's load, and their results would differ in the
    last bits. `benchmarks/gpu.py` shows what a kernel saves.

    Args:
        name: of what it does, for the log.
        load: imports it; may fail in any way (no Triton, no compiler for its launcher, a GPU that it does not know).
        why_not: tries it; see `disagreement`.
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
