"""The cores, the memory and the threads that this process may use, and why no more: the machine's, the CPU affinity's,
and those of the control groups that containers and job schedulers are made of (version 1, version 2, and both at once).

No torch and no Ray here, and nothing of ours: it is asked before anything is started. Every function takes the root of
the file system that it reads, for tests. Sources: Linux, Documentation/admin-guide/cgroup-v1 and cgroup-v2.rst.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

_ROOT = Path("/")


@dataclass(frozen=True)
class Allowance:
    """What of something this process may use.

    Attributes:
        amount: cores, bytes or threads.
        why: what sets it, e.g. `CPU quota of the control group /docker/7f`.
    """

    amount: int
    why: str


def usable_cores() -> int:
    """How many cores this process may keep busy, at least 1."""
    return cores().amount


def available_memory() -> int:
    """Bytes that this process may still take."""
    return memory().amount


def cores(root: Path = _ROOT) -> Allowance:
    """The lesser of the cores that this process may run on and its CPU quota, rounded to whole cores; at least 1."""
    found = Allowance(os.cpu_count() or 1, "cores of the machine")
    if hasattr(os, "sched_getaffinity"):
        allowed = len(os.sched_getaffinity(0))
        if allowed < found.amount:
            found = Allowance(allowed, "CPU affinity")
    for group in _groups("cpu", root):
        quota = _quota(group.folder)
        if quota is not None and (whole := max(1, math.floor(quota + 0.5))) < found.amount:
            found = Allowance(whole, f"CPU quota of {quota:.4g} of {group.text}")
    return found


def memory(root: Path = _ROOT) -> Allowance:
    """Bytes that are left: the least of what the machine has available and of what is left in each control group, where
    the page cache that a group can give back counts as left."""
    found = Allowance(_machine_memory(root), "available on the machine")
    for group in _groups("memory", root):
        limits = [_number(group.folder / name) for name in ("memory.max", "memory.high", "memory.limit_in_bytes")]
        used = _number(group.folder / "memory.current", group.folder / "memory.usage_in_bytes")
        facts = _facts(group.folder / "memory.stat")
        known = [limit for limit in (*limits, facts.get("hierarchical_memory_limit")) if limit is not None]
        if not known or used is None:
            continue
        cache = facts.get("total_inactive_file", facts.get("inactive_file", 0))
        left = max(0, min(known) - max(0, used - cache))
        if left < found.amount:
            found = Allowance(left, f"left of the {size(min(known))} of {group.text}")
    return found


def threads(root: Path = _ROOT) -> Allowance | None:
    """How many more processes and threads may be started; None where nothing limits them. The limit of a user (`ulimit
    -u`) does not hold for root, and counts what the user runs outside of a container too."""
    found = [left for left in (_user_threads(root), *_group_threads(root)) if left is not None]
    return min(found, key=lambda one: one.amount, default=None)


def out_of_memory_kills(root: Path = _ROOT) -> int:
    """How many processes the kernel has ended for lack of memory in this process's control group, or on the machine
    where no group counts them; 0 where nobody counts."""
    for group in _groups("memory", root):
        for name in ("memory.events", "memory.oom_control"):
            kills = _facts(group.folder / name).get("oom_kill")
            if kills is not None:
                return kills
    return _facts(root / "proc/vmstat").get("oom_kill", 0)


def size(number: int) -> str:
    """Bytes as people read them: `640 MiB`, `1.5 GiB`."""
    return f"{number / 2**20:.0f} MiB" if number < 1000 << 20 else f"{number / 2**30:.1f} GiB"


# -- control groups ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Group:
    """A control group: the folder of its files, and its name."""

    folder: Path
    name: str

    @property
    def text(self) -> str:
        return "the container" if self.name == "/" else f"the control group {self.name}"


def _groups(controller: str, root: Path) -> Iterator[_Group]:
    """The groups with files of a controller that this process is in: its own, and then each that holds the one before,
    as far as they can be seen from here. A container may see its own alone, at the place of the root."""
    memberships = _memberships(root)
    for place, base, controllers in _mounts(root):
        member = memberships.get(controller if controller in controllers else "" if "" in controllers else None)
        if member is None:
            continue
        top = root / place.lstrip("/")
        parts = PurePosixPath(member).relative_to(base).parts if PurePosixPath(member).is_relative_to(base) else ()
        if ".." in parts or not top.joinpath(*parts).is_dir():  # as another namespace names it
            parts = ()
        for depth in range(len(parts), -1, -1):
            yield _Group(top.joinpath(*parts[:depth]), str(PurePosixPath(base, *parts[:depth])))


def _memberships(root: Path) -> dict[str | None, str]:
    """The group of this process by controller; that of version 2 under the empty name."""
    found: dict[str | None, str] = {}
    for line in _lines(root / "proc/self/cgroup"):
        _, *rest = line.split(":", 2)  # `4:cpu,cpuacct:/path`
        if len(rest) == 2:
            found.update(dict.fromkeys(rest[0].split(","), rest[1]))
    return found


def _mounts(root: Path) -> Iterator[tuple[str, str, set[str]]]:
    """Where control groups are mounted: (mount point, the group at that place, controllers); version 2 has the empty
    name for a controller."""
    for line in _lines(root / "proc/self/mountinfo"):
        left, _, right = line.partition(" - ")
        fields, about = left.split(), right.split()
        if len(fields) > 4 and about[:1] in (["cgroup"], ["cgroup2"]):
            place, base = (re.sub(r"\\(\d{3})", lambda code: chr(int(code[1], 8)), fields[at]) for at in (4, 3))
            yield place, base, {""} if about[0] == "cgroup2" else set(about[-1].split(","))


def _quota(folder: Path) -> float | None:
    """Cores that a group may keep busy; None for any number."""
    words = " ".join(_lines(folder / "cpu.max")).split()  # `200000 100000`, or `max 100000`
    if not words:
        words = [str(_number(folder / f"cpu.cfs_{name}_us")) for name in ("quota", "period")]
    if len(words) != 2 or not all(word.isdigit() and int(word) for word in words):
        return None
    return int(words[0]) / int(words[1])


def _group_threads(root: Path) -> Iterator[Allowance]:
    for group in _groups("pids", root):
        most, used = _number(group.folder / "pids.max"), _number(group.folder / "pids.current")
        if most is not None and used is not None:
            yield Allowance(max(0, most - used), f"left of the {most} processes and threads of {group.text}")


# -- the user and the machine ------------------------------------------------------------------------------------------

_ADMIN, _RESOURCE = 21, 24  # capabilities that the limit of processes does not hold for, see capabilities(7)


def _user_threads(root: Path) -> Allowance | None:
    most = _most_user_threads()
    if most is None or _is_privileged(root):
        return None
    used = 0
    for folder in (root / "proc").glob("[0-9]*"):
        facts = {name: rest.split() for name, _, rest in (line.partition(":") for line in _lines(folder / "status"))}
        if facts.get("Uid", [""])[0] == str(os.getuid()):
            used += int(facts["Threads"][0])
    return Allowance(max(0, most - used), f"left of the {most} processes and threads of this user (ulimit -u)")


def _most_user_threads() -> int | None:
    try:
        import resource

        most = resource.getrlimit(resource.RLIMIT_NPROC)[0]
    except (ImportError, AttributeError):  # no Unix
        return None
    return None if most == resource.RLIM_INFINITY else most


def _is_privileged(root: Path) -> bool:
    """Whether the limit of a user does not hold: for root, and with a capability; both of the machine, not of a user
    namespace, whose root is somebody else outside."""
    if " ".join(_lines(root / "proc/self/uid_map")).split() != ["0", "0", str(2**32 - 1)]:
        return False
    facts = dict(line.partition(":")[::2] for line in _lines(root / "proc/self/status"))
    capabilities = int(facts.get("CapEff", "0").strip(), 16)
    return os.getuid() == 0 or bool(capabilities & (1 << _ADMIN | 1 << _RESOURCE))


def _machine_memory(root: Path) -> int:
    for line in _lines(root / "proc/meminfo"):
        if found := re.fullmatch(r"MemAvailable:\s+(\d+) kB", line):
            return int(found[1]) * 1024
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")  # not Linux


# -- files -------------------------------------------------------------------------------------------------------------


def _lines(path: Path) -> list[str]:
    """The lines of a file; none where it is not there or not for us."""
    try:
        return path.read_text(errors="replace").splitlines()
    except OSError:
        return []


def _number(*paths: Path) -> int | None:
    """The number in the first of the files that holds one; `max` and -1 are none."""
    return next((int(text) for path in paths if (text := " ".join(_lines(path)).strip()).isdigit()), None)


def _facts(path: Path) -> dict[str, int]:
    """A file of lines `name number`."""
    pairs = (line.split() for line in _lines(path))
    return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2 and pair[1].isdigit()}
