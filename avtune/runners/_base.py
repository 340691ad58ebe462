"""The contract of runners: how trials reach devices."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from avtune.core.trained_on import TrainedOn
from avtune.core.trial import Trial
from avtune.core.words import plural
from avtune.data.prepare import Prepared
from avtune.runners.nodes import Node, described


class Source(Protocol):
    """Gives out trials and takes their results: a study, or a list of training runs. One thread calls it.

    Attributes:
        independent: how many runs it has that do not learn from each other, so that as many may run at a time as train
            fast together; 0 for a search, whose suggestions learn from trials that ended.
    """

    independent: int

    def ask(self) -> Trial | None:
        """The next trial, or None: nothing to give now (`exhausted`: nor ever again)."""

    def trained_on(self, number: int, where: TrainedOn) -> None:
        """Where the epochs of the trial that are reported from now on were trained."""

    def report(self, number: int, epoch: int, metrics: Mapping[str, float]) -> bool:
        """Takes an epoch's metrics; returns whether the trial goes on."""

    def should_stop(self, number: int) -> bool:
        """Whether the trial's training is no longer wanted."""

    def tell(self, number: int, failure: str | None = None, details: str = "") -> None:
        """The trial has ended. Telling again changes nothing."""

    def note(self, text: str, *, shown: bool = False) -> None:
        """A line about how the runner works, for the log; `shown`: and for the terminal."""

    @property
    def exhausted(self) -> bool:
        """Whether every trial has ended and none will come."""
        ...


@dataclass(frozen=True)
class Cluster:
    """A Ray cluster that the user named.

    Attributes:
        address: `host:port`, or `auto`.
        cpus, gpus: logical resources of all its machines.
        shared: the folder of results; machines that do not see it under this path send their files, see `study_files`.
        nodes: its machines, as they were found.
        verb, folder: the command that runs there and where its results are, for those who ask the cluster what it runs.
    """

    address: str
    cpus: int
    gpus: int
    shared: Path
    nodes: tuple[Node, ...] = ()
    verb: str = ""
    folder: str = ""


@dataclass(frozen=True)
class Placement:
    """How many processes train, on which devices, and how many lanes each has.

    Attributes:
        count: processes at a time.
        gpus: GPUs in all; 0 trains on CPU cores.
        threads: CPU threads of each process.
        lanes: trials at a time in each process; 1 for runners without engines.
        most_lanes: of runs that are independent, see `Source`; at least `lanes`.
        max_failures: how often a trial may take its process down, or hang, before it fails.
        timeout: seconds in which a trial must report an epoch, else it is held to hang; None for no limit.
        cluster: where the processes are; None for this machine.
        exact: a trial has the same bits in any lane of any engine, see `engine.lane_trainer.LaneTrainer`.
        bounded: the user has said how many GPUs or cores are used: nodes that join a cluster later add none.
    """

    count: int
    gpus: int
    threads: int
    lanes: int = 1
    most_lanes: int = 1
    max_failures: int = 3
    timeout: float | None = None
    cluster: Cluster | None = None
    exact: bool = False
    bounded: bool = False

    def lanes_for(self, independent: int) -> int:
        """Lanes of an engine for so many independent runs; 0 for a search. On a CPU each engine takes them in two goes,
        so that one with shorter runs can help the other."""
        goes = 1 if self.gpus else 2
        return max(self.lanes, min(self.most_lanes, -(-independent // (goes * self.count))))

    def named(self, verb: str, folder: Path) -> Placement:
        """The same for a command that leaves its results in a folder: its cluster says so to those who ask it."""
        if self.cluster is None:
            return self
        return replace(self, cluster=replace(self.cluster, verb=verb, folder=str(folder.absolute())))

    def with_more(self, processes: int) -> Placement:
        """The same with so many further processes, each with a share of devices as those have that there are."""
        return replace(self, count=self.count + processes, gpus=self.gpus + processes * self.gpus // self.count)

    @property
    def gpu_share(self) -> float:
        """The part of a GPU that a process asks of Ray, rounded down to Ray's resolution of 1e-4 so that all fit."""
        share = self.gpus / self.count
        return share if share >= 1 else math.floor(share * 1e4) / 1e4

    @property
    def resources(self) -> dict[str, float]:
        """What a process asks of Ray. On a GPU no CPU: where a node has fewer CPUs than processes, these share
        them, and no GPU stays idle."""
        return {"cpu": 0, "gpu": self.gpu_share} if self.gpus else {"cpu": 1}

    @property
    def nodes(self) -> list[str]:
        """The machines of the cluster, for the terminal and `log.txt`, a line each; none without a cluster."""
        if self.cluster is None:
            return []
        return described(self.cluster.nodes, cpus=self.count, gpus=self.gpus)

    @property
    def text(self) -> str:
        """For the terminal and `study.yaml`, e.g. `8 at a time on the CPU: 2 engines of 4 lanes`."""
        where = f"{plural(self.gpus, 'GPU')}" if self.gpus else "the CPU"
        if self.cluster is not None:
            where += f" of the cluster at {self.cluster.address}"
        if self.lanes > 1:
            engines = f"{plural(self.count, 'engine')} of {self.lanes} lanes"
            return f"{self.count * self.lanes} at a time on {where}: {engines}"
        return f"{self.count} at a time on {where}, {plural(self.threads, 'thread')} each"


Run = Callable[[Source, Sequence[Prepared]], None]
"""Runs everything that a source gives out on the data given, until the source is exhausted. A trial that raises, whose
metric is no number, or whose process dies or hangs `max_failures` times ends as failed; the others go on. What cannot
be written, by whatever process, ends the run with a `StorageError`."""


class Runner(Protocol):
    """Opens a way to run trials; what it starts (e.g. Ray) lives until the block ends and serves every call in it."""

    def __call__(self, placement: Placement, data_bytes: int) -> AbstractContextManager[Run]:
        """
        Args:
            placement: where trials run.
            data_bytes: size of all data that the calls together will give.
        """
