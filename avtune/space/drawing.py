"""Configurations drawn at random from a space, as its ranges, conditions and constraints allow."""

from __future__ import annotations

import math
import random

from avtune.core.errors import UserError
from avtune.core.hyper import Value
from avtune.space.axis import Axis
from avtune.space.space import Space

_TRIED = 2_000
"""Configurations that are drawn before a space is said to have none that fulfils its constraints."""
_MOST_DRAWS = 1_000_000


def drawn_point(space: Space, draw: random.Random) -> dict[str, Value]:
    """Values of the axes that are searched together, each uniform over its range (in the logarithm where it is sampled
    so), whether or not they fulfil the constraints."""
    return space.active_part({axis.name: drawn(axis, draw) for axis in space.axes})


def legal_point(space: Space, draw: random.Random, most: int = _MOST_DRAWS) -> dict[str, Value]:
    """The first drawn point that fulfils the constraints.

    Raises:
        UserError: none of `most` does.
    """
    for _ in range(most):
        point = drawn_point(space, draw)
        if space.violated(point) is None:
            return point
    listed = ", ".join(one.text for one in space.constraints)
    raise UserError(f"constraints: none of {most:,} configurations drawn at random fulfils {listed}; widen the ranges")


def check_constraints(space: Space) -> None:
    """Raises:
    UserError: practically no configuration of the space fulfils its constraints.
    """
    if space.constraints:
        legal_point(space, random.Random(0), _TRIED)


def drawn(axis: Axis, draw: random.Random) -> Value:
    """One value of an axis."""
    if axis.kind == "choice":
        return draw.choice(axis.values)
    assert axis.low is not None
    assert axis.high is not None
    if axis.kind == "float" and axis.step is None:
        if axis.log:
            return min(max(math.exp(draw.uniform(math.log(axis.low), math.log(axis.high))), axis.low), axis.high)
        return draw.uniform(axis.low, axis.high)
    step = axis.step or 1
    if axis.log:  # whole numbers, each as likely as its share of the logarithm
        value = math.exp(draw.uniform(math.log(axis.low - 0.5), math.log(axis.high + 0.5)))
        return int(min(max(round(value), axis.low), axis.high))
    value = axis.low + draw.randrange(round((axis.high - axis.low) / step) + 1) * step
    return int(value) if axis.kind == "int" else min(value, axis.high)
