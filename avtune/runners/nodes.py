"""The nodes of a cluster: what each has, and what keeps a search from training there. No Ray here."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from avtune.core.system import size
from avtune.core.words import plural

_SAME = ("avtune", "python", "ray", "torch", "numpy")  # versions on which results, or what processes send, depend
_CLOCK = 60.0  # seconds that a clock may be wrong by without a note
_LEAST_SCRATCH = 64 << 20  # bytes


@dataclass(frozen=True)
class Node:
    """A machine of a cluster, or what Ray takes for one.

    Attributes:
        address: of the machine.
        host: its name; None where it has not answered.
        cpus, gpus: what it says to Ray that it has.
        versions: of avtune, Python and packages; None for what is not installed.
        executable: of its Python.
        sees, writes: whether it sees, and can write, the results folder of the driver.
        storage: why it does not, where the system says so. What trains there sends its files to the driver's machine.
        scratch: free bytes in its folder for temporary files.
        memory: free bytes; None where it is not known.
        torch_gpus: GPUs that torch sees there.
        ahead: seconds that its clock is ahead of the driver's.
        id: Ray's identifier; a machine that has left and returns has another.
    """

    address: str
    host: str | None
    cpus: int
    gpus: int
    versions: Mapping[str, str | None]
    executable: str = ""
    sees: bool = False
    writes: bool = False
    storage: str = ""
    scratch: int = 0
    memory: int | None = None
    torch_gpus: int = 0
    ahead: float = 0.0
    id: str = ""

    @property
    def name(self) -> str:
        return f"{self.host} ({self.address})" if self.host else self.address

    @property
    def trains(self) -> bool:
        """Whether trials can be placed there."""
        return bool(self.cpus or self.gpus)

    @property
    def line(self) -> str:
        """For the plan, e.g. `n1 (10.0.0.5): 8 CPUs, 2 GPUs, 30 GB of memory free`."""
        parts = [f"{plural(self.cpus, 'CPU')}"]
        parts += [f"{plural(self.gpus, 'GPU')}"] * bool(self.gpus)
        if self.memory is not None:
            parts.append(f"{size(self.memory)} of memory free")
        return f"{self.name}: {', '.join(parts)}"

    @property
    def unseen(self) -> str:
        """What follows the line where the node does not share the results folder; empty where it does."""
        if self.writes:
            return ""
        why = f" ({self.storage})" if self.storage and self.sees else ""
        return f"; results folder not {'written' if self.sees else 'seen'}{why}: files travel through Ray"


def node_of(facts: Mapping[str, Any], said: Mapping[str, Any] | None, ahead: float) -> Node:
    """A node from what Ray and the node itself say.

    Args:
        facts: `id`, `address`, `cpus` and `gpus`.
        said: what `node_look.look` returned there; None where nothing has come back.
        ahead: seconds that its clock is ahead.
    """
    if said is None:
        return Node(facts["address"], None, facts["cpus"], facts["gpus"], {}, id=facts["id"])
    return Node(
        facts["address"], said["host"], facts["cpus"], facts["gpus"], said["versions"], said["executable"],
        said["sees"], said["writes"], said.get("storage", ""), said["scratch"], said["memory"], said["torch_gpus"],
        ahead, facts["id"],
    )  # fmt: skip


def problems(nodes: Sequence[Node], here: Mapping[str, str], *, gpus: bool) -> list[str]:
    """Why a search cannot train on these nodes, a line for each reason and what to do; empty where it can.

    Args:
        here: the versions of the driver, by name.
        gpus: whether the search takes GPUs.
    """
    found: list[str] = []
    for node in nodes:
        if node.trains:
            found += _problems(node, here, gpus=gpus)
    if not any(node.trains for node in nodes):
        found.append("no node has a CPU or a GPU for trials; `ray start --num-cpus` says how many a node has")
    return found


def described(nodes: Sequence[Node], *, cpus: int, gpus: int) -> list[str]:
    """The nodes for the plan, a line each, and what is odd about them and no reason to refuse.

    Args:
        cpus, gpus: how many of them the search keeps busy; `gpus` is 0 where it trains on CPU cores.
    """
    lines = [f"node       {node.line}{node.unseen}" for node in nodes if node.trains]
    lines += [
        f"note       the clock of {node.name} is {abs(node.ahead):.0f} s {'ahead' if node.ahead > 0 else 'behind'}"
        for node in nodes
        if math.fabs(node.ahead) > _CLOCK
    ]
    kind, busy, there = ("GPU", gpus, sum(node.gpus for node in nodes)) if gpus else ("CPU", cpus, _cpus(nodes))
    if busy < there:
        lines.append(f"note       {there - busy} of {there} {kind}s of the cluster stay idle")
    return lines


def _cpus(nodes: Sequence[Node]) -> int:
    return sum(node.cpus for node in nodes)


def _problems(node: Node, here: Mapping[str, str], *, gpus: bool) -> list[str]:
    if node.host is None:
        return [f"{node.address} does not answer; end its Ray, or see to it that tasks run there"]
    if node.versions["avtune"] is None:
        return [f"{node.name} has no avtune: install {here['avtune']} for {node.executable}"]
    found = [
        f"{node.name} has {name} {node.versions[name] or 'not at all'}, and this machine {here[name]}: install the same"
        for name in _SAME
        if _public(node.versions[name]) != _public(here[name])
    ]
    if gpus and node.torch_gpus < node.gpus:
        found.append(
            f"{node.name} says to Ray that it has {plural(node.gpus, 'GPU')}, and torch sees "
            f"{node.torch_gpus}: install torch with CUDA there, or start its Ray with --num-gpus {node.torch_gpus}"
        )
    if node.scratch < _LEAST_SCRATCH:
        found.append(f"{node.name} has {size(node.scratch)} left for temporary files: free some, or set TMPDIR there")
    return found


def _public(version: str | None) -> str | None:
    """A version without its local part: torch 2.13.0+cpu trains as 2.13.0+cu130 does."""
    return version and version.partition("+")[0]
