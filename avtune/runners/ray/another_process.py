"""Asks a cluster from a process of its own: Ray's core ends the process in which it is refused, on a machine that is
none of the cluster's without a word, and waits for minutes where nobody can interrupt it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from avtune.core.errors import UserError

_MARK = "avtune's answer: "


@dataclass(frozen=True)
class Answer:
    """What the process has answered.

    Attributes:
        said: what it gave to `answer`.
        errors: its standard error.
    """

    said: Any
    errors: str


def ask(
    module: str, address: str, *words: str, environment: Mapping[str, str], seconds: float, joins: bool = True
) -> Answer:
    """Runs a module with an address, and takes its answer.

    Args:
        module: its name; it calls `answer`.
        address: of the cluster, `host:port`; the module's first word.
        words: its others.
        environment: of the process.
        seconds: for the whole of it.
        joins: it becomes a process of the cluster, and so must be on one of its nodes.

    Raises:
        UserError: it has not answered in that time, or at all: the cluster refuses.
    """
    try:
        ended = subprocess.run(  # killed when an interrupt comes
            [sys.executable, "-m", module, address, *words],
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=seconds,
            start_new_session=True,
        )
    except subprocess.TimeoutExpired:
        raise UserError(
            f"--cluster is {address!r}: something accepts connections there, and no Ray cluster answers in "
            f"{seconds:g} s\nis this the port of the head's Ray (6379 by default), and is its Ray the same version?"
        ) from None
    line = next((line for line in reversed(ended.stdout.splitlines()) if line.startswith(_MARK)), None)
    if line is None:
        raise UserError(refused(address, ended.stdout + ended.stderr, joins=joins))
    return Answer(json.loads(line.removeprefix(_MARK)), ended.stderr)


def answer(said: Any) -> None:
    """In that process: answers."""
    print(_MARK + json.dumps(said), flush=True)


def refused(address: str, words: str, *, joins: bool = True) -> str:
    """Why a cluster has not let this process in, from Ray's words; `joins` as in `ask`."""
    lines = [line.strip() for line in words.splitlines() if line.strip()]
    if any("oken" in line and "uth" in line for line in lines):
        why = "it refuses this token; set RAY_AUTH_TOKEN, or RAY_AUTH_TOKEN_PATH, to the one it was started with"
    elif not joins and not lines:
        why = "its head has not answered; is this the port of the head's Ray, and is its Ray the same version?"
    elif joins and (not lines or any("node" in line and ("IP address" in line or "local" in line) for line in lines)):
        why = (
            "this machine is not one of its nodes, and the driver must run on one: start avtune there, or run "
            f"`ray start --address {address}` here"
        )
    else:
        why = f"{lines[-1][:200]}\nis it of the same Ray and Python version? `ray status` shows what runs"
    return f"--cluster is {address!r}: no Ray cluster answers there that this process can use; {why}"
