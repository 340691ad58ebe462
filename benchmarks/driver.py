"""What the driver costs: a suggestion, a report, a stop decision as a study grows, and trials of next to no work.

    python -m benchmarks.driver

Growth: studies of several sizes are open at once in one process and take turns, trial by trial, with 32 trials running
in each. They are filled with random configurations, as a suggestion of TPE costs the same whatever proposed the past.

Trials of next to no work: one epoch of tiny encoders on 24 clips. Each side runs in a process of its own, in turn:

- avtune: the runner `lanes`, two engines of 16 lanes, with TPE, and once more with the random sampler;
- ray: a function that reports one number, with Tune's defaults: random sampling, one process a trial, its loggers;
- ray, reuse_actors: the same with `reuse_actors=True`.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from avtune.space.files import load
from avtune.space.space import Space
from avtune.study import window
from avtune.study.folder import StudyFolder
from avtune.study.record import Record
from avtune.study.study import Study
from benchmarks import _measure, _report, _tiny

SIDES = ("avtune", "avtune, random", "ray, reuse_actors", "ray")
SIZES = (100, 1_000, 10_000)
STEPS = {"ask": "suggestion", "report": "report", "stop": "stop decision", "tell": "end of a trial"}
RUNNING = 32


def main() -> None:
    parser = _report.arguments("driver", __doc__)
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument(
        "--stock-trials", type=int, default=40, help="of ray with its defaults: about one a second (40)"
    )
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--sides", default=";".join(SIDES), help="which, separated by semicolons")
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.side:
        print(json.dumps(_RUN[given.side](given.trials)))
        return
    sizes, turns = SIZES, 60
    if given.quick:
        given.trials, given.stock_trials, given.rounds, sizes, turns = 40, 4, 1, (40, 60, 80), 5
    with tempfile.TemporaryDirectory() as scratch:
        sections = [_growth(Path(scratch), sizes, turns)]
    print(sections[0], flush=True)
    sides = given.sides.split(";")
    results: dict[str, list[dict[str, float]]] = {side: [] for side in sides}
    for number in range(given.rounds):
        for side in sides:
            results[side].append(_child(side, given.stock_trials if side == "ray" else given.trials))
            print(f"round {number}, {side}: {results[side][-1]}", flush=True)
    sections.append(_rates(results))
    print(_report.write("driver", "The driver", sections, ["optuna", "ray", "torch", "numpy"], given.out))


# --- growth


def _growth(scratch: Path, sizes: tuple[int, ...], turns: int) -> str:
    folders = {size: _filled(scratch / str(size), size) for size in sizes}
    opened = {size: _measure.probe(partial(_opening, folders[size].root), size, 0, _LIMITS) for size in sizes}
    queues = {size: _Turns(Study(folders[size], _ave("tpe"))) for size in sizes}
    for _ in range(turns):
        for one in queues.values():
            one.turn()
    rows = []
    for step, name in STEPS.items():
        seconds = {size: one.seconds[step][-turns:] for size, one in queues.items()}
        ratio = median(seconds[sizes[-1]]) / median(seconds[sizes[-2]])
        rows.append([name, *(f"{1e3 * median(each):.2f}" for each in seconds.values()), f"{ratio:.2f}"])
    probes = [one for one in opened.values() if isinstance(one, _measure.Probe)]
    assert len(probes) == len(sizes), opened
    rows.append(["opening it", *(f"{1e3 * one.seconds:.0f}" for one in probes), ""])
    rows.append(["its memory then, MB", *(f"{one.memory / 1e6:.0f}" for one in probes), ""])
    head = ["median ms", *(f"{size:,} trials" for size in sizes), f"{sizes[-1]:,} over {sizes[-2]:,}"]
    return (
        f"## As a study grows\n\nSpace `ave`, TPE, {RUNNING} trials running, {turns} turns. Goals: a suggestion at "
        "10,000 trials costs at most 3 times one at 1,000, a stop decision at most 2 times. A stop decision is the "
        f"report at a rung and the question whether to stop. {_SEEN}\n\n{_report.table(head, rows)}"
    )


_SEEN = (
    f"TPE sees all ended trials up to {window.SEEN:,}; of more, the best {window.BEST} and the most recent others, "
    f"{window.SEEN:,} in all; and every running one."
)
_LIMITS = _measure.Limits(seconds=120, memory=4_000_000_000)


def _ave(sampler: str) -> Space:
    from avtune.methods import METHODS, hypers_of

    settings = ["search.trials=100000", f"search.sampler={sampler}", "early_stopping.epochs=27"]
    return load("ave", hypers_of=hypers_of, method_names=METHODS, overrides=settings)


def _filled(root: Path, size: int) -> StudyFolder:
    """A study with so many trials, of random configurations."""
    folder = StudyFolder(root)
    folder.create({"format": 1, "space": _ave("random").as_dict()}, {})
    filling = _Turns(Study(folder, _ave("random")))
    while len(filling.study.records) < size:
        filling.turn()
    return folder


def _opening(root: Path, size: int) -> Callable[[], _measure.Values]:
    space = _ave("tpe")

    def call() -> _measure.Values:
        if size == 0:  # the warm-up: memory that it took would not count again
            return {}
        study = Study(StudyFolder(root), space)
        assert len(study.records) == size
        return {}

    return call


class _Turns:
    """Runs a study, a trial a turn, and keeps the seconds of each step."""

    def __init__(self, study: Study) -> None:
        self.study = study
        self.seconds: dict[str, list[float]] = {step: [] for step in STEPS}
        self._running: deque[int] = deque()
        while len(self._running) < RUNNING:
            self._ask()

    def turn(self) -> None:
        """The oldest trial comes to the first rung and ends there; another begins."""
        number = self._running.popleft()
        value = float(np.random.default_rng(number).uniform(0.3, 0.5))
        grace = self.study.space.early_stopping.grace
        for epoch in range(1, grace + 1):
            metrics = {"val_map": value + 0.001 * epoch, "loss": 1.0, "seconds": 0.1}
            self._timed("report" if epoch < grace else "stop", lambda: self._stops(number, epoch, metrics))  # noqa: B023
        self._timed("tell", lambda: self.study.tell(number))
        self._ask()

    def _stops(self, number: int, epoch: int, metrics: Mapping[str, float]) -> bool:
        self.study.report(number, epoch, metrics)
        return self.study.should_stop(number)

    def _ask(self) -> None:
        trial = self._timed("ask", self.study.ask)
        assert trial is not None
        self._running.append(trial.number)

    def _timed(self, step: str, call: Callable[[], Any]) -> Any:
        start = time.perf_counter()
        result = call()
        self.seconds[step].append(time.perf_counter() - start)
        return result


# --- trials of next to no work


def _child(side: str, trials: int) -> dict[str, float]:
    """Runs one side in a process of its own: its trials, their rate, and the seconds from start to end."""
    start = time.perf_counter()
    command = [sys.executable, "-m", "benchmarks.driver", "--side", side, "--trials", str(trials)]
    done = subprocess.run(command, capture_output=True, text=True)
    wall = time.perf_counter() - start
    if done.returncode:
        raise SystemExit(f"{side} failed:\n{done.stderr[-2000:]}")
    rate: float = json.loads(done.stdout.strip().splitlines()[-1])
    return {"trials": trials, "rate": round(rate, 2), "wall": round(wall, 1)}


def _rates(results: dict[str, list[dict[str, float]]]) -> str:
    rows = []
    for side, runs in results.items():
        ratios = [
            _measure.spread([one["rate"] / other["rate"] for one, other in zip(runs, results[peer], strict=True)])
            for peer in results
            if peer.startswith("ray")
        ]
        spreads = [_measure.spread([run[key] for run in runs]) for key in ("rate", "wall")]
        rows.append([side, str(runs[0]["trials"]), *spreads, *ratios])
    head = [
        "side",
        "trials",
        "trials per second",
        "wall s",
        *(f"times {peer}" for peer in results if peer[:3] == "ray"),
    ]
    return (
        "## Trials of next to no work\n\nGoals: avtune runs them at 20 times the rate of ray with its defaults, and "
        "faster than ray with reuse_actors. Trials per second: those after the first one, from its end to the end of "
        "the last, so that no side's start counts; wall: the whole process, with imports and the start of Ray. Medians "
        f"(least..most) over the rounds, ratios round by round.\n\n{_report.table(head, rows)}"
    )


def rate(ends: list[float]) -> float:
    """Trials per second after the first one, from the times at which they ended."""
    return (len(ends) - 1) / (ends[-1] - ends[0])


class Ends:
    """Notes when trials end; a `study.listener.Listener`."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def started(self, record: Record) -> None:
        return None

    def epoch(self, record: Record, epoch: int, metrics: Mapping[str, float]) -> None:
        return None

    def ended(self, record: Record) -> None:
        assert record.state == "COMPLETE", record.reason
        self.times.append(time.perf_counter())


