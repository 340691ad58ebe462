"""Configurations that follow from the number of a trial alone: points of a grid, and of a quasi-random sequence.

What is drawn depends on the space and the study's seed only, so that a study that is continued, whichever trials were
quicker, has the same.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from avtune.core.errors import UserError
from avtune.core.hyper import Value
from avtune.space.space import Space
from avtune.study.grid import values_of

_TRIED = 2_000


def legal_quasi_random(space: Space, number: int, seed: int) -> dict[str, Value]:
    """As `quasi_random`, of the points that fulfil the constraints; values of axes whose condition does not hold are
    left out.

    Raises:
        UserError: hardly any does.
    """
    distributions = space.distributions()
    if not space.constraints:
        return space.active_part(quasi_random(distributions, number, seed))
    found = -1
    for place in range(_TRIED * (number + 1)):
        point = space.active_part(quasi_random(distributions, place, seed))
        found += space.violated(point) is None
        if found == number:
            return point
    raise UserError(
        f"constraints: fewer than one in {_TRIED} quasi-random configurations fulfils them; widen the ranges"
    )


def quasi_random(distributions: Mapping[str, BaseDistribution], number: int, seed: int) -> dict[str, Value]:
    """Point `number` of a scrambled Sobol' sequence over the space: its points fill the space more evenly than random
    ones. Of a range that is sampled in the logarithm, the logarithm is filled.

    Args:
        distributions: at least one.
        number: from 0.
        seed: of the scrambling; the same for all points of a sequence.
    """
    from scipy.stats import qmc  # here: it takes half a second

    sequence = qmc.Sobol(len(distributions), scramble=True, seed=seed)
    if number:  # SciPy fails on 0
        sequence.fast_forward(number)
    point = sequence.random(1)[0]
    return {name: _at(one, float(share)) for (name, one), share in zip(distributions.items(), point, strict=True)}


def _at(distribution: BaseDistribution, share: float) -> Value:
    """The value below which a sampler would draw that share, from 0 to below 1."""
    if isinstance(distribution, FloatDistribution) and distribution.step is None:
        low, high = distribution.low, distribution.high
        if distribution.log:
            return min(max(math.exp(_between(math.log(low), math.log(high), share)), low), high)
        return min(_between(low, high, share), high)
    if isinstance(distribution, IntDistribution) and distribution.log:
        whole = round(math.exp(_between(math.log(distribution.low - 0.5), math.log(distribution.high + 0.5), share)))
        return min(max(whole, distribution.low), distribution.high)
    assert isinstance(distribution, CategoricalDistribution | IntDistribution | FloatDistribution)
    values = values_of(distribution)
    return values[min(int(share * len(values)), len(values) - 1)]


def _between(low: float, high: float, share: float) -> float:
    return low + share * (high - low)
