"""What a node of a cluster says of itself. Sent to nodes as it is, so it imports nothing of ours at its top: a node may
lack avtune."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def look(marker: str, content: str, answer: str, *, gpus: bool) -> dict[str, Any]:
    """Runs on a node.

    Args:
        marker, content: a file in the results folder, and what the driver wrote into it.
        answer: a file that the node is to write beside it.
        gpus: whether the node says that it has GPUs: torch is asked, which takes seconds.

    Returns:
        What `nodes.Node` holds, as JSON has it.
    """
    import platform
    import shutil
    import socket
    import sys
    import tempfile
    import time

    found: dict[str, Any] = {"host": socket.gethostname(), "clock": time.time(), "executable": sys.executable}
    found["versions"] = {"python": platform.python_version(), **_versions()}
    found["sees"] = found["writes"] = False
    try:
        found["sees"] = Path(marker).read_text() == content
        if found["sees"]:
            Path(answer).write_text(content)
            found["writes"] = True
    except OSError as error:
        found["storage"] = error.strerror or str(error)
    found["scratch"] = shutil.disk_usage(tempfile.gettempdir()).free
    found["memory"] = _memory()
    found["torch_gpus"] = _torch_gpus() if gpus else 0
    return found


def _versions() -> dict[str, str | None]:
    from importlib.metadata import PackageNotFoundError, version

    versions: dict[str, str | None] = {}
    for package in ("ray", "torch", "numpy", "optuna"):
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = None
    try:
        from avtune import __version__

        versions["avtune"] = __version__
    except ImportError:
        versions["avtune"] = None
    return versions


def _memory() -> int | None:
    try:
        from avtune.core.system import available_memory

        return available_memory()
    except ImportError:
        return None


def _torch_gpus() -> int:
    try:
        import torch

        return torch.cuda.device_count()
    except ImportError:
        return 0
