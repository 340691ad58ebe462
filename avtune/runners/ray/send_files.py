"""How the processes of a run on a cluster reach the files of its study, wherever they are."""

from __future__ import annotations

import secrets
import tempfile
from pathlib import Path
from typing import Any

from avtune.runners._base import Placement
from avtune.runners.file_server import FileServer
from avtune.runners.ray.engine_trials import here
from avtune.runners.study_files import SeenFiles, SentFiles, StudyFiles

_MARKER = "seen"  # a file in the run's folder, for processes to find
_AT_A_TIME = 16  # calls that the server works on


def offered(placement: Placement, scratch: Path) -> dict[str, Any] | None:
    """What the processes of a run need for `study_files`; None where they are all on this machine. The server lives as
    long as this is kept.

    Args:
        scratch: the run's folder, in the folder of results.
    """
    if placement.cluster is None:
        return None
    import ray

    token = secrets.token_hex(16)
    marker = scratch.resolve() / _MARKER
    marker.write_text(token)
    options = {"num_cpus": 0, "max_concurrency": _AT_A_TIME, "max_restarts": -1, "max_task_retries": -1}
    server = ray.remote(**options, **here())(FileServer).remote()
    return {"server": server, "marker": str(marker), "token": token}


def study_files(offer: dict[str, Any] | None) -> StudyFiles:
    """In a process of the run.

    Args:
        offer: what `offered` returned.
    """
    if offer is None or _is_seen(Path(offer["marker"]), offer["token"]):
        return SeenFiles()
    import ray

    server = offer["server"]
    return SentFiles(lambda method, *words: ray.get(getattr(server, method).remote(*words)), ray.put)


def _is_seen(marker: Path, token: str) -> bool:
    """Whether this machine sees the folder of a marker, and can write there."""
    try:
        if marker.read_text() != token:
            return False
        tempfile.TemporaryFile(dir=marker.parent).close()
    except OSError:
        return False
    return True
