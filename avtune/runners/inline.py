"""Trials one after the other in this process: for tests, debugging and the smallest machines."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch

from avtune.data.prepare import Prepared
from avtune.runners._base import Run, Slots, Source
from avtune.runners.work import work
from avtune.trainer import Report


@contextmanager
def opened(slots: Slots, data_bytes: int) -> Iterator[Run]:
    """See `_base.Runner`. Uses one slot."""
    device = "cuda:0" if slots.gpus else "cpu"

    def run(source: Source, data: Sequence[Prepared]) -> None:
        while (trial := source.ask()) is not None:
            failure = work(trial, data, _reporter(source, trial.number), device=device)
            if failure is None:
                source.tell(trial.number)
            else:
                source.tell(trial.number, failure.line, failure.details)
        assert source.exhausted, "a source must always have work for the only worker"

    before = torch.get_num_threads()
    torch.set_num_threads(slots.threads)
    try:
        yield run
    finally:
        torch.set_num_threads(before)


def _reporter(source: Source, number: int) -> Report:
    return lambda epoch, metrics: source.report(number, epoch, metrics)
