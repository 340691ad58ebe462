"""Processes that die alone, and those that die with their machine: what is said of each decides. There is no Ray."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from avtune.core.trial import Trial
from avtune.runners import processes
from avtune.runners._base import Cluster, Placement
from avtune.runners.ray import machines
from avtune.runners.ray.engine_trials import last_error

ALONE = "The actor died unexpectedly before finishing this task."
WITH_NODE = "The actor died because its node has died."


@pytest.fixture
def ports(monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """Of two nodes: `up` answers until the socket is closed, `down` does not."""
    up = socket.create_server(("127.0.0.1", 0))
    with socket.create_server(("127.0.0.1", 0)) as closed:
        down = closed.getsockname()[1]
    where = {"up": ("127.0.0.1", up.getsockname()[1]), "down": ("127.0.0.1", down)}
    monkeypatch.setattr(machines, "_ports", lambda: where)
    with up:
        yield up


def test_a_process_is_lost_with_its_machine_where_its_ray_no_longer_answers(ports: socket.socket) -> None:
    known = machines.Machines()
    for process in ("a", "b", "c"):
        known.runs_on(process, "up")
    known.runs_on("d", "down")
    assert not known.lost("a", ALONE)
    assert known.lost("d", ALONE)
    assert known.lost("b", WITH_NODE), "Ray may know it, whether the port answers or not"
    ports.close()
    assert known.lost("c", ALONE)
    assert not known.lost("c", ALONE), "its next process has not said where it is"


def test_only_the_last_error_of_a_process_is_looked_at() -> None:
    text = f"Failure # 1 (occurred at 2026-01-01_00-00-00)\n{WITH_NODE}\nFailure # 2 (occurred at x)\n{ALONE}\n"
    assert last_error(text) == f"{ALONE}\n"
    assert last_error("") == ""


class Source:
    """One trial."""

    independent, exhausted = 0, False

    def __init__(self) -> None:
        self.waiting = [Trial(0, "toy", {}, 0, 3)]
        self.ends: list[str | None] = []

    def ask(self) -> Trial | None:
        return self.waiting.pop() if self.waiting else None

    def report(self, number: int, epoch: int, metrics: object) -> bool:
        return True

    def should_stop(self, number: int) -> bool:
        return False

    def tell(self, number: int, failure: str | None = None, details: str = "") -> None:
        self.ends.append(failure)

    def note(self, text: str, *, shown: bool = False) -> None:
        raise AssertionError(text)


def answers(source: Source, *, cluster: bool = True, max_failures: int = 2) -> processes._Answers:
    where = Cluster("head:6379", 2, 0, Path("/shared")) if cluster else None
    placement = Placement(2, 0, 1, max_failures=max_failures, cluster=where)
    room = processes._Room(Placement(2, 0, 1))  # of this machine: no nodes are asked for
    made = processes._Answers(source, placement, room, Path("/nowhere"))
    assert made.next_config() is not None
    return made


def test_a_third_preemption_under_the_runner_processes_fails_no_good_trial(ports: socket.socket) -> None:
    source = Source()
    asked = answers(source)
    for _ in range(5):
        assert asked.result(0, {"node": "down"}), "it goes on: this is no epoch"
        assert asked.died(0, ALONE), "another attempt"
    asked.result(0, {"node": "up"})
    assert asked.died(0, ALONE), "the first death that counts"
    assert not asked.died(0, ALONE)
    assert source.ends == ["its process died (2 times)"]


def test_a_trial_under_the_runner_processes_that_takes_machines_down_fails_in_the_end() -> None:
    source = Source()
    asked = answers(source, max_failures=1)
    assert [asked.died(0, WITH_NODE) for _ in range(10)] == [True] * 9 + [False]
    assert source.ends == ["10 machines died while it was trained on them"]


def test_on_one_machine_every_death_counts() -> None:
    source = Source()
    asked = answers(source, cluster=False)
    assert [asked.died(0, WITH_NODE) for _ in range(2)] == [True, False]
    assert source.ends == ["its process died (2 times)"]


def test_no_more_trials_are_given_out_than_there_is_room_for() -> None:
    source = Source()
    source.waiting = [Trial(number, "toy", {}, 0, 3) for number in range(4)]
    asked = answers(source)
    assert asked.next_config() is not None
    assert asked.next_config() is None
    asked.ended(3, given_up=False)
    found = asked.next_config()
    assert found is not None
    assert found[0] == 1
