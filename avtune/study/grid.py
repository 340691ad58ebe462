"""The configurations of a finite space: how many there are, and a walk through them in a random order."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Collection, Mapping, Sequence

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from avtune.core.hyper import Value
from avtune.space.space import Space

MOST_POINTS = 100_000
"""Values, each with each, up to which the points of a space with conditions or constraints are listed."""
Key = tuple[tuple[str, Value], ...]


def key_of(params: Mapping[str, Value]) -> Key:
    """What tells a configuration from others."""
    return tuple(sorted(params.items()))


def grid_size(distributions: Mapping[str, BaseDistribution]) -> int | None:
    """How many configurations there are; None when a continuous axis makes them countless."""
    if any(isinstance(one, FloatDistribution) and one.step is None for one in distributions.values()):
        return None
    return math.prod(len(values_of(one)) for one in distributions.values())


def unseen(
    distributions: Mapping[str, BaseDistribution], seen: Collection[Key], seed: int, steps: int = 0
) -> dict[str, Value]:
    """A configuration of a finite space that has not been seen, drawn with a seed; there must be one.

    Args:
        steps: of the walk that the seed begins, before the first one that is looked at.
    """
    size = grid_size(distributions)
    assert size is not None
    return _walk(size, lambda index: _at(distributions, index), seen, seed, steps)


def legal_points(space: Space) -> list[dict[str, Value]] | None:
    """The points of a finite space that fulfil its constraints, each once; None where a continuous axis makes them
    countless, or there are too many to list."""
    distributions = space.distributions()
    size = grid_size(distributions)
    if size is None or size > MOST_POINTS:
        return None
    points = (space.active_part(_at(distributions, index)) for index in range(size))
    return list({key_of(point): point for point in points if space.violated(point) is None}.values())


def unseen_of(points: Sequence[dict[str, Value]], seen: Collection[Key], seed: int, steps: int = 0) -> dict[str, Value]:
    """As `unseen`, of these points."""
    return _walk(len(points), points.__getitem__, seen, seed, steps)


def _walk(
    size: int, at: Callable[[int], dict[str, Value]], seen: Collection[Key], seed: int, steps: int
) -> dict[str, Value]:
    assert size > len(seen)
    draw = random.Random(seed)
    index, stride = draw.randrange(size), draw.randrange(1, size + 1)
    while math.gcd(stride, size) > 1:  # without a common divisor the walk comes by every configuration
        stride += 1
    index = (index + steps * stride) % size
    while key_of(params := at(index)) in seen:
        index = (index + stride) % size
    return params


def values_of(distribution: BaseDistribution) -> Sequence[Value]:
    """All values of a finite distribution, as the samplers write them."""
    if isinstance(distribution, CategoricalDistribution):
        return [choice for choice in distribution.choices if choice is not None]  # an axis has no None
    if isinstance(distribution, IntDistribution):
        return range(distribution.low, distribution.high + 1, distribution.step)
    assert isinstance(distribution, FloatDistribution)
    assert distribution.step is not None
    count = round((distribution.high - distribution.low) / distribution.step) + 1
    return [min(distribution.low + index * distribution.step, distribution.high) for index in range(count)]


def _at(distributions: Mapping[str, BaseDistribution], index: int) -> dict[str, Value]:
    """The configuration with that index, from 0 to below `grid_size`."""
    params = {}
    for name, distribution in distributions.items():
        values = values_of(distribution)
        index, place = divmod(index, len(values))
        params[name] = values[place]
    return params
