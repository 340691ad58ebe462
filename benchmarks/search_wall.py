"""The whole search against what a competent user writes with Ray Tune and with Optuna alone.

    python -m benchmarks.search_wall --data FILE --trials 64

Every side searches the same space on the same rows, with the same number of trials, the same epochs at most and the
same stopping rule's settings, around the same training function, every trial with a training seed of its own. Each runs
in a process of its own, and the sides take turns, once for every seed. The clock runs from the start of the process to
its end, imports included.

- avtune: the runner `lanes`, in the precision that it chooses by itself, and once more in fp32;
- ray: `Tuner` with OptunaSearch, ASHAScheduler, one process a trial, default loggers; fp32;
- optuna: `study.optimize(n_jobs=cores)` in threads, SuccessiveHalvingPruner; fp32.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import mean, median, stdev
from typing import Any

from benchmarks import _report

SIDES = ("avtune", "avtune fp32", "ray", "optuna")
PEERS = ("ray", "optuna")
# How many times faster than the peers the whole search is, by dataset, on two cores with 64 trials.
CLAIMED = {"demo": (4.0, 1.5), "yt8m_ave15": (2.5, 1.3)}


def main() -> None:
    parser = _report.arguments("search_wall", __doc__)
    parser.add_argument("--data", default="demo", help="a dataset, as `avtune search` takes it")
    parser.add_argument("--space", help="a space (default: demo for the demo, else ave)")
    parser.add_argument("--trials", type=int, default=64)
    parser.add_argument("--epochs", type=int, help="most epochs of a trial, on every side (18 for the demo, else 27)")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--sides", default=",".join(SIDES), help="which, separated by commas")
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    parser.add_argument("--seed", type=int, default=0, help=argparse.SUPPRESS)
    given = parser.parse_args()
    given.space = given.space or ("demo" if given.data == "demo" else "ave")
    given.epochs = given.epochs or (18 if given.data == "demo" else 27)
    if given.quick:
        given.trials, given.seeds = 6, 1
    if given.side:
        print(json.dumps(_RUN[given.side](given)))
        return
    sides = given.sides.split(",")
    results: dict[str, list[dict[str, float]]] = {side: [] for side in sides}
    for seed in range(given.first_seed, given.first_seed + given.seeds):
        for side in sides:
            results[side].append(_child(given, side, seed))
            print(f"seed {seed}, {side}: {results[side][-1]}", flush=True)
    _write(given, results)


def _child(given: argparse.Namespace, side: str, seed: int) -> dict[str, float]:
    """Runs one side in a process of its own; its result with `wall` seconds."""
    words = ["--data", given.data, "--space", given.space, "--trials", str(given.trials), "--side", side]
    words += ["--epochs", str(given.epochs)]
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.search_wall", *words, "--seed", str(seed)], capture_output=True, text=True
    )
    wall = time.perf_counter() - start
    if done.returncode:
        raise SystemExit(f"{side} failed:\n{done.stderr[-2000:]}")
    found: dict[str, float] = json.loads(done.stdout.strip().splitlines()[-1])
    return found | {"wall": round(wall, 2)}


def _write(given: argparse.Namespace, results: dict[str, list[dict[str, float]]]) -> None:
    rows = []
    for side, runs in results.items():
        walls = [run["wall"] for run in runs]
        values = [run["best"] for run in runs]
        rows.append(
            [
                side,
                f"{median(walls):.1f} ({min(walls):.1f} to {max(walls):.1f})",
                f"{given.trials / median(walls) * 3600:,.0f}",
                f"{mean(run['epochs'] for run in runs):.0f}",
                f"{mean(values):.4f}" + (f" (sd {stdev(values):.4f})" if len(values) > 1 else ""),
                _report.apart(values, [run["best"] for run in results[SIDES[0]]]) if SIDES[0] in results else "–",
                *(f"{_ratio(results[peer], runs):.2f}x" for peer in PEERS if peer in results),
            ]
        )
    head = ["side", "wall s", "trials per hour", "epochs", "best validation MAP", "more than avtune's"]
    head += [f"faster than {peer}" for peer in PEERS if peer in results]
    text = (
        f"Data `{Path(given.data).stem}`, space `{given.space}`, {given.trials} trials, {given.seeds} seeds from "
        f"{given.first_seed}; medians over seeds (smallest to largest), ratios seed by seed. Differences of MAP: mean "
        "and 95 % interval over seeds (Student t).\n\n" + _report.table(head, rows)
    )
    packages = ["torch", "ray", "optuna", "numpy"]
    print(
        _report.write(
            f"search_wall-{Path(given.data).stem}",
            "The whole search",
            [_claims(given, results), text],
            packages,
            given.out,
        )
    )


def _claims(given: argparse.Namespace, results: dict[str, list[dict[str, float]]]) -> str:
    """The claims beside what was found."""
    ours = results.get(SIDES[0])
    wanted = CLAIMED.get(Path(given.data).stem)
    if ours is None or wanted is None or given.trials != 64 or given.seeds < 3:
        return "Claims: not tested in this run, which has other data, sides, trials or fewer than 3 seeds."
    lines = ["Claims:", ""]
    for peer, times in zip(PEERS, wanted, strict=True):
        if peer not in results:
            continue
        values = [run["best"] for run in results[peer]]
        lower = mean(values) - mean(run["best"] for run in ours)
        lines += [
            f"- at least {times} times faster than {peer}: {_ratio(results[peer], ours):.2f} times",
            f"- best validation MAP not lower than that of {peer} by more than the latter's spread over seeds, "
            f"{stdev(values):.4f}: {abs(lower):.4f} {'lower' if lower > 0 else 'higher'}",
        ]
    return "\n".join(lines)


def _ratio(theirs: list[dict[str, float]], ours: list[dict[str, float]]) -> float:
    """How many times as long the other side took, the median over the seeds."""
    return median(other["wall"] / run["wall"] for other, run in zip(theirs, ours, strict=True))


def _space(given: argparse.Namespace) -> Any:
    from avtune.methods import METHODS, hypers_of
    from avtune.space.files import load

    # A number of epochs for every side: the peers have no open horizon.
    settings = [f"search.trials={given.trials}", f"search.seed={given.seed}", f"early_stopping.epochs={given.epochs}"]
    return load(given.space, hypers_of=hypers_of, method_names=METHODS, overrides=settings)


def _folds(dataset: Any, space: Any) -> Any:
    from avtune.data.prepare import for_search

    return for_search(dataset, fraction=space.validation.fraction, folds=None, seed=0)


def _avtune(given: argparse.Namespace, precision: str | None) -> dict[str, float]:
    """The search as `avtune search` runs it, without the finals."""
    from avtune.data import load
    from avtune.engine.memory import is_wide
    from avtune.engine.precision import fast_precision
    from avtune.runners import lanes as lanes_runner
    from avtune.runners.placement import PlacementRequest, place
    from avtune.study.folder import StudyFolder
    from avtune.study.study import Study

    space = _space(given)
    with tempfile.TemporaryDirectory() as scratch:
        folder = StudyFolder(Path(scratch) / "study")
        folder.create({"format": 1, "space": space.as_dict()}, {})
        dataset = load(given.data)
        dims = (dataset.audio_dim, dataset.visual_dim, dataset.num_classes)
        placement = place(PlacementRequest(), "lanes", given.trials, wide=is_wide(space.method, space.defaults(), dims))
        study = Study(folder, space, precision=precision or fast_precision(placement.gpus))
        with lanes_runner.opened(placement, 1 << 28) as run:
            run(study, _folds(dataset, space))
        study.close()
        best = study.best
        assert best is not None
        return {"best": best.best_value or 0.0, "epochs": sum(len(record.values) for record in study.records)}


def _objective(config: dict[str, Any], space: Any, folds: Any, report: Callable[[int, dict[str, float]], bool]) -> None:
    """The single-trial training function that every side shares. The training seed is the trial's own, as avtune has
    it: with one seed for all, the best of a search would depend on the luck of that seed."""
    from avtune.core.seeds import mix
    from avtune.core.trial import Trial
    from avtune.engine.trainer import train

    seed = mix(space.search.seed, "trial", repr(sorted(config.items())))
    train(Trial(0, space.method, space.fixed | config, seed, space.early_stopping.epochs), folds, report)


def _ray(given: argparse.Namespace) -> dict[str, float]:
    import ray
    from ray import tune
    from ray.tune.schedulers import ASHAScheduler
    from ray.tune.search.optuna import OptunaSearch

    from avtune.data import load

    ray.init(address="local")  # not a cluster that happens to run on this machine

    space = _space(given)
    stopping = space.early_stopping

    def trainable(config: dict[str, Any], folds: Any) -> None:
        import torch

        torch.set_num_threads(1)

        def report(epoch: int, metrics: dict[str, float]) -> bool:
            tune.report(metrics)
            return True

        _objective(config, space, folds, report)

    with tempfile.TemporaryDirectory() as scratch:
        tuner = tune.Tuner(
            tune.with_resources(tune.with_parameters(trainable, folds=_folds(load(given.data), space)), {"cpu": 1}),
            tune_config=tune.TuneConfig(
                metric="val_map",
                mode="max",
                search_alg=OptunaSearch(space.distributions(), metric="val_map", mode="max", seed=given.seed),
                scheduler=ASHAScheduler(
                    max_t=stopping.epochs, grace_period=stopping.grace, reduction_factor=stopping.factor
                ),
                num_samples=given.trials,
                max_concurrent_trials=_report.cores(),
            ),
            run_config=tune.RunConfig(storage_path=scratch),
        )
        frames = [result.metrics_dataframe for result in tuner.fit()]
        return {
            "best": max(float(frame["val_map"].max()) for frame in frames),
            "epochs": sum(len(frame) for frame in frames),
        }


def _optuna(given: argparse.Namespace) -> dict[str, float]:
    import optuna
    import torch

    from avtune.data import load

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    torch.set_num_threads(1)
    space = _space(given)
    folds = _folds(load(given.data), space)
    distributions = space.distributions()
    spent: list[float] = []

    def objective(trial: optuna.Trial) -> float:
        config = {
            name: trial.suggest_categorical(name, one.choices)
            if isinstance(one, optuna.distributions.CategoricalDistribution)
            else (trial.suggest_int if isinstance(one, optuna.distributions.IntDistribution) else trial.suggest_float)(
                name, one.low, one.high, log=one.log
            )
            for name, one in distributions.items()
        }
        best = 0.0

        def report(epoch: int, metrics: dict[str, float]) -> bool:
            nonlocal best
            spent.append(metrics["val_map"])
            best = max(best, metrics["val_map"])
            trial.report(metrics["val_map"], epoch)
            if trial.should_prune():
                raise optuna.TrialPruned
            return True

        _objective(config, space, folds, report)
        return best

    stopping = space.early_stopping
    study = optuna.create_study(
        direction="maximize",
        sampler=optuna.samplers.TPESampler(seed=given.seed),
        pruner=optuna.pruners.SuccessiveHalvingPruner(min_resource=stopping.grace, reduction_factor=stopping.factor),
    )
    study.optimize(objective, n_trials=given.trials, n_jobs=_report.cores())
    return {"best": max(spent), "epochs": len(spent)}


_RUN: dict[str, Callable[[argparse.Namespace], dict[str, float]]] = {
    "avtune": lambda given: _avtune(given, None),
    "avtune fp32": lambda given: _avtune(given, "fp32"),
    "ray": _ray,
    "optuna": _optuna,
}

if __name__ == "__main__":
    main()
