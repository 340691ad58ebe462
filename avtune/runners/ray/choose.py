"""The Ray of a run: a private one, unless the placement names a cluster."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path

from avtune.runners._base import Placement
from avtune.runners.ray.cluster import cluster_ray
from avtune.runners.ray.local import local_ray


def ray_for(placement: Placement, data_bytes: int) -> AbstractContextManager[Path]:
    """Ray for the length of the block, and a scratch folder, which machines see that see the folder of results.

    Args:
        data_bytes: what the objects in its store take.
    """
    if placement.cluster is not None:
        return cluster_ray(placement.cluster, placement.text)
    return local_ray(placement.count, placement.gpus, data_bytes)
