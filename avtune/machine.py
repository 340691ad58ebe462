"""What this machine has, and what of it a search uses."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from avtune import __version__
from avtune.errors import UserError
from avtune.runners._base import Slots

_PACKAGES = ("torch", "ray", "optuna", "numpy", "scipy", "scikit-learn", "h5py", "safetensors", "tensorboard")
# What a worker process with torch, its data and its weights takes; measured 376 MB resident without data.
_BYTES_A_SLOT = 1 << 30


def cores() -> int:
    """CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def slots(gpus: int | None, trials_per_gpu: int, runner: str) -> Slots:
    """Where trials run.

    Args:
        gpus: GPUs to use, None for all there are; 0 trains on CPU cores.
        trials_per_gpu: trials that share a GPU.
        runner: `processes` or `inline` (one trial at a time).

    Raises:
        UserError: more GPUs than this machine has, or a setting that would have no effect.
    """
    there = torch.cuda.device_count()
    if gpus is None:
        gpus = there
    if gpus < 0 or gpus > there:
        have = f"{there} GPU{'s' * (there != 1)}"
        raise UserError(
            f"--gpus is {gpus}; torch {torch.__version__} sees {have} here, so 0 to {there} are allowed"
            + ("" if there else "\nwith --gpus 0 trials run on the CPU cores; `avtune doctor` shows what is there")
        )
    if trials_per_gpu < 1:
        raise UserError(f"--trials-per-gpu is {trials_per_gpu}; allowed: a whole number from 1")
    if trials_per_gpu > 1 and not gpus:
        raise UserError("--trials-per-gpu needs a GPU, and this search uses none; leave it out")
    if runner == "inline":
        # One thread: with small matrices more of them mostly wait for each other.
        return Slots(1, min(gpus, 1), 1)
    if gpus:
        count = gpus * trials_per_gpu
        return Slots(count, gpus, max(1, cores() // count))
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return Slots(max(1, min(cores(), memory // _BYTES_A_SLOT)), 0, 1)


def versions() -> dict[str, str]:
    """Versions of avtune, Python and the packages that decide a result."""
    found = {"avtune": __version__, "python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "missing"
    return found


def environment() -> dict[str, Any]:
    """What a result may depend on besides its study: for `environment.json`."""
    return {
        "versions": versions(),
        "platform": platform.platform(),
        "cpu": _cpu_name(),
        "cores": cores(),
        "gpus": [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())],
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
    }


def _cpu_name() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def free_disk(path: Path) -> int:
    """Free bytes where `path` is or will be."""
    while not path.exists():
        path = path.parent
    return shutil.disk_usage(path).free