def _avtune(sampler: str, trials: int) -> float:
    from avtune.runners import lanes as lanes_runner
    from avtune.runners._base import Placement

    with tempfile.TemporaryDirectory() as scratch:
        space = _tiny.space(Path(scratch), search__trials=trials, search__sampler=sampler)
        folder = StudyFolder(Path(scratch) / "study")
        folder.create({"format": 1, "space": space.as_dict()}, {})
        ends = Ends()
        study = Study(folder, space, listeners=[ends])
        with lanes_runner.opened(Placement(count=2, gpus=0, threads=1, lanes=RUNNING // 2), 1 << 20) as run:
            run(study, _tiny.folds())
        study.close()
    assert len(ends.times) == trials
    return rate(ends.times)


def _ray(reuse_actors: bool, trials: int) -> float:
    if reuse_actors:  # it hangs where a trial takes longer than this to leave (2 s)
        os.environ["TUNE_FUNCTION_THREAD_TIMEOUT_S"] = "600"
    import ray
    from ray import tune

    ray.init(address="local")  # not a cluster that happens to run on this machine
    ends: list[float] = []

    class Ends(tune.Callback):  # type: ignore[misc]
        def on_trial_complete(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
            ends.append(time.perf_counter())

    def trainable(config: dict[str, Any]) -> None:
        tune.report({"val_map": config["margin"]})

    with tempfile.TemporaryDirectory() as scratch:
        tuner = tune.Tuner(
            trainable,
            param_space={"margin": tune.uniform(0.1, 1.0), "lr": tune.loguniform(1e-3, 1e-1)},
            tune_config=tune.TuneConfig(metric="val_map", mode="max", num_samples=trials, reuse_actors=reuse_actors),
            run_config=tune.RunConfig(storage_path=scratch, callbacks=[Ends()]),
        )
        tuner.fit()
    assert len(ends) == trials
    return rate(ends)


_RUN: dict[str, Callable[[int], float]] = {
    "avtune": partial(_avtune, "tpe"),
    "avtune, random": partial(_avtune, "random"),
    "ray, reuse_actors": partial(_ray, True),
    "ray": partial(_ray, False),
}

if __name__ == "__main__":
    main()
