"""Whether the head of a cluster is there: its control store (GCS), without which nothing of Ray goes on."""

from __future__ import annotations

import socket
import time

# Refused at once: its process is gone, and in a moment the whole cluster. No answer: perhaps its network is, and Ray
# itself waits for a minute.
_REFUSED, _SILENT = 2.0, 40.0  # seconds
_PATIENCE = 2.0  # for a connection
_EVERY = 1.0  # between two tries


def head_address() -> tuple[str, int]:
    """Host and port of the head of the cluster to which this process is connected."""
    import ray

    host, _, port = ray.get_runtime_context().gcs_address.rpartition(":")
    return host.removeprefix("[").removesuffix("]"), int(port)


class Head:
    """Tries the port of a head now and then. One thread asks."""

    def __init__(self, where: tuple[str, int]) -> None:
        self._where = where
        self._answered = self._tried = time.monotonic()
        self._lost = False

    def is_lost(self) -> bool:
        """Whether it has gone for good."""
        now = time.monotonic()
        if not self._lost and now - self._tried >= _EVERY:
            self._tried = now
            self._lost = self._has_gone()
        return self._lost

    def _has_gone(self) -> bool:
        try:
            socket.create_connection(self._where, timeout=_PATIENCE).close()
        except OSError as error:
            patience = _REFUSED if isinstance(error, ConnectionRefusedError) else _SILENT
            return time.monotonic() - self._answered > patience
        self._answered = time.monotonic()
        return False
