"""A Ray cluster that runs already, attached to when the user names it; see docs/cluster.md for what it takes."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from avtune.core.environment import versions
from avtune.core.errors import UserError
from avtune.runners._base import Cluster
from avtune.runners.nodes import problems
from avtune.runners.ray.address import cluster_address
from avtune.runners.ray.head import Head, head_address
from avtune.runners.ray.job_notes import note
from avtune.runners.ray.preflight import look_at_nodes, look_from_another_process
from avtune.runners.ray.session import KEEP_MEMORY, SETTINGS, ray_session
from avtune.runners.ray.watched import watched
from avtune.runners.scratch import scratch_folder


@contextlib.contextmanager
def cluster_ray(cluster: Cluster, where: str) -> Iterator[Path]:
    """Attaches to a cluster for the length of the block.

    Args:
        where: on which devices of it this run trains, in words.

    Yields:
        A private scratch folder below `cluster.shared`, removed afterwards.

    Raises:
        UserError: no cluster answers there, or not to this token; or it goes while the block runs.
    """
    gone = f"the cluster at {cluster.address} has gone"
    with scratch_folder(cluster.shared) as scratch, _attached(cluster, where):
        head = Head(head_address())
        with watched(scratch, head.is_lost, lambda: gone):
            yield scratch


def find_cluster(given: str, shared: Path, *, gpus: bool) -> Cluster:
    """The cluster at an address (`host:port`, or `auto`) and what it has; a search can train on each of its nodes. A
    process that is connected to one already (a caller's in Python) asks that one.

    Args:
        shared: the folder of results on this machine.
        gpus: whether GPUs are to be used where there are any.

    Raises:
        UserError: no token is set, no cluster answers, or a node is not fit; says which and what to do.
    """
    check_token_is_set()
    shared = shared.resolve()
    ray = sys.modules.get("ray")
    if ray is not None and ray.is_initialized():
        address, nodes = given, look_at_nodes(shared)
    else:
        address = cluster_address(given)
        nodes = look_from_another_process(address, shared, os.environ | SETTINGS)
    cpus, there = sum(node.cpus for node in nodes), sum(node.gpus for node in nodes)
    if found := problems(nodes, versions(), gpus=gpus and there > 0):
        raise UserError("\n".join([f"--cluster is {given!r}, and a search cannot train on it as it is:", *found]))
    return Cluster(address, cpus, there, shared, tuple(nodes))


@contextlib.contextmanager
def _attached(cluster: Cluster, where: str) -> Iterator[None]:
    address = cluster.address
    check_token_is_set()
    environment = {name: value for name, value in SETTINGS.items() if name != "RAY_AUTH_MODE"}
    name, value = KEEP_MEMORY
    attached = contextlib.ExitStack()
    with attached:
        try:
            with _core_silenced():
                attached.enter_context(
                    ray_session(
                        {},
                        notes=note(cluster.verb, cluster.folder, where),
                        address=address,
                        runtime_env={"env_vars": environment | {name: value}},
                    )
                )
        except (ConnectionError, RuntimeError, ValueError) as error:
            why = str(error).strip().partition("\n")[0]
            raise UserError(
                f"--cluster is {address!r}: no Ray cluster answers there ({why})\n"
                "is it up, of the same Ray and Python version, and is this its token? `ray status` shows it"
            ) from None
        yield


@contextlib.contextmanager
def _core_silenced() -> Iterator[None]:
    """Ray's core writes twenty lines to the standard error of a process that a cluster refuses; the exception says it
    all."""
    if sys.__stderr__ is None or sys.stderr is None:  # it is closed, and 2 may be the number of another file by now
        yield
        return
    sys.stderr.flush()
    before = os.dup(2)
    try:
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(before, 2)
        os.close(before)


def check_token_is_set() -> None:
    """Raises:
    UserError: this process knows no token of a cluster.
    """
    if os.environ.get("RAY_AUTH_TOKEN"):
        return
    file = os.environ.get("RAY_AUTH_TOKEN_PATH") or os.path.expanduser("~/.ray/auth_token")  # `~` stays without a home
    if not os.path.isfile(file):
        raise UserError(
            "--cluster needs the cluster's token: set RAY_AUTH_TOKEN, or RAY_AUTH_TOKEN_PATH to a file of it\n"
            "a cluster without a token obeys everybody who reaches it; docs/cluster.md shows how to start one with"
        )
