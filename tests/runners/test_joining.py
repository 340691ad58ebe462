"""Nodes that join a cluster and leave it while a search runs, by what they say alone: there is no Ray."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from avtune.core.environment import versions
from avtune.runners._base import Cluster, Placement
from avtune.runners.joining import ClusterNodes, News
from avtune.runners.nodes import Node, node_of

FIT: dict[str, Any] = {
    "host": "n", "versions": versions(), "executable": "/usr/bin/python", "sees": True, "writes": True,
    "scratch": 1 << 40, "memory": 1 << 35, "torch_gpus": 2,
}  # fmt: skip


class Ray:
    """A cluster in words: the nodes that it has, and what each says when it is looked at (None: nothing)."""

    def __init__(self) -> None:
        self.nodes: dict[str, dict[str, Any]] = {}
        self.says: dict[str, dict[str, Any] | None] = {}
        self.answer = True
        self.looks = 0
        self.draining: dict[str, float] = {}

    def join(self, name: str, *, cpus: int = 4, gpus: int = 0, says: Mapping[str, Any] | None = FIT) -> None:
        self.nodes[name] = {"id": name, "address": f"10.0.0.{len(self.nodes)}", "cpus": cpus, "gpus": gpus}
        self.says[name] = says and {**says, "host": name}

    def node(self, name: str) -> Node:
        return node_of(self.nodes[name], self.says[name], 0.0)

    def follow(self, count: int = 4, gpus: int = 0, *, bounded: bool = False) -> ClusterNodes:
        found = tuple(map(self.node, self.nodes))
        cluster = Cluster("head:6379", 0, gpus, Path("/shared"), found)
        placement = Placement(count, gpus, 1, cluster=cluster, bounded=bounded)
        return ClusterNodes(
            cluster,
            placement,
            lambda: dict(self.nodes),
            lambda facts: Looking(self, list(facts)),
            lambda: self.draining,
        )


class Looking:
    def __init__(self, ray: Ray, names: list[str]) -> None:
        self.ray, self.names = ray, names
        ray.looks += 1

    def is_over(self) -> bool:
        return self.ray.answer

    def answers(self) -> dict[str, Node]:
        return {name: self.ray.node(name) for name in self.names if name in self.ray.nodes}

    def close(self) -> None:
        self.names = []


@pytest.fixture
def ray() -> Ray:
    ray = Ray()
    ray.join("n1")
    return ray


def test_a_node_that_joins_is_looked_at_and_then_used(ray: Ray) -> None:
    nodes = ray.follow()
    assert nodes.news() is None
    ray.join("n2", cpus=6)
    ray.answer = False
    assert [nodes.news(), nodes.news()] == [None, None], "nothing waits for its answer"
    ray.answer = True
    line = "node n2 (10.0.0.1): 6 CPUs, 32.0 GiB of memory free has joined the cluster"
    assert nodes.news() == News([line, "6 further processes start"], 6)
    assert nodes.news() is None
    assert ray.looks == 1


def test_on_gpus_each_of_its_gpus_gets_as_many_processes_as_the_others(ray: Ray) -> None:
    ray.join("n1", gpus=2)
    nodes = ray.follow(count=4, gpus=2)  # two processes a GPU
    ray.join("n2", gpus=1)
    assert nodes.news() is None
    found = nodes.news()
    assert found is not None
    assert found.processes == 2
    ray.join("n3", gpus=0)
    nodes.news()
    found = nodes.news()
    assert found is not None
    assert (found.processes, found.lines[0].partition("; ")[2]) == (0, "it has nothing that this run trains on")


def test_a_node_that_is_not_fit_is_named_once_and_not_used(ray: Ray) -> None:
    nodes = ray.follow()
    ray.join("n2", says={**FIT, "versions": {**versions(), "avtune": "1.9"}})
    nodes.news()
    found = nodes.news()
    assert found is not None
    assert found.processes == 0
    assert found.lines[0] == "node n2 (10.0.0.1) has joined the cluster, and is not used:"
    assert "has avtune 1.9, and this machine" in found.lines[1]
    assert [nodes.news(), nodes.news(), ray.looks] == [None, None, 1]


def test_a_node_that_says_nothing_is_looked_at_three_times(ray: Ray) -> None:
    nodes = ray.follow()
    ray.join("n2", says=None)
    found = [nodes.news() for _ in range(6)]
    assert found[:3] + found[4:] == [None] * 5
    assert found[3] is not None
    assert "does not answer" in found[3].lines[1]
    assert ray.looks == 3


def test_where_the_user_says_how_much_is_used_it_stays_idle(ray: Ray) -> None:
    nodes = ray.follow(count=2, bounded=True)
    ray.join("n2")
    nodes.news()
    found = nodes.news()
    assert found is not None
    assert (found.processes, found.lines[0].partition("; ")[2]) == (0, "it stays idle: --cpus says how many are used")


def test_a_node_in_the_place_of_one_that_has_gone_gets_its_processes(ray: Ray) -> None:
    """Those of the lost node wait already for devices."""
    nodes = ray.follow()
    del ray.nodes["n1"]
    assert nodes.news() == News(["node n1 (10.0.0.0) has left the cluster"])
    ray.join("n1b")
    nodes.news()
    found = nodes.news()
    assert found is not None
    assert (len(found.lines), found.processes) == (1, 0)
    ray.join("n2", cpus=3)
    nodes.news()
    found = nodes.news()
    assert found is not None
    assert found.processes == 3


def test_a_node_that_is_about_to_go_is_named_once(ray: Ray) -> None:
    nodes = ray.follow()
    ray.draining = {"n1": 1.0}
    assert nodes.gets_trials("n1")
    assert nodes.news() == News(["node n1 (10.0.0.0) is about to leave the cluster, in 0 s"])
    assert not nodes.gets_trials("n1")
    assert nodes.news() is None


def test_a_node_that_is_drained_without_a_time_is_held_to_go_soon(ray: Ray) -> None:
    nodes = ray.follow()
    ray.draining = {"n1": 0.0}
    said = "node n1 (10.0.0.0) is about to leave the cluster, without saying when: held to be in 30 s"
    assert nodes.news() == News([said])
    assert not nodes.gets_trials("n1")


def test_an_engine_that_starts_anew_on_a_node_that_is_not_used_gets_no_trials(ray: Ray) -> None:
    nodes = ray.follow()
    ray.join("n2", says={**FIT, "versions": {**versions(), "avtune": "1.9"}})
    ray.join("n3")
    assert [nodes.gets_trials(name) for name in ("n1", "n2", "n3")] == [True, False, False], "not looked at yet"
    nodes.news()
    nodes.news()
    assert [nodes.gets_trials(name) for name in ("n1", "n2", "n3")] == [True, False, True]


def test_a_placement_grows_by_processes_like_its_own() -> None:
    placement = replace(Placement(4, 2, 8, lanes=16), bounded=False).with_more(2)
    assert (placement.count, placement.gpus, placement.gpu_share) == (6, 3, 0.5)
