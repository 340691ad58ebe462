"""One process per trial: what lanes are compared with."""

from __future__ import annotations

import multiprocessing
from multiprocessing.connection import Connection

import torch

from benchmarks import _report
from benchmarks._training import Setup, engine, epochs_per_second


class Processes:
    """So many processes, each with an engine of one lane, which train for as long as they are told."""

    def __init__(self, setup: Setup, count: int) -> None:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["torch"])
        self._pipes: list[Connection] = []
        self._processes = []
        for number in range(count):
            ours, theirs = context.Pipe()
            process = context.Process(target=_train_alone, args=(theirs, setup, number, count), daemon=True)
            process.start()
            theirs.close()
            self._pipes.append(ours)
            self._processes.append(process)
        for pipe in self._pipes:
            pipe.recv()

    def epochs_per_second(self, seconds: float) -> float:
        """Epochs of all of them, trained at the same time."""
        for pipe in self._pipes:
            pipe.send(seconds)
        return sum(float(pipe.recv()) for pipe in self._pipes)

    def close(self) -> None:
        for pipe, process in zip(self._pipes, self._processes, strict=True):
            pipe.close()
            process.join(timeout=10)
            process.kill()


def _train_alone(pipe: Connection, setup: Setup, number: int, count: int) -> None:
    torch.set_num_threads(max(1, _report.cores() // count))
    lanes = engine(setup, 1, validate=True)
    lanes.train_epoch()
    pipe.send(None)
    try:
        while True:
            pipe.send(epochs_per_second(lanes, pipe.recv()))
    except EOFError:
        return
