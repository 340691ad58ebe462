"""Trainings that misbehave, for the Ray workers of test_runner_misbehaving_trials.py: the method names which."""

import os
import threading
from pathlib import Path


def train(trial, data, report, *, device):
    {"pids": _pids, "odd": _odd, "slow": _slow}[trial.method](trial, report)


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
