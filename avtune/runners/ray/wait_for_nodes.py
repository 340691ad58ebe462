"""Waits until all machines of a cluster have joined, so that a search is planned for all of them:
`python -m avtune.runners.ray.wait_for_nodes ADDRESS COUNT`."""

from __future__ import annotations

import sys
import time

_PATIENCE = 180.0  # seconds


def wait_for_nodes(address: str, count: int) -> int:
    """The exit code: 0 when all are there, 1 when `_PATIENCE` is over."""
    import logging

    import ray

    from avtune.runners.ray import private

    ray.init(address=address, log_to_driver=False, logging_level=logging.CRITICAL, job_config=private.job_config())
    end = time.monotonic() + _PATIENCE
    while (there := sum(node["Alive"] for node in ray.nodes())) < count:
        if time.monotonic() > end:
            print(f"avtune: {there} of {count} machines have joined in {_PATIENCE:g} s", file=sys.stderr)
            return 1
        time.sleep(0.5)
    return 0


if __name__ == "__main__":
    sys.exit(wait_for_nodes(sys.argv[1], int(sys.argv[2])))
