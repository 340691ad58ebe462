"""Engines side by side, each in a process of its own, that train for as long as they are told."""

from __future__ import annotations

import contextlib
import multiprocessing
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from types import TracebackType
from typing import Any

import torch

from benchmarks._training import Setup, engine, epochs_per_second


class Engines:
    """So many processes with an engine each; close them by leaving the `with` block.

    Args:
        setup: what each engine trains; `setup.threads` is its CPU threads.
        num_engines: processes.
        num_lanes: lanes of each; with 1 this is one process per trial.
        record: see `LaneTrainer`.
    """

    def __init__(self, setup: Setup, num_engines: int, num_lanes: int, *, record: bool = True) -> None:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["torch"])
        self._children = []
        for _ in range(num_engines):
            ours, theirs = context.Pipe()
            child = context.Process(target=_train, args=(theirs, setup, num_lanes, record), daemon=True)
            child.start()
            theirs.close()
            self._children.append((ours, child))

    def epochs_per_second(self, seconds: float, *, engines: int | None = None, patience: float | None = None) -> float:
        """Epochs of all lanes of the first so many engines (all), trained at the same time for at least so many
        seconds.

        Raises:
            RuntimeError: an engine has died, or has not answered for `patience` seconds.
        """
        children = self._children[:engines]
        for child in children:
            self._answer(*child, patience)  # ready
        for pipe, _ in children:
            pipe.send(seconds)
        return sum(float(self._answer(*child, patience)) for child in children)

    def _answer(self, pipe: Connection, child: BaseProcess, patience: float | None) -> Any:
        if not pipe.poll(patience):
            raise RuntimeError(f"an engine has not answered for {patience:.0f} s")
        try:
            return pipe.recv()
        except (EOFError, ConnectionError):
            child.join(timeout=10)
            raise RuntimeError(f"an engine's process ended with exit code {child.exitcode}") from None

    def __enter__(self) -> Engines:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for pipe, _ in self._children:
            with contextlib.suppress(OSError):  # it may have died
                pipe.send(None)
        for pipe, child in self._children:
            child.join(timeout=0 if kind else 10)
            child.kill()
            pipe.close()


def _train(pipe: Connection, setup: Setup, num_lanes: int, record: bool) -> None:
    torch.set_num_threads(setup.threads)
    lanes = engine(setup, num_lanes, validate=True, record=record)
    lanes.train_epoch()
    try:
        pipe.send("ready")
        while (seconds := pipe.recv()) is not None:
            pipe.send(epochs_per_second(lanes, seconds))
            pipe.send("ready")
    except (EOFError, ConnectionError):  # the benchmark has died
        return
