"""A private Ray on this machine: loopback only, a token of its own, no telemetry, quiet, gone afterwards."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Iterator
from pathlib import Path

from avtune.runners.ray_session import ray_session
from avtune.runners.scratch import scratch_folder

# Every listener on 127.0.0.1 instead of all interfaces. An undocumented use of this flag: a test pins it.
_LOOPBACK = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}

# One for the life of this process: Ray's core reads it once.
_TOKEN = secrets.token_hex(32)


@contextlib.contextmanager
def local_ray(num_cpus: int, num_gpus: int, data_bytes: int) -> Iterator[Path]:
    """Starts Ray for the length of the block.

    Args:
        num_cpus, num_gpus: logical resources.
        data_bytes: what the objects in its store take.

    Yields:
        A private scratch folder, removed afterwards.
    """
    with (
        scratch_folder() as scratch,
        ray_session(
            {**_LOOPBACK, "RAY_AUTH_TOKEN": _TOKEN},
            address="local",
            num_cpus=num_cpus,
            num_gpus=num_gpus,
            object_store_memory=data_bytes + data_bytes // 2 + (128 << 20),
            include_dashboard=False,
            _temp_dir=str(scratch / "ray"),
        ),
    ):
        yield scratch
