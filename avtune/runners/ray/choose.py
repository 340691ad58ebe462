"""The Ray of a run: a private one, unless the slots are a cluster's."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path

from avtune.runners._base import Slots
from avtune.runners.ray.cluster import cluster_ray
from avtune.runners.ray.local import local_ray


def ray_for(slots: Slots, data_bytes: int) -> AbstractContextManager[Path]:
    """Ray for the length of the block, and a scratch folder that all its machines see.

    Args:
        data_bytes: what the objects in its store take.
    """
    if slots.cluster is not None:
        return cluster_ray(slots.cluster)
    return local_ray(slots.count, slots.gpus, data_bytes)
