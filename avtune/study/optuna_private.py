"""All that we use of Optuna that it does not promise to keep. Each has a test in tests/study/test_optuna_private.py
that fails when Optuna changes it.

- `TPESampler(gamma=...)`, deprecated since Optuna 4.9, to be removed in 6 with nothing in its place: how many of the
  trials count as good. Without it, `Tpe` takes Optuna's own share, one in 10 of the trials and at most 25, and says so
  in the log. What it buys is said at `good_trials`.
- TPE's order of trials (`optuna.samplers._tpe.sampler._split_trials`), which `study.window` has once more to know which
  trials TPE would count as good. Where it differed, a study of more than a thousand trials would be suggested
  something else; nothing breaks.
- The lines of `JournalFileBackend`: one JSON object a line, which `study.journal` writes itself.

All else is documented: samplers, storages (`study.window` is one, and overrides their documented methods), `ask` and
`tell`.
"""

from __future__ import annotations

import inspect
import logging
import warnings
from functools import cache
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial

from avtune.space.axis import Axis
from avtune.space.space import Space
from avtune.study.window import BEST

_log = logging.getLogger(__name__)


def good_trials(ended: int) -> int:
    """How many of the best trials TPE takes for good ones: one in 20, 25 at most.

    Optuna takes one in 10. It suggests one trial at a time; here many are under way, and a suggestion does not know
    what comes of them. Fewer good ones, closer to the best, make up for that."""
    return min(-(-ended // 20), BEST)


class Tpe(optuna.samplers.TPESampler):
    """Optuna's TPE with `good_trials`, and told which axes its trials share, which it would look up trial by trial.

    Axes without a condition are sampled together. Then, with their values known, those whose condition holds: axes with
    one condition together, from the trials that had it.

    Args:
        space: its axes.
        seed: below 2^32.
        startup_trials: random trials before TPE begins.
    """

    def __init__(self, space: Space, *, seed: int, startup_trials: int) -> None:
        share: dict[str, Any] = {"gamma": good_trials} if takes_gamma() else {}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            warnings.filterwarnings("ignore", message=".*gamma", category=FutureWarning)
            super().__init__(seed=seed, n_startup_trials=startup_trials, multivariate=True, constant_liar=True, **share)
        self._axes = _sampled(space)
        self._by_condition: dict[object, list[Axis]] = {}
        for axis in sorted(space.axes, key=lambda one: one.name):
            if axis.name in self._axes:
                self._by_condition.setdefault(axis.when, []).append(axis)

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return self._axes

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        params: dict[str, Any] = {}
        for axes in sorted(self._by_condition.values(), key=lambda one: bool(one[0].when)):
            if axes[0].is_searched(params):
                together = {axis.name: search_space[axis.name] for axis in axes}
                params |= super().sample_relative(study, trial, together)
        return params


class Gp(optuna.samplers.GPSampler):
    """Optuna's Gaussian process, told which axes its trials share, as `Tpe` is. It models all of them together; what a
    trial lacks because of a condition is there filled in (`window.Window`).

    Args:
        space: its axes.
        seed: below 2^32.
        startup_trials: random trials before it begins.
    """

    def __init__(self, space: Space, *, seed: int, startup_trials: int) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            super().__init__(seed=seed, n_startup_trials=max(1, startup_trials), warn_independent_sampling=False)
        self._axes = _sampled(space)

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return self._axes


def _sampled(space: Space) -> dict[str, BaseDistribution]:
    """The distributions of the axes that have more than one value, by name in a fixed order."""
    return {name: one for name, one in sorted(space.distributions().items()) if not one.single()}


@cache
def takes_gamma() -> bool:
    """Whether this Optuna still lets us say which trials are good; if not, the log says so once."""
    takes = "gamma" in inspect.signature(optuna.samplers.TPESampler).parameters
    if not takes:
        _log.warning("Optuna %s has no TPESampler(gamma=...): it counts one trial in 10 as good", optuna.__version__)
    return takes
