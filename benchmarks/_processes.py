"""Engines side by side, each in a process of its own, that train for as long as they are told."""

from __future__ import annotations

import contextlib
import multiprocessing
from multiprocessing.connection import Connection
from types import TracebackType

import torch

from benchmarks._training import Setup, engine, epochs_per_second


class Engines:
    """So many processes with an engine each; close them by leaving the `with` block.

    Args:
        setup: what each engine trains; `setup.threads` is its CPU threads.
        num_engines: processes.
        num_lanes: lanes of each; with 1 this is one process per trial.
    """

    def __init__(self, setup: Setup, num_engines: int, num_lanes: int) -> None:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["torch"])
        self._children = []
        for _ in range(num_engines):
            ours, theirs = context.Pipe()
            child = context.Process(target=_train, args=(theirs, setup, num_lanes), daemon=True)
            child.start()
            theirs.close()
            self._children.append((ours, child))

    def epochs_per_second(self, seconds: float) -> float:
        """Epochs of all lanes of all engines, trained at the same time for at least so many seconds."""
        for pipe, _ in self._children:
            pipe.recv()  # ready
        for pipe, _ in self._children:
            pipe.send(seconds)
        return sum(float(pipe.recv()) for pipe, _ in self._children)

    def __enter__(self) -> Engines:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for pipe, child in self._children:
            with contextlib.suppress(OSError):  # it may have died
                pipe.send(None)
            child.join(timeout=10)
            child.kill()
            pipe.close()


def _train(pipe: Connection, setup: Setup, num_lanes: int) -> None:
    torch.set_num_threads(setup.threads)
    lanes = engine(setup, num_lanes, validate=True)
    lanes.train_epoch()
    try:
        pipe.send("ready")
        while (seconds := pipe.recv()) is not None:
            pipe.send(epochs_per_second(lanes, seconds))
            pipe.send("ready")
    except (EOFError, ConnectionError):  # the benchmark has died
        return
