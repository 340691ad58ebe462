"""Why a cluster has not let a process in, in words for people."""

from __future__ import annotations

import pytest

from avtune.runners.ray.another_process import refused

NOT_A_NODE = "Can't find a `node_ip_address.json` file; is the local node up?"


@pytest.mark.parametrize(
    ("words", "joins", "said"),
    [
        (NOT_A_NODE, True, "this machine is not one of its nodes, and the driver must run on one"),
        ("", True, "this machine is not one of its nodes"),
        ("", False, "its head has not answered; is this the port of the head's Ray"),
        ("RpcError: node 10.0.0.5, local time out", False, "RpcError: node 10.0.0.5, local time out"),
        ("InvalidAuthToken", True, "it refuses this token"),
        ("InvalidAuthToken", False, "it refuses this token"),
    ],
)
def test_who_only_asks_need_not_be_on_a_node(words: str, joins: bool, said: str) -> None:
    line = refused("n1:6379", words, joins=joins)
    assert said in line
    assert joins or "must run on one" not in line
