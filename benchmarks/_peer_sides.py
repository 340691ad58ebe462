"""Searches as a competent user writes them with Optuna, Ray Tune and Syne Tune alone, finals included: the sides of
`benchmarks.peers`. Each trains with one thread a trial, as many trials at a time as there are cores, in fp32."""

from __future__ import annotations

import json
import multiprocessing
import os
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks import _report
from benchmarks._peer_task import Config, Run, Task, finals, suggested

Found = dict[str, float]
"""`best`: best validation MAP of the search; `test`: mean test MAP of the winner; `epochs` of the search,
`final_epochs` of the finals."""


def _one_thread() -> None:
    import torch

    torch.set_num_threads(1)


# -- Optuna ------------------------------------------------------------------------------------------------------------


def _optuna_study(task: Task, **where: Any) -> Any:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    stopping = task.the_space.early_stopping
    return optuna.create_study(
        direction="maximize",
        sampler=optuna.samplers.TPESampler(seed=task.seed),
        pruner=optuna.pruners.SuccessiveHalvingPruner(min_resource=stopping.grace, reduction_factor=stopping.factor),
        **where,
    )


class _Objective:
    """An Optuna objective: reports every epoch, and ends where the pruner says so."""

    def __init__(self, task: Task) -> None:
        self._task = task

    def __call__(self, trial: Any) -> float:
        import optuna

        best = 0.0

        def report(epoch: int, value: float) -> bool:
            nonlocal best
            best = max(best, value)
            trial.report(value, epoch)
            if trial.should_prune():
                raise optuna.TrialPruned
            return True

        self._task.trial(suggested(self._task, trial), report)
        return best


def _of_optuna(study: Any) -> tuple[list[Config], Found]:
    """The configurations of a study, best first, and what its search found."""
    curves = {trial.number: list(trial.intermediate_values.values()) for trial in study.trials}
    ranked = sorted((trial for trial in study.trials if curves[trial.number]), key=lambda one: -max(curves[one.number]))
    best = max(curves[ranked[0].number])
    return [trial.params for trial in ranked], {"best": best, "epochs": float(sum(map(len, curves.values())))}


def optuna_threads(task: Task) -> Found:
    """`study.optimize(n_jobs=cores)`: threads of one process."""
    _one_thread()
    study = _optuna_study(task)
    assert task.folds, "read once, before the threads begin"
    study.optimize(_Objective(task), n_trials=task.trials, n_jobs=_report.cores())
    ranked, found = _of_optuna(study)
    assert task.whole
    with ThreadPoolExecutor(_report.cores()) as pool:
        return found | finals(task, ranked, lambda runs: list(pool.map(task.run, runs)))


def optuna_processes(task: Task) -> Found:
    """Processes that share a journal file, as Optuna's documentation has it; each has a sampler of its own."""
    with tempfile.TemporaryDirectory() as scratch, _pool(task) as pool:
        journal = str(Path(scratch) / "journal.log")
        _optuna_study(task, storage=_journal(journal), study_name="peers")
        for done in [pool.submit(_work_on, journal, worker) for worker in range(_report.cores())]:
            done.result()
        import optuna

        ranked, found = _of_optuna(optuna.load_study(study_name="peers", storage=_journal(journal)))
        return found | finals(task, ranked, lambda runs: list(pool.map(_run_here, runs)))


def _journal(path: str) -> Any:
    import optuna

    return optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(path))


