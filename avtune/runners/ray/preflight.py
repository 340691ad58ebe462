"""One look at every node of a cluster before anything starts, from a process of its own (`another_process`)."""

from __future__ import annotations

import contextlib
import secrets
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from avtune.core.errors import UserError
from avtune.core.files import using
from avtune.runners.nodes import Node, node_of
from avtune.runners.ray.another_process import answer, ask, refused

_ATTACH = 90.0  # seconds for the process to attach and to look
# Of which for the nodes to answer. Ray takes most of a minute to see that a node has died without a word.
_LOOK = 60.0
_MARKER = ".avtune-nodes-"
_LEFT_BEHIND = 3600.0  # seconds after which a look's files are nobody's, whatever the clocks of the machines say


def look_from_another_process(address: str, results: Path, environment: Mapping[str, str]) -> list[Node]:
    """The nodes of a cluster.

    Args:
        address: `host:port`.
        results: the folder of studies, made if need be.
        environment: of the process.

    Raises:
        UserError: the cluster refuses, or this machine is none of its nodes.
    """
    found = ask("avtune.runners.ray.preflight", address, str(results), environment=environment, seconds=_ATTACH)
    said = found.said
    if "error" in said:
        raise UserError(said["error"] if said["storage"] else refused(address, found.errors + said["error"]))
    return [Node(**each) for each in said["nodes"]]


def look_at_nodes(results: Path) -> list[Node]:
    """The nodes of the cluster to which this process is connected. One that turns out to have died is none of them: a
    search that goes on after a machine and its driver were lost begins before Ray knows of the first.

    Raises:
        StorageError: the driver cannot write to `results`.
    """
    with Look(alive_nodes(), results) as look:
        found = look.answers(_LOOK)
    alive = alive_nodes()
    nodes = (node for name, node in found.items() if name in alive)
    return sorted(nodes, key=lambda node: (node.host or "", node.address))


def alive_nodes() -> dict[str, dict[str, Any]]:
    """What Ray knows of each node that is alive, by its identifier."""
    import ray

    return {node["NodeID"]: _facts(node) for node in ray.nodes() if node["Alive"]}


class Look:
    """One look at nodes of the cluster to which this process is connected: a small task on each.

    Args:
        facts: what Ray knows of these nodes, by identifier, see `alive_nodes`.
        results: the folder of studies.

    Raises:
        StorageError: the driver cannot write to `results`.
    """

    def __init__(self, facts: Mapping[str, Mapping[str, Any]], results: Path) -> None:
        import ray
        from ray import cloudpickle
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        from avtune.runners.ray import node_look

        cloudpickle.register_pickle_by_value(node_look)  # a node may lack avtune
        self._facts = facts
        self._held = contextlib.ExitStack()
        self._marker, content = self._held.enter_context(_marker(results))
        self._began = time.time()
        self._end = time.monotonic() + _LOOK
        self._tasks = {
            ray.remote(num_cpus=0, max_retries=0)(node_look.look)
            .options(scheduling_strategy=NodeAffinitySchedulingStrategy(name, soft=False))
            .remote(str(self._marker), content, str(_answer(self._marker, name)), gpus=facts[name]["gpus"] > 0): name
            for name in facts
        }

    def is_over(self) -> bool:
        """Whether all have answered, or no answer is waited for any longer."""
        return len(self._ready(0.0)) == len(self._tasks) or time.monotonic() > self._end

    def answers(self, patience: float = 0.0) -> dict[str, Node]:
        """The nodes, by identifier: as they say themselves, where they have said something in so many seconds."""
        import ray

        ready = self._ready(patience)
        ended = time.time()
        said: dict[str, Any] = {}
        for task in ready:
            with contextlib.suppress(ray.exceptions.RayError):
                said[self._tasks[task]] = ray.get(task)
        for name, words in said.items():
            words["writes"] = words["writes"] and _answer(self._marker, name).is_file()
        return {
            name: node_of(facts, words := said.get(name), _ahead(words, self._began, ended))
            for name, facts in self._facts.items()
        }

    def close(self) -> None:
        """Takes its files away."""
        self._held.close()

    def __enter__(self) -> Look:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()

    def _ready(self, patience: float) -> list[Any]:
        import ray

        ready, _ = ray.wait(list(self._tasks), num_returns=len(self._tasks), timeout=patience)
        return list(ready)


def _facts(node: Mapping[str, Any]) -> dict[str, Any]:
    has = node.get("Resources", {})
    return {
        "id": node["NodeID"],
        "address": node["NodeManagerAddress"],
        "cpus": int(has.get("CPU", 0)),
        "gpus": int(has.get("GPU", 0)),
    }


def _ahead(said: Mapping[str, Any] | None, began: float, ended: float) -> float:
    """By how many seconds a clock is certainly wrong: it was read between the two times given."""
    if said is None:
        return 0.0
    return max(0.0, float(said["clock"]) - ended) or min(0.0, float(said["clock"]) - began)


@contextlib.contextmanager
def _marker(results: Path) -> Iterator[tuple[Path, str]]:
    """A file in the results folder for nodes to find, and what is in it; gone afterwards with what nodes wrote."""
    content = secrets.token_hex(16)
    with using(results):
        made = not results.exists()
        results.mkdir(parents=True, exist_ok=True)
        _sweep(results)
        marker = results / f"{_MARKER}{secrets.token_hex(4)}"
        marker.write_text(content)
    try:
        yield marker, content
    finally:
        for file in results.glob(f"{marker.name}*"):
            file.unlink(missing_ok=True)
        if made:
            with contextlib.suppress(OSError):
                results.rmdir()


def _sweep(results: Path) -> None:
    """Takes away what a look has left that was killed: it ends long before."""
    for file in results.glob(f"{_MARKER}*"):
        with contextlib.suppress(OSError):
            if file.stat().st_mtime < time.time() - _LEFT_BEHIND:
                file.unlink()


def _answer(marker: Path, node: str) -> Path:
    return marker.with_name(f"{marker.name}-{node[:16]}")


def _main(address: str, results: str) -> None:
    import logging
    from dataclasses import asdict

    import ray

    from avtune.core.errors import StorageError
    from avtune.runners.ray import private

    said: dict[str, Any]
    try:
        ray.init(
            address=address,
            log_to_driver=False,
            logging_level=logging.CRITICAL,
            configure_logging=True,
            job_config=private.job_config(),
        )
        said = {"nodes": [asdict(node) for node in look_at_nodes(Path(results))]}
    except (ConnectionError, RuntimeError, ValueError) as error:
        said = {"error": str(error).strip(), "storage": isinstance(error, StorageError)}
    answer(said)


if __name__ == "__main__":
    _main(*sys.argv[1:])
