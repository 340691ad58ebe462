"""The work that every side of `benchmarks.peers` does: a trial, the finals, and the test score, with avtune's own
training function and metrics, so that the sides differ in how they search and in how they share the machine."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from avtune.core.seeds import mix
from avtune.core.trial import Trial
from avtune.data import load
from avtune.data.dataset import Dataset
from avtune.data.prepare import Prepared, Scalers, for_retraining, for_search
from avtune.engine.trainer import embed, train
from avtune.metrics import retrieval_scores
from avtune.space.space import Space

Config = Mapping[str, Any]
Report = Callable[[int, float], bool]
"""Called with an epoch and its validation MAP; returns whether to go on."""


@dataclass(frozen=True)
class Run:
    """A run of the finals.

    Attributes:
        config: the searched hyper-parameters.
        seed: of the training.
        epochs: to train.
        whole: on the whole training set, and scored on the test split; else on the rows of the search.
    """

    config: Config
    seed: int
    epochs: int
    whole: bool = False


@dataclass(frozen=True)
class Task:
    """What is searched, on what, and how much of it.

    Attributes:
        data, space: as `avtune search` takes them.
        trials: configurations to try.
        epochs: most epochs of a trial.
        seed: of the search.
        finalists, seeds: of the finals.
    """

    data: str
    space: str
    trials: int
    epochs: int
    seed: int
    finalists: int
    seeds: int

    @cached_property
    def the_space(self) -> Space:
        from avtune.methods import METHODS, hypers_of
        from avtune.space.files import load as load_space

        settings = [f"search.trials={self.trials}", f"search.seed={self.seed}", f"early_stopping.epochs={self.epochs}"]
        return load_space(self.space, hypers_of=hypers_of, method_names=METHODS, overrides=settings)

    @cached_property
    def dataset(self) -> Dataset:
        return load(self.data)

    @cached_property
    def folds(self) -> tuple[Prepared, ...]:
        return for_search(self.dataset, fraction=self.the_space.validation.fraction, folds=None, seed=self.seed)

    @cached_property
    def whole(self) -> tuple[Prepared, Scalers]:
        return for_retraining(self.dataset)

    def trial(self, config: Config, report: Report) -> None:
        """Trains a configuration of the search. The training seed is the trial's own, as avtune has it: with one seed
        for all, the best of a search would depend on the luck of that seed."""
        seed = mix(self.seed, "trial", repr(sorted(config.items())))
        self._train(Run(config, seed, self.epochs), self.folds, lambda epoch, found: report(epoch, found["val_map"]))

    def run(self, one: Run) -> list[float]:
        """Does a run of the finals: validation MAP by epoch, or one number, the test MAP."""
        curve: list[float] = []
        if not one.whole:
            self._train(one, self.folds, lambda epoch, found: curve.append(found["val_map"]) or True)
            return curve
        data, scalers = self.whole
        trained = self._train(one, data, lambda epoch, found: True)
        test = scalers.apply(self.dataset.test)
        scores = retrieval_scores(*embed(trained, test.audio, test.visual), np.asarray(test.labels))
        return [scores.map]

    def _train(self, one: Run, data: Any, report: Callable[[int, dict[str, float]], bool]) -> Any:
        space = self.the_space
        trial = Trial(0, space.method, space.fixed | dict(one.config), one.seed, one.epochs, horizon=self.epochs)
        return train(trial, data, report)


def suggested(task: Task, trial: Any) -> dict[str, Any]:
    """The searched values of an Optuna trial, asked for by its own interface."""
    import optuna

    config: dict[str, Any] = {}
    for name, one in task.the_space.distributions().items():
        if isinstance(one, optuna.distributions.CategoricalDistribution):
            config[name] = trial.suggest_categorical(name, one.choices)
        elif isinstance(one, optuna.distributions.IntDistribution):
            config[name] = trial.suggest_int(name, one.low, one.high, log=one.log)
        else:
            config[name] = trial.suggest_float(name, one.low, one.high, log=one.log)
    return config


def finals(task: Task, ranked: Sequence[Config], do: Callable[[list[Run]], list[list[float]]]) -> dict[str, float]:
    """The finals of `avtune search --finals full`, less its default configuration: the best configurations over seeds,
    each at the best epoch of its mean curve; the best of them retrained on the whole training set over seeds.

    Args:
        ranked: configurations of the search, best first.
        do: does runs in the way of the side.

    Returns:
        `test`: mean test MAP; `final_epochs`: epochs of all runs.
    """
    chosen = ranked[: task.finalists]
    repeats = [
        Run(config, mix(task.seed, "repeat", index), task.epochs) for config in chosen for index in range(task.seeds)
    ]
    curves = np.array(do(repeats)).reshape(len(chosen), task.seeds, task.epochs).mean(1)
    winner = int(curves.max(1).argmax())
    epochs = int(curves[winner].argmax()) + 1
    again = Run(chosen[winner], 0, epochs, whole=True)
    tests = do([replace(again, seed=mix(task.seed, "retraining", index)) for index in range(task.seeds)])
    return {
        "test": float(np.mean(tests)),
        "final_epochs": float(len(repeats) * task.epochs + task.seeds * epochs),
    }
