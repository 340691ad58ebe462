"""What a large study takes to open, to continue and to show, in a process of its own.

    python -m benchmarks.resume

The study is made of random configurations of the space `ave`, each with the curve of a trial that is stopped at a rung
or trained to its end; 32 trials are running when it is opened.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from avtune.report.page import page
from avtune.space.files import load
from avtune.space.space import Space
from avtune.study.folder import StudyFolder
from avtune.study.status import read_status
from avtune.study.study import Study
from benchmarks import _measure, _report

SIZES = (1_000, 10_000)
GOAL = 20.0
RUNNING = 32
_LIMITS = _measure.Limits(seconds=300, memory=8_000_000_000)


def main() -> None:
    parser = _report.arguments("resume", __doc__)
    given = parser.parse_args()
    sizes = (60, 120) if given.quick else SIZES
    rows: dict[str, list[str]] = {}
    with tempfile.TemporaryDirectory() as scratch:
        for size in sizes:
            folder = filled(Path(scratch) / str(size), size)
            found = _measure.probe(partial(steps, folder.root), size, 0, _LIMITS)
            assert isinstance(found, _measure.Probe), found
            for name, value in found.values.items():
                rows.setdefault(name, []).append(f"{float(np.sum(value)):.2f}")
            rows.setdefault("memory of all this, MB", []).append(f"{found.memory / 1e6:.0f}")
            files = sum(path.stat().st_size for path in (folder.journal, folder.curves))
            rows.setdefault("its two append-only files, MB", []).append(f"{files / 1e6:.1f}")
    table = _report.table(["seconds", *(f"{size:,} trials" for size in sizes)], [[k, *v] for k, v in rows.items()])
    section = f"Goal: opened and continued in {GOAL:g} s at 10,000 trials.\n\n{table}"
    print(section)
    print(_report.write("resume", "Opening a large study", [section], ["optuna", "numpy"], given.out))


def ave(sampler: str) -> Space:
    """The space `ave` with fixed epochs, and more trials than any study of these has."""
    from avtune.methods import METHODS, hypers_of

    settings = ["search.trials=100000", f"search.sampler={sampler}", "early_stopping.epochs=27"]
    return load("ave", hypers_of=hypers_of, method_names=METHODS, overrides=settings)


def filled(root: Path, size: int) -> StudyFolder:
    """A study with so many trials."""
    folder, space = StudyFolder(root), ave("random")
    settings = {"format": 1, "runner": "inline", "deterministic": False, "precision": "fp32", "space": space.as_dict()}
    folder.create({**settings, "dataset": {"name": "made up", "digest": "", "spec": "made up"}}, {})
    study = Study(folder, space)
    draw = np.random.default_rng(0)
    for number in range(size):
        trial = study.ask()
        assert trial is not None
        top = draw.uniform(0.2, 0.6)
        for epoch in range(1, trial.epochs + 1):
            value = top * (1 - np.exp(-epoch / 10)) + draw.normal(0, 0.005)
            metrics = {"val_map": float(value), "val_map_a2v": float(value), "loss": 1 / epoch, "seconds": 0.1}
            if not study.report(number, epoch, metrics) or number >= size - RUNNING:
                break
        if number < size - RUNNING:
            study.tell(number)
    study.close()
    return folder


def steps(root: Path, size: int) -> Callable[[], _measure.Values]:
    """Opens, continues and shows the study, and gives the seconds of each."""

    def call() -> _measure.Values:
        if size == 0:  # the warm-up: memory that it took would not count again
            return {}
        folder, seconds = StudyFolder(root), {}
        start = time.perf_counter()

        def done(name: str) -> None:
            nonlocal start
            seconds[name] = time.perf_counter() - start
            start = time.perf_counter()

        study = Study(folder, ave("tpe"))
        done("opening it")
        for _ in range(RUNNING + 1):
            assert study.ask() is not None
        done("giving out the running trials and a new one")
        study.close()
        done("trials.csv")
        page(study, None, None)
        done("report.html")
        read_status(folder)
        done("avtune status")
        return dict(seconds)

    return call


if __name__ == "__main__":
    main()
