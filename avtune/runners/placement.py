"""How many processes train, on which devices, and how many lanes each has: from what the user asks for and what there
is."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from avtune.core.errors import UserError
from avtune.core.system import available_memory, cores, usable_cores
from avtune.core.words import plural
from avtune.runners._base import Cluster, Placement

TIMEOUTS = (0.01, 1e8)
"""Seconds in which an epoch must be trained: the least and the most. The system's timers take no 1e10."""
TIMEOUTS_TEXT = "seconds from 0.01 to 1e8 (three years)"
# Memory for a process with torch, its data and its weights; measured 376 MB resident without data.
_BYTES_A_PROCESS = 1 << 30
# Memory for the driver, with torch and copies of the data, and for Ray's own processes.
_BYTES_OF_A_RUN = 640 << 20
# Lanes of an engine in a search. On a CPU more gain 10 % at most (two engines; 130 ms an epoch and lane with 4 lanes of
# 512 units, 125 ms with 8; 128 units: 65 and 59 ms), and the more trials run at a time, the less each suggestion knows.
_CPU_LANES = 4
_GPU_LANES = 64
# Lanes of an engine for runs that do not learn from each other: 8 lanes of 512 units train 13 % (fp32) to 27 % (bf16)
# faster than one by one, see benchmarks/lanes.py.
_CPU_RUNS = 8
# A search has at least so many trials for each lane, because the sampler learns from trials that have ended. Wide lanes
# on a CPU train little faster together than one by one, so that fewer of them cost little.
_GENERATIONS = 4
_WIDE_GENERATIONS = 10


@dataclass(frozen=True)
class PlacementRequest:
    """How the user wants trials to be placed.

    Attributes:
        gpus: GPUs to use, None for all there are; 0 trains on CPU cores.
        trials_per_gpu: processes that share a GPU.
        lanes: trials of an engine, None to choose.
        max_failures, timeout: see `Placement`.
        cluster: train there; None for this machine.
        cpus: cores to use, None for all that this process may use and has memory for.
    """

    gpus: int | None = None
    trials_per_gpu: int = 1
    lanes: int | None = None
    max_failures: int = 3
    timeout: float | None = None
    cluster: Cluster | None = None
    cpus: int | None = None


def place(request: PlacementRequest, runner: str, trials: int, *, wide: bool = False, exact: bool = False) -> Placement:
    """Where trials run.

    Args:
        runner: `lanes`, `processes` or `inline` (one trial at a time).
        trials: how many there will be.
        wide: their lanes are wide, see `engine.memory.is_wide`.
        exact: their results must not depend on the number of engines and lanes.

    Raises:
        UserError: more GPUs or cores than there are, or a setting that would have no effect.
    """
    gpus = _gpus(request)
    if request.lanes is not None and runner != "lanes":
        raise UserError(f"--lanes goes with the runner lanes; the runner {runner} has none, leave it out")
    if request.max_failures < 1:
        raise UserError(f"--max-failures is {request.max_failures}; allowed: a whole number from 1")
    if request.timeout is not None and not TIMEOUTS[0] <= request.timeout <= TIMEOUTS[1]:
        raise UserError(f"--trial-timeout is {request.timeout:g}; allowed: {TIMEOUTS_TEXT}")
    generations = _WIDE_GENERATIONS if wide and not gpus else _GENERATIONS
    placement = _place(request, runner, trials // generations, gpus)
    if exact:  # one thread: how a sum is split over threads, and so its rounding, depends on their number
        placement = replace(placement, threads=1, exact=True)
    bounded = (request.gpus if gpus else request.cpus) is not None
    return replace(
        placement,
        max_failures=request.max_failures,
        timeout=request.timeout,
        cluster=request.cluster,
        bounded=bounded,
    )


def _place(request: PlacementRequest, runner: str, at_a_time: int, gpus: int) -> Placement:
    assert request.cluster is None or runner != "inline"
    cpus = _cpus(request, runner)
    if runner == "inline":
        if (request.gpus or 0) > 1:
            raise UserError(f"--gpus is {request.gpus}, and the runner inline uses one GPU; allowed: 0 or 1")
        if request.trials_per_gpu > 1:
            raise UserError(
                f"--trials-per-gpu is {request.trials_per_gpu}, and the runner inline trains one trial at a time; "
                "leave it out"
            )
        # One thread: on small matrices several threads mostly wait for each other.
        return Placement(1, min(gpus, 1), 1)
    if gpus:
        count = gpus * request.trials_per_gpu
        return Placement(
            count, gpus, _threads(request, cpus, count), *_lanes(request, runner, at_a_time, count, _GPU_LANES)
        )
    count = cpus
    if request.cluster is None and request.cpus is None:
        count = max(1, min(cpus, (available_memory() - _BYTES_OF_A_RUN) // _BYTES_A_PROCESS))
    return Placement(count, 0, 1, *_lanes(request, runner, at_a_time, count, _CPU_LANES))


def _threads(request: PlacementRequest, cpus: int, count: int) -> int:
    """CPU threads of a process on a GPU: on each node those that train there share its CPUs."""
    nodes = request.cluster.nodes if request.cluster else ()
    shares = [node.cpus // min(count, node.gpus * request.trials_per_gpu) for node in nodes if node.gpus]
    return max(1, min([cpus // count, *shares]))


def _cpus(request: PlacementRequest, runner: str) -> int:
    """Cores that a search may keep busy."""
    there = max(1, request.cluster.cpus) if request.cluster else usable_cores()
    if request.cpus is None:
        return there
    if not 1 <= request.cpus <= there:
        who = (
            f"the cluster at {request.cluster.address} has {there}"
            if request.cluster
            else f"{there} here ({cores().why})"
        )
        raise UserError(f"--cpus is {request.cpus}; allowed: 1 to {there}, {who}")
    if runner == "inline" and request.cpus > 1:
        raise UserError(f"--cpus is {request.cpus}, and the runner inline uses one core; leave it out")
    return request.cpus


def _gpus(request: PlacementRequest) -> int:
    there = request.cluster.gpus if request.cluster else torch.cuda.device_count()
    gpus = there if request.gpus is None else request.gpus
    if gpus < 0 or gpus > there:
        have = f"{plural(there, 'GPU')}"
        who = f"the cluster at {request.cluster.address} has {have}" if request.cluster else _seen(have)
        raise UserError(
            f"--gpus is {gpus}; {who}, so 0 to {there} are allowed"
            + ("" if there else "\nwith --gpus 0 trials run on the CPU cores; `avtune doctor` shows what is there")
        )
    if request.trials_per_gpu < 1:
        raise UserError(f"--trials-per-gpu is {request.trials_per_gpu}; allowed: a whole number from 1")
    if request.trials_per_gpu > 1 and not gpus:
        raise UserError("--trials-per-gpu needs a GPU, and this search uses none; leave it out")
    return gpus


def _seen(gpus: str) -> str:
    return f"torch {torch.__version__} sees {gpus} here"


def _lanes(request: PlacementRequest, runner: str, at_a_time: int, engines: int, most: int) -> tuple[int, int]:
    """Lanes of an engine, for a search and for independent runs. Where nobody says: for a search few enough that the
    sampler learns from several generations of trials, because a search in which all run at once learns nothing."""
    if runner != "lanes":
        return 1, 1
    if request.lanes is not None:
        if not 1 <= request.lanes <= 4096:
            raise UserError(f"--lanes is {request.lanes}; allowed: 1 to 4096")
        return request.lanes, request.lanes
    return max(1, min(most, at_a_time // engines)), max(most, _CPU_RUNS)
