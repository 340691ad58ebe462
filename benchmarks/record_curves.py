"""Records what random configurations of a space come to: `benchmarks/curves/<dataset>.jsonl.xz`, for the simulator.

    python -m benchmarks.record_curves demo --trials 48 --seeds 2

Configurations are drawn from the dataset's space (`--space`), the default configuration first; each is trained over a
few seeds until its own end, stopped by no rung, as lanes of one engine. What has been trained is kept in
`<dataset>.partial.jsonl` beside the file, a line a run: the same command goes on there after an interruption, and with
more trials or seeds it adds to what the file holds.
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path

import optuna
import torch

from avtune.core.files import append_line, read_lines
from avtune.core.hyper import Value
from avtune.core.seeds import mix
from avtune.core.trained_on import TrainedOn
from avtune.core.trial import Trial
from avtune.data import Dataset, load
from avtune.data.prepare import for_search
from avtune.data.registry import REGISTRY
from avtune.engine.engine import Engine
from avtune.engine.precision import fast_precision
from avtune.methods import METHODS, hypers_of
from avtune.runners.dispatcher import Dispatcher
from avtune.space.files import load as load_space
from avtune.space.space import Space
from avtune.study.horizon import Horizon
from avtune.study.recorded_curves import (
    SUFFIX,
    RecordedCurves,
    RecordedRun,
    read_recorded,
    run_line,
    run_of,
    write_curves,
)
from avtune.workflows.open_study import horizon_of
from benchmarks import _report
from benchmarks._small import small

FOLDER = Path(__file__).parent / "curves"
_FLUSH = 0.05  # share of the runs after which a line is printed


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.record_curves", description=__doc__)
    parser.add_argument("data", help="a dataset, as `avtune search` takes it, or `small`")
    parser.add_argument("--space", help="what is drawn from (default: the dataset's own, or ave)")
    parser.add_argument("--trials", type=int, default=200, help="configurations (200)")
    parser.add_argument("--seeds", type=int, default=3, help="runs of each (3)")
    parser.add_argument("--lanes", type=int, default=8, help="runs that are trained at a time (8)")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out", type=Path, default=FOLDER, help="folder of the file (benchmarks/curves)")
    parser.add_argument("--set", action="append", default=[], help="override a value of the space")
    given = parser.parse_args()
    dataset = small() if given.data == "small" else load(given.data)
    usual = REGISTRY[given.data].space if given.data in REGISTRY else "ave"
    space = load_space(given.space or usual, hypers_of=hypers_of, method_names=METHODS, overrides=given.set)
    print(record(dataset, space, given))


def record(dataset: Dataset, space: Space, given: argparse.Namespace, claim: str = "record_curves") -> Path:
    """Trains what is missing, and writes the file.

    Args:
        given: `trials`, `seeds`, `lanes`, `device` and `out` as the command line has them.
        claim: the module whose command this is.
    """
    torch.set_num_threads(1)  # as an engine on a CPU has
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    folds = for_search(
        dataset, fraction=space.validation.fraction, folds=space.validation.folds, seed=space.search.seed
    )
    horizon = horizon_of(space, min(len(fold.train) for fold in folds))
    precision = fast_precision(int(given.device.startswith("cuda")))
    given.out.mkdir(parents=True, exist_ok=True)
    path = given.out / f"{dataset.name}{SUFFIX}"
    partial = given.out / f"{dataset.name}.partial.jsonl"
    known = _known(path, partial, space, horizon.rows)
    source = _Runs(given, horizon, precision, partial, known)
    if not source.exhausted:
        dispatcher = Dispatcher(source, spare=0, max_failures=1)
        engine = Engine(folds, capacity=given.lanes, device=given.device, save=_keeps_nothing)
        engine.run(lambda message: dispatcher.exchange("engine", message))
    about = _about(given, dataset, known.get("about", {}), source.failed, claim)
    runs = sorted(source.runs.values(), key=lambda run: (run.number, run.seed))
    write_curves(path, RecordedCurves(space, horizon.rows, precision, about, runs))
    partial.unlink(missing_ok=True)
    return path


def configurations(space: Space, count: int) -> Iterator[dict[str, Value]]:
    """The default configuration where the space holds it, then random ones; those of a number never change."""
    distributions = space.distributions()
    if all(axis.contains(axis.default) for axis in space.axes):
        yield {axis.name: axis.default for axis in space.axes}
        count -= 1
    for number in range(count):
        sampler = optuna.samplers.RandomSampler(seed=mix(space.search.seed, "recorded", number) % 2**32)
        yield dict(optuna.create_study(sampler=sampler).ask(distributions).params)


def _known(path: Path, partial: Path, space: Space, rows: int) -> dict[str, object]:
    """What was recorded before, by whoever gave this command."""
    about: Mapping[str, str] = {}
    runs: list[RecordedRun] = []
    if path.is_file():
        before = read_recorded(path)
        if before.space.difference(space) or before.rows != rows:
            raise SystemExit(f"{path} is of another space or split; give another --out")
        about, runs = before.about, list(before.runs)
    runs += [run_of(line, partial) for line in read_lines(partial, repair=True)[0]]
    return {"about": about, "runs": {(run.number, run.seed): run for run in runs}}


def _about(given: argparse.Namespace, dataset: Dataset, before: object, failed: int, claim: str) -> dict[str, str]:
    now = datetime.now(UTC)
    facts = {name: text for name, text in _report.facts(now, ["torch", "numpy"]) if name != "load before"}
    words = shlex.join([claim, *(os.path.basename(word) if os.sep in word else word for word in sys.argv[1:])])
    facts["command"] = f"python -m benchmarks.{words}"
    assert isinstance(before, Mapping)
    earlier = {"began with": before["command"]} if before.get("command") not in (None, facts["command"]) else {}
    return (
        facts
        | earlier
        | {
            "dataset": dataset.name,
            "digest": dataset.digest,
            "lanes": str(given.lanes),
            "how": "the default configuration, then random ones; each trained over seeds until its curve was flat, or "
            f"to its last epoch; stopped by no rung; {failed} runs failed and are left out",
        }
    )


class _Runs:
    """A `runners.Source`: every configuration over seeds. Keeps each run that has ended."""

    independent = 0

    def __init__(
        self, given: argparse.Namespace, horizon: Horizon, precision: str, partial: Path, known: dict[str, object]
    ) -> None:
        found = known["runs"]
        assert isinstance(found, dict)
        self.runs: dict[tuple[int, int], RecordedRun] = dict(found)
        self.failed = 0
        self._partial = partial
        space = horizon.space
        self._trials: dict[int, tuple[RecordedRun, list[float], list[float]]] = {}
        self._queue: list[Trial] = []
        for number, config in enumerate(configurations(space, given.trials)):
            for seed in range(given.seeds):
                if (number, seed) in self.runs:
                    continue
                place = len(self._trials)
                self._trials[place] = RecordedRun(number, config, seed, (), ()), [], []
                trial = horizon.trial(
                    place, space.fixed | config, mix(space.search.seed, "recorded", number, seed), precision, ""
                )
                self._queue.append(trial)
        self._queue.reverse()
        self._all = len(self._trials)
        self._said = 0.0

    def ask(self) -> Trial | None:
        return self._queue.pop() if self._queue else None

    def trained_on(self, number: int, where: TrainedOn) -> None:
        return None

    def report(self, number: int, epoch: int, metrics: Mapping[str, float]) -> bool:
        _, values, seconds = self._trials[number]
        values.append(metrics["val_map"])
        seconds.append(metrics["seconds"])
        return True

    def should_stop(self, number: int) -> bool:
        return number not in self._trials

    def tell(self, number: int, failure: str | None = None, details: str = "") -> None:
        run, values, seconds = self._trials.pop(number)
        if failure is not None:
            self.failed += 1
            print(f"configuration {run.number}, seed {run.seed}: {failure}", flush=True)
            return
        made = RecordedRun(run.number, run.config, run.seed, tuple(values), tuple(seconds))
        append_line(self._partial, run_line(made))
        self.runs[run.number, run.seed] = made
        done = self._all - len(self._trials)
        if done / self._all >= self._said + _FLUSH:
            self._said = done / self._all
            print(f"{done} of {self._all} runs, {len(values)} epochs the last", flush=True)

    def note(self, text: str, *, shown: bool = False) -> None:
        print(text, flush=True)

    @property
    def exhausted(self) -> bool:
        return not self._trials


def _keeps_nothing(trial: Trial, *rest: object) -> None:
    """No weights are kept."""


if __name__ == "__main__":
    main()
