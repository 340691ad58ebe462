"""Asks Ray, now and then, which nodes its cluster has."""

from __future__ import annotations

import contextlib
import time

from avtune.core.errors import StorageError
from avtune.runners._base import Placement
from avtune.runners.joining import ClusterNodes, News
from avtune.runners.ray.preflight import Look, alive_nodes

_EVERY = 5.0  # seconds; the question takes milliseconds


class NodeWatch:
    """The nodes of a placement's cluster while a run goes on; without a cluster there is never any news. One thread
    calls it.

    Args:
        placement: of the run as it begins.
    """

    def __init__(self, placement: Placement) -> None:
        self._nodes: ClusterNodes | None = None
        self._asked = time.monotonic()
        if (cluster := placement.cluster) is not None:
            self._nodes = ClusterNodes(cluster, placement, alive_nodes, lambda facts: Look(facts, cluster.shared))

    def news(self) -> News | None:
        """What has changed, where it is time to ask; None for nothing. Does not wait."""
        import ray

        if self._nodes is None or time.monotonic() - self._asked < _EVERY:
            return None
        self._asked = time.monotonic()
        with contextlib.suppress(ray.exceptions.RayError, StorageError):  # next time
            return self._nodes.news()
        return None

    def close(self) -> None:
        """Ends a look that goes on."""
        if self._nodes is not None:
            self._nodes.close()
