"""Which runner, which precision and how much memory a command takes."""

from __future__ import annotations

from avtune.core.errors import UserError, choices, did_you_mean
from avtune.data.dataset import Dataset
from avtune.data.on_disk import is_on_disk
from avtune.engine.memory import is_wide
from avtune.engine.precision import fast_precision
from avtune.runners import inline
from avtune.runners import lanes as lanes_runner
from avtune.runners import processes as processes_runner
from avtune.runners._base import Placement, Runner
from avtune.runners.placement import PlacementRequest
from avtune.space.space import Space
from avtune.workflows.options import DeviceOptions

RUNNERS: dict[str, Runner] = {
    "lanes": lanes_runner.opened,
    "processes": processes_runner.opened,
    "inline": inline.opened,
}


def runner_named(name: str | None, *, function: bool = False) -> tuple[str, Runner]:
    """The runner that the user named, or the usual one.

    Args:
        function: it is to run a user's training function, which has no lanes.

    Raises:
        UserError: no runner has that name, or it cannot.
    """
    if function and name == "lanes":
        raise UserError("--runner lanes trains methods; a training function goes with processes (default) or inline")
    name = name or ("processes" if function else "lanes")
    if name not in RUNNERS:
        raise UserError(f"--runner is {name!r}; allowed: {choices(RUNNERS)}{did_you_mean(name, RUNNERS)}")
    return name, RUNNERS[name]


def precision_named(name: str | None, before: str | None, placement: Placement) -> str:
    """The precision that the user named, else the one of before, else the device's.

    Raises:
        UserError: no precision has that name.
    """
    if name not in (None, "fp32", "tf32", "bf16"):
        raise UserError(f"--precision is {name!r}; allowed: bf16, tf32 or fp32")
    if name == "tf32" and not placement.gpus:
        raise UserError("--precision tf32 is one of NVIDIA GPUs, and this search uses none; allowed: bf16 or fp32")
    return name or before or fast_precision(placement.gpus)


def data_bytes(dataset: Dataset, folds: int) -> int:
    """What the training rows take in memory, once for every fold and once for retraining; nothing of what is on
    disk."""
    train = dataset.train
    views = sum(one.nbytes for one in (train.audio, train.visual) if not is_on_disk(one))
    return (folds + 1) * (views + train.labels.nbytes)


def has_wide_lanes(space: Space, dataset: Dataset) -> bool:
    """Whether the lanes of a search are wide, see `engine.memory.is_wide`."""
    try:
        return is_wide(space.method, space.defaults(), (dataset.audio_dim, dataset.visual_dim, dataset.num_classes))
    except Exception:  # of a method of the user's own: its trials fail and say why
        return False


def placement_request(given: DeviceOptions) -> PlacementRequest:
    """How trials are to be placed.

    Raises:
        UserError: there is no such cluster, or it does not go with the runner.
    """
    cluster = None
    if given.cluster is not None:
        from avtune.runners.ray.cluster import find_cluster

        if given.runner == "inline":
            raise UserError("--cluster goes with the runners lanes and processes; inline trains in this process")
        cluster = find_cluster(given.cluster, given.results, gpus=given.gpus != 0)
    return PlacementRequest(
        given.gpus, given.trials_per_gpu, given.lanes, given.max_failures, given.trial_timeout, cluster, given.cpus
    )
