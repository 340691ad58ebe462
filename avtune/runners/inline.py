"""Trials one after the other in this process: for tests, debugging and the smallest machines."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Any

import torch

from avtune.core import signals
from avtune.core.trained_on import TrainedOn
from avtune.core.trial import TrialFailed
from avtune.data.prepare import Prepared
from avtune.engine.trainer import Report
from avtune.runners._base import Placement, Run, Source
from avtune.runners.work import Failure, work

_AGAIN = 1.0  # seconds after which a time limit is raised again


@contextmanager
def opened(placement: Placement, data_bytes: int) -> Iterator[Run]:
    """See `_base.Runner`. Uses this process alone. The time limit reaches a trial that hangs in Python, not one that
    hangs in C, and there is one attempt a trial: the process that it takes down is this one."""
    device = "cuda:0" if placement.gpus else "cpu"

    def run(source: Source, data: Sequence[Prepared]) -> None:
        while (trial := source.ask()) is not None:
            source.trained_on(trial.number, TrainedOn("GPU 0" if placement.gpus else "CPU"))
            try:
                with _limit(placement.timeout) as limit, _signals() as came:
                    report = _reporter(source, trial.number, limit)
                    failure = work(trial, data, report, device=device, interrupted=lambda: bool(came))
            except TrialFailed as error:  # the time limit was over while its weights were saved
                failure = Failure(str(error))
            if failure is None:
                source.tell(trial.number)
            else:
                source.tell(trial.number, failure.line, failure.details)
        assert source.exhausted, "a source must always have work for the only worker"

    before = torch.get_num_threads()
    torch.set_num_threads(placement.threads)
    try:
        yield run
    finally:
        torch.set_num_threads(before)


def _reporter(source: Source, number: int, limit: Callable[[bool], None]) -> Report:
    def report(epoch: int, metrics: dict[str, float]) -> bool:
        limit(False)
        goes_on = source.report(number, epoch, metrics)
        limit(True)
        return goes_on

    return report


@contextmanager
def _limit(seconds: float | None) -> Iterator[Callable[[bool], None]]:
    """Raises `TrialFailed` in the block when the time is over. Yields what starts the time again or stops it."""
    if seconds is None or threading.current_thread() is not threading.main_thread():
        yield lambda on: None
        return

    def over(number: int, frame: FrameType | None) -> None:
        raise TrialFailed(f"it trained no epoch in {seconds:g} s")

    before = signal.signal(signal.SIGALRM, over)
    try:
        _set_timer(seconds)
        yield lambda on: _set_timer(seconds if on else 0.0)
    finally:
        _set_timer(0.0)
        signal.signal(signal.SIGALRM, before)


@contextmanager
def _signals() -> Iterator[list[int]]:
    """Yields a list of the signals that have asked this process to end; they act as they did before. Code that catches
    the exception which they raise cannot keep the run from ending, and one that it raises itself is not theirs."""
    came: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield came
        return
    before: dict[int, Any] = {number: signal.getsignal(number) for number in (signal.SIGINT, *signals.ending())}

    def noted(number: int, frame: FrameType | None) -> None:
        try:
            before[number](number, frame)
        except BaseException:  # a handler that returns, of a caller in Python, has not asked for the end
            came.append(number)
            raise

    handled = [number for number, handler in before.items() if callable(handler)]
    for number in handled:
        signal.signal(number, noted)
    try:
        yield came
    finally:
        for number in handled:
            signal.signal(number, before[number])


def _set_timer(seconds: float) -> None:
    """The time begins; 0 for none. It comes again, since Python drops what is raised in a finaliser."""
    signal.setitimer(signal.ITIMER_REAL, seconds, _AGAIN if seconds else 0.0)
