"""Which hyper-parameters decide whether a trial is among the best: PED-ANOVA, with an interval by bootstrap."""

from __future__ import annotations

import random
import warnings
from collections.abc import Container, Mapping, Sequence
from typing import TypedDict

import numpy as np
import numpy.typing as npt
import optuna
from optuna.distributions import BaseDistribution
from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances
from optuna.storages import InMemoryStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from avtune.core.hyper import Value
from avtune.space.drawing import drawn
from avtune.space.space import Space
from avtune.study.record import Record

Floats = npt.NDArray[np.float64]
RESAMPLES = 20
_FEWEST = 15
"""Trials below which nothing can be said."""
_MOST = 1_000
"""Trials that are looked at; of more, this many are drawn."""
_TOP = 0.1
_TOP_TRIALS = 5  # Optuna advises at least so many above the quantile


class Importance(TypedDict):
    """Importance of each searched hyper-parameter.

    Attributes:
        trials: those that were looked at.
        top: the share of them that counts as best.
        names: the hyper-parameters, most important first.
        share: of each in the sum of all.
        low, high: 5 % and 95 % quantile of the share over resampled trials.
    """

    trials: int
    top: float
    names: list[str]
    share: list[float]
    low: list[float]
    high: list[float]


def importance(records: Sequence[Record], space: Space) -> Importance | None:
    """None where there are too few trials, or fewer than two hyper-parameters that vary.

    A trial that was stopped counts with its best value so far: the measure only asks which trials are among the best.
    A hyper-parameter that a trial does not have, since its condition does not hold, is drawn for it at random, so that
    it explains nothing there: what the condition itself decides counts for the choice that it names.

    Args:
        records: of all trials.
        space: that was searched.
    """
    known = [record for record in records if record.state in ("COMPLETE", "PRUNED") and record.best_value is not None]
    draw = np.random.default_rng(0)
    if len(known) > _MOST:
        known = [known[place] for place in np.sort(draw.choice(len(known), _MOST, replace=False))]
    configs = _complete([record.trial.config for record in known], space)
    names = [axis.name for axis in space.axes if len({config[axis.name] for config in configs}) > 1]
    if len(known) < _FEWEST or len(names) < 2:
        return None
    top = max(_TOP, _TOP_TRIALS / len(known))
    draws = [draw.integers(len(known), size=len(known)) for _ in range(RESAMPLES)]
    distributions = {name: one for name, one in space.distributions().items() if name in names}
    whole, *again = (
        _shares([(configs[place], known[place].best_value) for place in places], distributions, top)
        for places in [range(len(known)), *draws]
    )
    low, high = np.quantile(again, [0.05, 0.95], axis=0)
    order = np.argsort(-whole, kind="stable")
    return {
        "trials": len(known),
        "top": round(top, 4),
        "names": [names[place] for place in order],
        "share": whole[order].round(4).tolist(),
        "low": low[order].round(4).tolist(),
        "high": high[order].round(4).tolist(),
    }


def _complete(configs: Sequence[Mapping[str, Value]], space: Space) -> list[dict[str, Value]]:
    """The configurations with a value of every axis."""
    draw = random.Random(0)
    return [
        {axis.name: config[axis.name] if axis.name in config else drawn(axis, draw) for axis in space.axes}
        for config in configs
    ]


def _shares(
    trials_seen: Sequence[tuple[Mapping[str, Value], float | None]],
    distributions: dict[str, BaseDistribution],
    top: float,
) -> Floats:
    """Importance of each of the names as its share of the sum [names]; equal ones where none has any."""
    trials = [
        FrozenTrial(
            place,  # a trial may be there several times
            TrialState.COMPLETE,
            value,
            None,
            None,
            {name: config[name] for name in distributions},
            distributions,
            {},
            {},
            {},
            place,
        )
        for place, (config, value) in enumerate(trials_seen)
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # experimental; and that all are equal, which is seen
        evaluator = PedAnovaImportanceEvaluator(target_quantile=top)
        found = get_param_importances(_Given(trials), evaluator=evaluator, params=list(distributions))
    return np.array([found[name] for name in distributions])


class _Given(optuna.Study):
    """An Optuna study that holds the given trials, without the time that it takes to add them one by one."""

    def __init__(self, trials: list[FrozenTrial]) -> None:
        storage = InMemoryStorage()
        storage.create_new_study([StudyDirection.MAXIMIZE], "importance")
        super().__init__("importance", storage)
        self._given = trials

    def get_trials(self, deepcopy: bool = True, states: Container[TrialState] | None = None) -> list[FrozenTrial]:
        return [trial for trial in self._given if states is None or trial.state in states]
