"""Trainings that misbehave, for the Ray workers of test_runner_misbehaving_trials.py: the method names which. Engines
that do, for test_engines_misbehave.py: the seed of a trial says which."""

import os
import threading
from pathlib import Path


def train(trial, data, report, *, device):
    {"pids": _pids, "odd": _odd, "slow": _slow, "hangs": _hangs, "dies": _dies}[trial.method](trial, report)


def _pids(trial, report):
    for epoch in range(1, trial.epochs + 1):
        if not report(epoch, {"val_map": 0.5, "pid": os.getpid(), "cwd": str(Path.cwd())}):
            break


def _odd(trial, report):
    value = [None, float("nan"), object(), None][trial.number]
    report(1, {"val_map": value} if trial.number != 3 else {"loss": 1.0})


def _slow(trial, report):
    try:
        _pids(trial, report)
    finally:
        threading.Event().wait(3.0)


def _hangs(trial, report):
    report(1, {"val_map": 0.5})
    if trial.number == 1:
        threading.Event().wait()


def _dies(trial, report):
    if trial.number == 1:
        os._exit(1)
    report(1, {"val_map": 0.5})


DIES, HANGS = 1_000_001, 1_000_002
"""Seeds of trials that take their engine down, or hang."""


def engine(kind):
    """Plants those into `Engine`."""
    step = kind.step

    def planted(self, orders):
        seeds = [trial.seed for trial in orders.trials]
        if DIES in seeds:
            os._exit(1)
        if HANGS in seeds:
            _hang()
        return step(self, orders)

    kind.step = planted


def _hang():
    while True:
        pass
