"""Simulated searches of a data set with and without a portfolio that was made without it.

Trials come to what a surrogate of the set's recordings says (`avtune/study/simulated_curves.py`); sampler, rungs and
the place at which the portfolio is tried are the product's. A search is worth the mean curve of its best trial.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from avtune.core.hyper import Value
from avtune.runners._base import Placement
from avtune.runners.costs import Costs, EpochCost
from avtune.study.recorded_curves import RecordedCurves
from avtune.study.simulated_curves import Surrogate
from avtune.workflows.open_study import horizon_of
from avtune.workflows.simulated_search import Setting, simulate
from benchmarks._simulated import changed

_COSTS = Costs(lambda trial: EpochCost(0.01, 0.1, 0.01))
_PLACEMENT = Placement(2, 0, 1, 4, 8)  # two engines of four lanes, as on a small machine


@dataclass(frozen=True)
class Gain:
    """Searches of one data set and one number of trials.

    Attributes:
        plain: validation MAP that the searches without the portfolio are worth, one a seed.
        tried: those with it, of the same seeds.
        epochs: lane-epochs of a search, without and with it, means.
        correlation: with which the surrogate knows configurations that it was not fitted to.
    """

    plain: Sequence[float]
    tried: Sequence[float]
    epochs: tuple[float, float]
    correlation: float

    @property
    def mean(self) -> float:
        """By how much the searches with the portfolio are better."""
        return sum(self.tried) / len(self.tried) - sum(self.plain) / len(self.plain)


def gain(
    recorded: RecordedCurves,
    curves: Surrogate,
    portfolio: Sequence[Mapping[str, Value]],
    trials: int,
    searches: int,
    startup: int | None = None,
) -> Gain:
    """Searches with the seeds 0, 1, ...

    Args:
        curves: of the recordings.
        portfolio: values of the axes each.
        startup: random start-up trials of the searches with the portfolio; None for as many as without.
    """
    worth: dict[bool, list[float]] = {False: [], True: []}
    epochs = {False: 0, True: 0}
    for seed in range(searches):
        for with_it in (False, True):
            settings = {"search.seed": seed, "search.trials": trials}
            if with_it and startup is not None:
                settings["search.startup_trials"] = startup
            horizon = horizon_of(changed(recorded.space, settings), recorded.rows)
            like = portfolio if with_it else ()
            found = simulate(Setting(horizon, curves, _COSTS, _COSTS, _PLACEMENT, like=like, choose=None))
            assert found.first is not None
            worth[with_it].append(curves.value(found.first))
            epochs[with_it] += found.search.epochs
    return Gain(worth[False], worth[True], (epochs[False] / searches, epochs[True] / searches), curves.left_out)
