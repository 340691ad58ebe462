"""Training steps recorded once and replayed: on a GPU a step of `psd` is hundreds of small kernels, which take 10 ms to
launch one by one, and 0.8 ms as a CUDA graph (`benchmarks/gpu.py`).

A recording is of a number of lanes, so lanes are filled up to one of few numbers. It is used only if it is right and
pays: the first steps are taken in the usual way and then by the recording, from the same weights; where that fails,
the results differ or it is not faster, the group trains in the usual way, and the log says why in one line.

Legend: L lanes.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from avtune.core.errors import is_out_of_memory
from avtune.core.words import plural
from avtune.engine.steps import Plan, Steps
from avtune.lanes.measured import clocked, wait

_LOG = logging.getLogger(__name__)
_TRIED = 2
"""Steps that both ways take; the last is timed. The first of a replay uploads the graph."""
_APART = 0.02
"""How far the two ways may be apart after `_TRIED` steps, as a share of what these steps changed in a lane. They launch
the same kernels: 0 is usual, sums by atomics make 1e-5, a step that missed one of its inputs makes 0.3 or more."""

Step = Callable[[], None]


class Recorder(Protocol):
    """Records a step, which it need not take, and gives a call that takes it from then on."""

    def __call__(self, step: Step) -> Step: ...


@dataclass(frozen=True)
class _Recording:
    """Of a number of lanes.

    Attributes:
        replay: takes the plan's next step.
        plan: of the epoch.
        step: what was recorded; it holds the tensors whose memory the recording works on.
    """

    replay: Step
    plan: Plan
    step: Step


class Captured:
    """The recordings of a group.

    Args:
        steps: of the group.
        record: how.
        device: where.
    """

    def __init__(self, steps: Steps, record: Recorder, device: torch.device) -> None:
        self._steps = steps
        self._record = record
        self._device = device
        self._recordings: dict[int, _Recording] = {}
        self._filled: tuple[int, ...] = ()
        self._given_up = False

    @property
    def used(self) -> bool:
        """Whether steps are replayed."""
        return bool(self._recordings)

    def train(self, lanes: int) -> dict[str, Tensor] | None:
        """One epoch of the first `lanes` lanes: the sum over its steps of each term [L]; None where the usual way is to
        be taken."""
        if self._given_up:
            return None
        padded = padded_lanes(lanes, self._steps.store.capacity)
        self._fill(lanes, padded)
        plan = self._steps.plan(slice(0, lanes), padded)
        if padded in self._recordings:
            recording = self._recordings[padded]
            _load(recording.plan, plan)
            left = self._steps.count
        else:
            made = self._try(padded, plan)
            if made is None:
                return None
            recording, left = made
        for _ in range(left):
            recording.replay()
        self._steps.prepare(slice(0, lanes))
        return {name: value[:lanes].clone() for name, value in recording.plan.sums.items()}

    def _fill(self, lanes: int, padded: int) -> None:
        """The lanes without a trial repeat the first one: whatever was in them need not be trainable."""
        now = (lanes, padded, self._steps.store.trials[0].number)
        if now != self._filled:
            self._steps.store.repeat_first(slice(lanes, padded))
            self._filled = now

    def _try(self, lanes: int, plan: Plan) -> tuple[_Recording, int] | None:
        """A recording of so many lanes and the steps that are left of the epoch; None if it is not to be used. The
        weights are then those before the epoch."""
        state = self._steps.store.changing(slice(0, lanes))
        before = [x.clone() for x in state]
        step = self._steps.fixed(slice(0, lanes), plan)
        tried = min(_TRIED, self._steps.count)
        usual = clocked(step, tried, self._device)
        wanted = [x.clone() for x in state]
        why = ""
        try:
            _restart(state, before, plan)
            replay = self._record(step)
            _restart(state, before, plan)
            replayed = clocked(replay, tried, self._device)
            why = _why_not(before, wanted, state, tried, usual, replayed)
        except Exception as error:  # a method that reads a value back, no memory, a driver that refuses, ...
            why = _short(error)
        if not why:
            _LOG.debug("%d lanes: a step takes %.2f ms, replayed %.2f ms", lanes, 1e3 * usual, 1e3 * replayed)
            recording = self._recordings[lanes] = _Recording(replay, plan, step)
            return recording, self._steps.count - tried
        wait(self._device)
        _restart(state, before, plan)
        self._recordings.clear()
        self._given_up = True
        _LOG.warning(
            "%s: steps are launched one by one, a CUDA graph is not used: %s", self._steps.store.method.name, why
        )
        return None


def padded_lanes(lanes: int, capacity: int) -> int:
    """The smallest of 1, 2, 3, 4, 6, 8, 12, 16, 24, 32, ... that is at least `lanes`; `capacity` at most."""
    power = 1 << (lanes - 1).bit_length()
    return min(3 * power // 4 if power >= 4 and lanes <= 3 * power // 4 else power, capacity)


def _load(fixed: Plan, plan: Plan) -> None:
    for old, new in zip(fixed.tensors(), plan.tensors(), strict=True):
        old.copy_(new)
    for value in fixed.sums.values():
        value.zero_()


def _restart(state: list[Tensor], before: list[Tensor], plan: Plan) -> None:
    """Back to the weights before the epoch and to its first step."""
    for tensor, old in zip(state, before, strict=True):
        tensor.copy_(old)
    plan.step.zero_()
    for value in plan.sums.values():
        value.zero_()


def _why_not(
    before: list[Tensor], wanted: list[Tensor], found: list[Tensor], steps: int, usual: float, replayed: float
) -> str:
    """Why the recording is not to be used after so many steps both ways; empty if it is."""
    apart = _apart(before, wanted, found)
    if not apart <= _APART:
        return f"after {plural(steps, 'step')} the results differ by {apart:.1e} of the change"
    return "" if replayed < usual else f"a replayed step takes {replayed / usual:.2f} times as long"


def _apart(before: list[Tensor], wanted: list[Tensor], found: list[Tensor]) -> float:
    """The largest difference of a lane as a share of its change; lanes that are not finite are left out."""
    change, apart = (
        torch.stack([(x - y).flatten(1).double().square().sum(1) for x, y in zip(wanted, other, strict=True)]).sum(0)
        for other in (before, found)
    )
    share_L = (apart / change.clamp(min=1e-30)).sqrt()
    return float(torch.where(torch.isfinite(change), share_L, 0).max())


def _short(error: Exception) -> str:
    if is_out_of_memory(error):
        return "there is no memory for it"
    lines = str(error).splitlines()
    return f"{type(error).__name__}: {lines[0] if lines else ''}"


class CudaGraphs:
    """Records steps as CUDA graphs, which share one pool of memory: they are never replayed at the same time.

    Args:
        device: where.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self._pool = torch.cuda.graph_pool_handle()

    def __call__(self, step: Step) -> Step:
        """
        Raises:
            RuntimeError: the step reads something back from the device, or cannot be recorded for another reason.
        """
        self._rehearse(step)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self._pool, stream=self._stream):
            step()
        return graph.replay

    def _rehearse(self, step: Step) -> None:
        """Takes the step once on the recording's stream, where libraries allocate what they need for it, and without
        waits for the device, which would break the recording."""
        self._stream.wait_stream(torch.cuda.current_stream(self._device))
        with _waits_are_errors(), torch.cuda.stream(self._stream):
            step()
        torch.cuda.current_stream(self._device).wait_stream(self._stream)


@contextmanager
def _waits_are_errors() -> Iterator[None]:
    """Within the block what waits for the GPU raises RuntimeError, as far as torch sees it."""
    mode = torch.cuda.get_sync_debug_mode()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Synchronization debug mode is a prototype", UserWarning)
        torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode(mode)
