"""Records what configurations of a space come to: `benchmarks/curves/<dataset>.jsonl.xz`, for the simulator.

    python -m benchmarks.record_curves demo --trials 48 --sought 48 --seeds 2

Configurations are drawn from the dataset's space (`--space`), the default configuration first; then `--sought` more are
suggested by TPE, from the results of all those before: a search spends most of its trials near the best configurations,
where few random ones lie. Each is trained over a few seeds until its own end, stopped by no rung, as lanes of one
engine; the default configuration, which takes part in every search and its finals, over more (`--default-seeds`).

What has been trained is kept in `<dataset>.partial.jsonl` beside the file, a line a run: the same command goes on there
after an interruption, and with more trials or seeds it adds to what the file holds.
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
from avtune.study.optuna_private import Tpe
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
FIRST_SOUGHT = 100_000  # number of the first suggested configuration; random ones can be added before it
_ROUND = 8  # configurations that are suggested at a time, from the results of all rounds before
_FLUSH = 0.05  # share of the runs after which a line is printed


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.record_curves", description=__doc__)
    parser.add_argument("data", help="a dataset, as `avtune search` takes it, or `small`")
    parser.add_argument("--space", help="what is drawn from (default: the dataset's own, or ave)")
    parser.add_argument("--trials", type=int, default=200, help="random configurations (200)")
    parser.add_argument("--sought", type=int, default=0, help="configurations that TPE suggests after them (0)")
    parser.add_argument("--seeds", type=int, default=3, help="runs of each (3)")
    parser.add_argument("--default-seeds", type=int, help="runs of the default configuration (as --seeds)")
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
        given: `trials`, `sought`, `seeds`, `default_seeds`, `lanes`, `device` and `out` as the command line has them.
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
    runs, before = known
    failed = 0
    for configs in _rounds(space, given, runs):
        wanted = {number: _seeds(configs[number], space, given) for number in configs}
        source = _Runs(configs, wanted, horizon, precision, partial, runs)
        if not source.exhausted:
            dispatcher = Dispatcher(source, spare=0, max_failures=1)
            engine = Engine(folds, capacity=given.lanes, device=given.device, save=_keeps_nothing)
            engine.run(lambda message, to=dispatcher: to.exchange("engine", message))
        failed += source.failed
    about = _about(given, dataset, before, failed, claim)
    in_order = sorted(runs.values(), key=lambda run: (run.number, run.seed))
    write_curves(path, RecordedCurves(space, horizon.rows, precision, about, in_order))
    partial.unlink(missing_ok=True)
    return path


def _seeds(config: Mapping[str, Value], space: Space, given: argparse.Namespace) -> int:
    """Over how many seeds a configuration is trained."""
    return (given.default_seeds or given.seeds) if space.is_default(space.fixed | dict(config)) else given.seeds


def _rounds(
    space: Space, given: argparse.Namespace, runs: Mapping[tuple[int, int], RecordedRun]
) -> Iterator[dict[int, dict[str, Value]]]:
    """The configurations by number: the random ones, then rounds of suggested ones, each from what `runs` holds when it
    is asked for."""
    yield dict(enumerate(configurations(space, given.trials)))
    for first in range(0, given.sought, _ROUND):
        yield sought(space, runs, first, min(_ROUND, given.sought - first))


def sought(
    space: Space, runs: Mapping[tuple[int, int], RecordedRun], first: int, count: int
) -> dict[int, dict[str, Value]]:
    """So many configurations that TPE suggests from the results of all those of lower numbers; the same for the same
    results.

    Args:
        first: the place of the first one among the suggested ones.
    """
    before: dict[int, list[RecordedRun]] = {}
    for run in sorted(runs.values(), key=lambda run: (run.number, run.seed)):
        if run.number < FIRST_SOUGHT + first:
            before.setdefault(run.number, []).append(run)
    distributions = space.distributions()
    study = optuna.create_study(direction="maximize")
    for known in before.values():
        value = sum(max(run.curve) for run in known) / len(known)
        study.add_trial(
            optuna.trial.create_trial(params=dict(known[0].config), distributions=distributions, value=value)
        )
    found = {}
    for number in range(FIRST_SOUGHT + first, FIRST_SOUGHT + first + count):
        study.sampler = Tpe(space, seed=mix(space.search.seed, "sought", number) % 2**32, startup_trials=0)
        found[number] = dict(study.ask(distributions).params)
    return found


def configurations(space: Space, count: int) -> Iterator[dict[str, Value]]:
    """The default configuration where the space holds it, then random ones; those of a number never change."""
    distributions = space.distributions()
    if all(axis.contains(axis.default) for axis in space.axes):
        yield {axis.name: axis.default for axis in space.axes}
        count -= 1
    for number in range(count):
        sampler = optuna.samplers.RandomSampler(seed=mix(space.search.seed, "recorded", number) % 2**32)
        yield dict(optuna.create_study(sampler=sampler).ask(distributions).params)


def _known(
    path: Path, partial: Path, space: Space, rows: int
) -> tuple[dict[tuple[int, int], RecordedRun], Mapping[str, str]]:
    """The runs that were recorded before, by configuration and seed, and how, by whoever gave this command."""
    about: Mapping[str, str] = {}
    runs: list[RecordedRun] = []
    if path.is_file():
        before = read_recorded(path)
        if before.space.difference(space) or before.rows != rows:
            raise SystemExit(f"{path} is of another space or split; give another --out")
        about, runs = before.about, list(before.runs)
    runs += [run_of(line, partial) for line in read_lines(partial, repair=True)[0]]
    return {(run.number, run.seed): run for run in runs}, about


def _about(
    given: argparse.Namespace, dataset: Dataset, before: Mapping[str, str], failed: int, claim: str
) -> dict[str, str]:
    now = datetime.now(UTC)
    facts = {name: text for name, text in _report.facts(now, ["torch", "numpy"]) if name != "load before"}
    words = shlex.join([claim, *(os.path.basename(word) if os.sep in word else word for word in sys.argv[1:])])
    facts["command"] = f"python -m benchmarks.{words}"
    earlier = {"began with": before["command"]} if before.get("command") not in (None, facts["command"]) else {}
    return (
        facts
        | earlier
        | {
            "dataset": dataset.name,
            "digest": dataset.digest,
            "lanes": str(given.lanes),
            "how": "the default configuration, then random ones"
            + (", then ones that TPE suggested from the results before" if given.sought else "")
            + "; each trained over seeds until its curve was flat, or to its last epoch; stopped by no rung; "
            f"{failed} runs failed and are left out",
        }
    )


class _Runs:
    """A `runners.Source`: configurations over so many seeds each. Keeps each run that has ended, in the file
    and in `runs`."""

    independent = 0

    def __init__(
        self,
        configs: Mapping[int, dict[str, Value]],
        seeds: Mapping[int, int],
        horizon: Horizon,
        precision: str,
        partial: Path,
        runs: dict[tuple[int, int], RecordedRun],
    ) -> None:
        self.runs = runs
        self.failed = 0
        self._partial = partial
        space = horizon.space
        self._trials: dict[int, tuple[RecordedRun, list[float], list[float]]] = {}
        self._queue: list[Trial] = []
        for number, config in configs.items():
            for seed in range(seeds[number]):
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
