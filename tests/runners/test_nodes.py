"""What keeps a search from training on a node of a cluster."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path

import pytest

from avtune.runners.nodes import Node, described, node_of, problems
from avtune.runners.ray import preflight

HERE = {"avtune": "2.0", "python": "3.11.7", "ray": "2.60.0", "torch": "2.13.0+cpu", "numpy": "2.4.6"}
GOOD = Node(
    "10.0.0.5", "n1", 8, 2, {**HERE, "torch": "2.13.0+cu130"}, "/usr/bin/python", True, True, "", 1 << 40, 1 << 35, 2
)


def found(node: Node, *, gpus: bool = True) -> list[str]:
    return problems([GOOD, node], HERE, gpus=gpus)


def test_nothing_is_wrong_with_a_node_like_this_machine() -> None:
    assert found(replace(GOOD, address="10.0.0.6")) == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"host": None}, "does not answer"),
        ({"versions": {**HERE, "avtune": None}}, "has no avtune: install 2.0 for /usr/bin/python"),
        ({"versions": {**HERE, "avtune": "1.9"}}, "has avtune 1.9, and this machine 2.0"),
        ({"versions": {**HERE, "torch": None}}, "has torch not at all"),
        ({"torch_gpus": 0}, "says to Ray that it has 2 GPUs, and torch sees 0"),
        ({"scratch": 1 << 20}, "left for temporary files"),
    ],
)
def test_a_node_that_is_not_fit_is_named_with_what_to_do(change: dict[str, object], said: str) -> None:
    lines = found(replace(GOOD, address="10.0.0.6", **change))  # type: ignore[arg-type]
    assert len(lines) == 1
    assert said in lines[0]
    assert "10.0.0.6" in lines[0]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"sees": False, "writes": False}, "results folder not seen: files travel through Ray"),
        (
            {"writes": False, "storage": "Read-only file system"},
            "results folder not written (Read-only file system): files travel through Ray",
        ),
    ],
)
def test_a_node_without_the_results_folder_is_fit_and_the_plan_says_how(change: dict[str, object], said: str) -> None:
    node = replace(GOOD, address="10.0.0.6", **change)  # type: ignore[arg-type]
    assert found(node) == []
    assert described([node], cpus=8, gpus=2) == [f"node       {node.line}; {said}"]


def test_a_node_on_which_nothing_is_placed_may_be_anything() -> None:
    assert found(Node("10.0.0.7", "login", 0, 0, {**HERE, "avtune": None})) == []


def test_gpus_that_are_not_used_are_not_asked_of() -> None:
    assert found(replace(GOOD, torch_gpus=0), gpus=False) == []


def test_the_plan_names_the_nodes_and_what_stays_idle() -> None:
    late = replace(GOOD, host="n2", address="10.0.0.6", ahead=-90.0)
    assert described([GOOD, late], cpus=16, gpus=3) == [
        "node       n1 (10.0.0.5): 8 CPUs, 2 GPUs, 32.0 GiB of memory free",
        "node       n2 (10.0.0.6): 8 CPUs, 2 GPUs, 32.0 GiB of memory free",
        "note       the clock of n2 (10.0.0.6) is 90 s behind",
        "note       1 of 4 GPUs of the cluster stay idle",
    ]


def test_a_machine_that_dies_while_it_is_looked_at_is_none_of_the_cluster(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Ray still took it for alive when the look began: a search that goes on after it was lost must not be refused."""
    facts = {name: {"id": name, "address": f"10.0.0.{name}", "cpus": 2, "gpus": 0} for name in "12"}
    silent = {name: node_of(each, None, 0.0) for name, each in facts.items()}
    alive = [facts, {"1": facts["1"]}]  # before the look, and after it

    class Stand:
        def __init__(self, looked_at: object, results: Path) -> None:
            assert looked_at == facts

        def answers(self, patience: float) -> dict[str, Node]:
            return silent

        def __enter__(self) -> Stand:
            return self

        def __exit__(self, *raised: object) -> None:
            pass

    monkeypatch.setattr(preflight, "Look", Stand)
    monkeypatch.setattr(preflight, "alive_nodes", lambda: alive.pop(0))
    assert preflight.look_at_nodes(tmp_path) == [silent["1"]]


def test_what_a_look_that_was_killed_has_left_is_taken_away(tmp_path: Path) -> None:
    left, now, own = (tmp_path / f".avtune-nodes-{name}" for name in ("00aa11bb", "22cc33dd", "00aa11bb-0123"))
    for file in (left, now, own):
        file.write_text("")
    for file in (left, own):
        os.utime(file, (0.0, time.time() - 7200.0))
    with preflight._marker(tmp_path) as (marker, _):
        assert {*tmp_path.iterdir()} == {now, marker}, "another look may be going on"
    assert [*tmp_path.iterdir()] == [now]
