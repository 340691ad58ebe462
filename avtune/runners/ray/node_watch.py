"""Asks Ray, now and then, which nodes its cluster has."""

from __future__ import annotations

import contextlib
import time

from avtune.core.errors import StorageError
from avtune.runners._base import Placement
from avtune.runners.joining import ClusterNodes, News
from avtune.runners.ray import private
from avtune.runners.ray.preflight import Look, alive_nodes

_EVERY = 2.0  # seconds; the questions take milliseconds


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
            self._nodes = ClusterNodes(
                cluster, placement, alive_nodes, lambda facts: Look(facts, cluster.shared), private.draining_nodes
            )

    def news(self) -> News | None:
        """What has changed, where it is time to ask; None for nothing. Does not wait."""
        import ray

        if self._nodes is None or time.monotonic() - self._asked < _EVERY:
            return None
        self._asked = time.monotonic()
        with contextlib.suppress(ray.exceptions.RayError, StorageError):  # next time
            return self._nodes.news()
        return None

    def leaves(self, node: str | None) -> bool:
        """Whether what trains on a node is to leave it: it was about to go when it was asked last, or is not fit."""
        return self._nodes is not None and node is not None and not self._nodes.gets_trials(node)

    def close(self) -> None:
        """Ends a look that goes on."""
        if self._nodes is not None:
            self._nodes.close()
