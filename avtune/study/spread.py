"""Of several points of a space, few that differ."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from avtune.core.hyper import Value
from avtune.space.axis import Axis
from avtune.space.space import Space


def spread(space: Space, points: Sequence[Mapping[str, Value]], most: int) -> list[dict[str, Value]]:
    """The first point, and then again and again the one that is farthest from those taken; the first of equals.

    Args:
        points: values of the axes each, the best first.
        most: how many to take.
    """
    taken: list[dict[str, Value]] = []
    left = [dict(point) for point in points]
    while left and len(taken) < most:
        far = max(left, key=lambda point: min((distance(space, point, one) for one in taken), default=0.0))
        taken.append(far)
        left.remove(far)
    return taken


def distance(space: Space, one: Mapping[str, Value], other: Mapping[str, Value]) -> float:
    """Mean over the axes, 0 to 1: of a range, the share of it that lies between (in the logarithm where it is sampled
    so); of a choice, whether the values differ. An axis that one of them does not have adds nothing: what its condition
    names differs then."""
    parts = [
        _apart(axis, one[axis.name], other[axis.name]) for axis in space.axes if axis.name in one.keys() & other.keys()
    ]
    return sum(parts) / len(parts) if parts else 0.0


def _apart(axis: Axis, one: Value, other: Value) -> float:
    if axis.kind == "choice":
        return float(one != other)
    assert axis.low is not None
    assert axis.high is not None
    assert not isinstance(one, str)
    assert not isinstance(other, str)
    if axis.log:
        return abs(math.log(one / other)) / math.log(axis.high / axis.low)
    return abs(one - other) / (axis.high - axis.low)
