"""What a result may depend on besides its study: versions, machine, command. And the disk that is left."""

from __future__ import annotations

import platform
import shutil
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from avtune import __version__
from avtune.core.system import usable_cores

_PACKAGES = ("torch", "ray", "optuna", "numpy", "scipy", "scikit-learn", "h5py", "safetensors", "tensorboard")


def versions() -> dict[str, str]:
    """Versions of avtune, Python and the packages that decide a result, by name; `missing` for one that is not
    installed."""
    found = {"avtune": __version__, "python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "missing"
    return found


def environment() -> dict[str, Any]:
    """What `environment.json` holds."""
    import torch  # here, since `core` is imported where torch is not

    return {
        "versions": versions(),
        "platform": platform.platform(),
        "cpu": _cpu_name(),
        "cores": usable_cores(),
        "gpus": [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())],
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
    }


def free_disk(path: Path) -> int:
    """Free bytes where `path` is or will be."""
    while not path.exists():
        path = path.parent
    return shutil.disk_usage(path).free


def _cpu_name() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
