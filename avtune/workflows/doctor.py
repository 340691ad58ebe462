"""What is here, what is missing, and what a search would use: the verb `doctor`."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from avtune.core.environment import free_disk, versions
from avtune.core.errors import UserError
from avtune.core.system import cores, memory, size, threads
from avtune.engine.precision import fast_precision
from avtune.runners.placement import PlacementRequest, place
from avtune.runners.thread_limit import threads_of_a_run

_LEAST_DISK = 2 << 30
_LEAST_SHM = 256 << 20
_LEAST_MEMORY = 1 << 30


def examine(results: Path) -> list[dict[str, str]]:
    """Looks at this machine.

    Args:
        results: the folder of studies.

    Returns:
        Findings with `state` (`ok`, `warn`: works, with a cost; `bad`: a search would fail), `what` and `found`.
    """
    return [*_versions(), *_devices(), _data(), _disk(results), _shared_memory(), _ray()]


def _finding(state: str, what: str, found: str) -> dict[str, str]:
    return {"state": state, "what": what, "found": found}


def _versions() -> list[dict[str, str]]:
    rows = []
    for name, version in versions().items():
        rows.append(_finding("bad" if version == "missing" else "ok", name, version))
    return rows


def _devices() -> list[dict[str, str]]:
    import torch

    may_use = cores()
    rows = [_finding("ok", "CPU cores", f"{may_use.amount} ({may_use.why})"), _memory(), _threads()]
    names = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    if names:
        rows.append(_finding("ok", "GPUs", f"{len(names)}: {', '.join(sorted(set(names)))}"))
    elif shutil.which("nvidia-smi"):
        rows.append(
            _finding("warn", "GPUs", f"this machine seems to have one, but torch {torch.__version__} sees none")
        )
    else:
        rows.append(_finding("ok", "GPUs", "none; trials run on the CPU cores"))
    rows.append(_finding("ok", "search precision", fast_precision(len(names))))
    for name in ("lanes", "processes", "inline"):
        try:
            rows.append(_finding("ok", f"runner {name}", place(PlacementRequest(), name, 200).text))
        except UserError as error:
            rows.append(_finding("bad", f"runner {name}", str(error)))
    return rows


def _memory() -> dict[str, str]:
    left = memory()
    state = "ok" if left.amount >= _LEAST_MEMORY else "warn"
    hint = "" if state == "ok" else "; a search may not fit: take --runner inline, or give it more"
    return _finding(state, "memory", f"{size(left.amount)} ({left.why}){hint}")


def _threads() -> dict[str, str]:
    left = threads()
    if left is None:
        return _finding("ok", "threads", "no limit")
    need = threads_of_a_run(1)
    hint = "" if left.amount >= need else f"; a search takes about {need}: only --runner inline runs here"
    return _finding("bad" if hint else "ok", "threads", f"{left.amount} {left.why}{hint}")


def _data() -> dict[str, str]:
    from avtune.data.registry import REGISTRY, locate

    found = [name for name, entry in REGISTRY.items() if locate(entry) is not None]
    return _finding("ok", "datasets", ", ".join(["demo", *found]) + "; `avtune data list` tells where to get others")


def _disk(results: Path) -> dict[str, str]:
    free = free_disk(results.resolve())
    state = "ok" if free >= _LEAST_DISK else "warn"
    return _finding(state, "disk", f"{free / 2**30:.0f} GiB free for {results}")


def _shared_memory() -> dict[str, str]:
    path = Path("/dev/shm")
    if not path.is_dir():
        return _finding("ok", "shared memory", "not used on this system")
    free = free_disk(path)
    state = "ok" if free >= _LEAST_SHM else "warn"
    hint = "" if state == "ok" else "; Ray will use a slower folder: give the container more, e.g. --shm-size 1g"
    return _finding(state, "shared memory", f"{free / 2**20:.0f} MiB free in {path}{hint}")


def _ray() -> dict[str, str]:
    """Starts Ray as a search does and runs one task in it."""
    from avtune.runners.ray.local import local_ray

    try:
        with local_ray(1, 0, 0):
            import ray

            python = ray.get(ray.remote(lambda: sys.version_info[:2]).remote(), timeout=60)
    except UserError as error:
        return _finding("bad", "Ray", "; ".join(str(error).splitlines()))
    except Exception as error:
        return _finding("bad", "Ray", f"does not start: {type(error).__name__}: {str(error).splitlines()[0]}")
    return _finding(
        "ok", "Ray", f"starts, private, on the loopback address; a worker runs Python {python[0]}.{python[1]}"
    )