def _work_on(journal: str, worker: int) -> None:
    import optuna

    assert _TASK is not None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    stopping = _TASK.the_space.early_stopping
    study = optuna.load_study(
        study_name="peers",
        storage=_journal(journal),
        sampler=optuna.samplers.TPESampler(seed=_TASK.seed * 1000 + worker),
        pruner=optuna.pruners.SuccessiveHalvingPruner(min_resource=stopping.grace, reduction_factor=stopping.factor),
    )
    states = (optuna.trial.TrialState.COMPLETE, optuna.trial.TrialState.PRUNED, optuna.trial.TrialState.RUNNING)
    enough = optuna.study.MaxTrialsCallback(_TASK.trials, states=states)
    share = -(-_TASK.trials // _report.cores())
    study.optimize(_Objective(_TASK), n_trials=share, callbacks=[enough])


# -- processes that do runs of the finals ------------------------------------------------------------------------------

_TASK: Task | None = None


def _begin(task: Task) -> None:
    global _TASK
    _one_thread()
    _TASK = task
    assert task.folds
    assert task.whole


def _run_here(one: Run) -> list[float]:
    assert _TASK is not None
    return _TASK.run(one)


def _pool(task: Task) -> ProcessPoolExecutor:
    fresh = Task(**asdict(task))  # without the rows: each process reads them
    return ProcessPoolExecutor(
        _report.cores(), multiprocessing.get_context("spawn"), initializer=_begin, initargs=(fresh,)
    )


# -- Ray Tune ----------------------------------------------------------------------------------------------------------


def ray_tune(task: Task) -> Found:
    """`Tuner` with OptunaSearch, ASHAScheduler, one process a trial, default loggers."""
    return _ray(task, reuse=False)


def ray_reuse(task: Task) -> Found:
    """The same with `reuse_actors`: the processes of trials that ended train the next ones."""
    return _ray(task, reuse=True)


def _ray(task: Task, *, reuse: bool) -> Found:
    import ray
    from ray import tune
    from ray.tune.schedulers import ASHAScheduler
    from ray.tune.search.optuna import OptunaSearch

    ray.init(address="local")  # not a cluster that happens to run on this machine
    stopping = task.the_space.early_stopping
    assert task.folds
    assert task.whole

    def trainable(config: dict[str, Any], task: Task) -> None:
        _one_thread()

        def report(epoch: int, value: float) -> bool:
            tune.report({"val_map": value})
            return True

        task.trial(config, report)

    with tempfile.TemporaryDirectory() as scratch:
        tuner = tune.Tuner(
            tune.with_resources(tune.with_parameters(trainable, task=task), {"cpu": 1}),
            tune_config=tune.TuneConfig(
                metric="val_map",
                mode="max",
                search_alg=OptunaSearch(task.the_space.distributions(), metric="val_map", mode="max", seed=task.seed),
                scheduler=ASHAScheduler(
                    max_t=task.epochs, grace_period=stopping.grace, reduction_factor=stopping.factor
                ),
                num_samples=task.trials,
                max_concurrent_trials=_report.cores(),
                reuse_actors=reuse,
            ),
            run_config=tune.RunConfig(storage_path=scratch),
        )
        results = [(float(one.metrics_dataframe["val_map"].max()), one) for one in tuner.fit()]
    results.sort(key=lambda pair: -pair[0])
    epochs = sum(len(one.metrics_dataframe) for _, one in results)
    shared = ray.put(task)

    @ray.remote(num_cpus=1)
    def run(one: Run, task: Task) -> list[float]:
        _one_thread()
        return task.run(one)

    found = {"best": results[0][0], "epochs": float(epochs)}
    configs: Sequence[Config] = [one.config for _, one in results if one.config is not None]
    return found | finals(task, configs, lambda runs: ray.get([run.remote(one, shared) for one in runs]))


# -- Syne Tune ---------------------------------------------------------------------------------------------------------


def syne_tune(task: Task) -> Found:
    """Its local backend, which runs a script for each trial, with BOHB: asynchronous successive halving and a
    suggestion by kernel densities, which is nearest to ASHA with TPE. It may begin a trial more than asked for on each
    core. Finals in a pool of processes."""
    import syne_tune.config_space as kinds
    from syne_tune import StoppingCriterion, Tuner
    from syne_tune.backend import LocalBackend
    from syne_tune.experiments import load_experiment
    from syne_tune.optimizer.baselines import BOHB

    stopping = task.the_space.early_stopping
    os.environ["AVTUNE_PEER_TASK"] = json.dumps(asdict(task))  # for `_peer_script.py`
    space: dict[str, Any] = {}
    for name, one in task.the_space.distributions().items():
        if hasattr(one, "choices"):
            space[name] = kinds.choice(list(one.choices))
        else:
            whole = type(one).__name__ == "IntDistribution"
            make = (
                (kinds.lograndint if one.log else kinds.randint)
                if whole
                else (kinds.loguniform if one.log else kinds.uniform)
            )
            space[name] = make(one.low, one.high)
    scheduler = BOHB(
        space,
        metric="val_map",
        time_attr="epoch",
        max_t=task.epochs,
        do_minimize=False,
        random_seed=task.seed,
        grace_period=stopping.grace,
        reduction_factor=stopping.factor,
    )
    tuner = Tuner(
        trial_backend=LocalBackend(entry_point=str(Path(__file__).with_name("_peer_script.py")), binary=sys.executable),
        scheduler=scheduler,
        stop_criterion=StoppingCriterion(max_num_trials_finished=task.trials),
        n_workers=_report.cores(),
        sleep_time=0.1,
        print_update_interval=1e9,
    )
    tuner.run()
    table = load_experiment(tuner.name).results
    names = list(task.the_space.distributions())
    by_trial = dict(iter(table.groupby("trial_id")))
    ranked = sorted(by_trial, key=lambda trial: -by_trial[trial]["val_map"].max())
    configs = [{name: by_trial[trial].iloc[0][f"config_{name}"].item() for name in names} for trial in ranked]
    with _pool(task) as pool:
        found = {"best": float(table["val_map"].max()), "epochs": float(len(table))}
        return found | finals(task, configs, lambda runs: list(pool.map(_run_here, runs)))
