"""Trials as lanes of one engine in this process, without Ray: searches of a few seconds, one after the other."""

from __future__ import annotations

from collections.abc import Sequence

from avtune.data.prepare import Prepared
from avtune.engine.engine import Engine
from avtune.runners._base import Source
from avtune.runners.dispatcher import Dispatcher
from avtune.runners.work import save_weights

LANES = 4


def run(source: Source, data: Sequence[Prepared]) -> None:
    """Trains what a source gives until it is exhausted: a `runners._base.Run`, for a process with one torch thread."""
    dispatcher = Dispatcher(source, spare=0, max_failures=1)
    engine = Engine(data, capacity=LANES, device="cpu", save=save_weights)
    engine.run(lambda message: dispatcher.exchange("engine", message))
