"""Whether the head of a cluster is there."""

from __future__ import annotations

import socket

import pytest

from avtune.runners.ray import head as head_module
from avtune.runners.ray.head import Head


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [0.0]
    monkeypatch.setattr(head_module.time, "monotonic", lambda: now[0])
    return now


def test_a_head_is_lost_when_its_port_is_refused_for_a_while(clock: list[float]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        head = Head(server.getsockname())
        clock[0] = 100.0
        assert not head.is_lost()
    clock[0] = 101.5
    assert not head.is_lost(), "it may be a moment"
    clock[0] = 103.0
    assert head.is_lost()
    assert head.is_lost(), "for good, though it was tried just now"


def test_a_head_that_does_not_answer_is_given_as_long_as_ray_gives_it(
    clock: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    def silent(where: object, timeout: float) -> None:
        raise TimeoutError

    monkeypatch.setattr(head_module.socket, "create_connection", silent)
    head = Head(("10.0.0.5", 6379))
    clock[0] = 30.0
    assert not head.is_lost()
    clock[0] = 45.0
    assert head.is_lost()
