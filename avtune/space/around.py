"""Spaces made from one configuration: that point alone, or ranges with it as their centre."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

from avtune.core.errors import UserError
from avtune.core.hyper import Hyper, Value
from avtune.space.axis import Axis
from avtune.space.checks import legal
from avtune.space.configuration import Configuration, check_names, point_in
from avtune.space.drawing import check_constraints
from avtune.space.space import Space
from avtune.space.written import Written, inline

WIDTH = 0.25
"""Of a range, the share that is searched around a centre where nobody says."""


def point_space(space: Space, given: Configuration, hypers: Mapping[str, Hyper] | None) -> dict[str, Written]:
    """A space file of one configuration, to be parsed; what it leaves out takes the method's default.

    Args:
        space: whose settings it has, but for one trial and one finalist.
        hypers: of its method; None for a training function, which takes whatever the file names.

    Raises:
        UserError: a name or a value that the method does not take.
    """
    values = given.values
    if hypers is not None:
        check_names(given, hypers, space.method)
    fixed: dict[str, Written] = {name: _value(name, given, hypers) for name in values}
    written = {name: one for name, one in space.as_dict().items() if name != "constraints"}
    search, final = written["search"], written["final"]
    assert isinstance(search, dict)
    assert isinstance(final, dict)
    return {**written, "space": fixed, "search": {**search, "trials": 1}, "final": {**final, "finalists": 1}}


def around(space: Space, given: Configuration, hypers: Mapping[str, Hyper] | None, width: float) -> Space:
    """The space with ranges around a configuration: each axis `width` of its range wide, in the logarithm where it is
    sampled so, with the configuration's value as its centre, as far as the method takes such values. Choices stay, and
    so do the ranges of axes whose condition does not hold in it.

    Args:
        space: whose axes are searched. What it has fixed takes the configuration's value.
        given: what it leaves out is at the method's default.
        hypers: of the method; None for a training function, whose ranges are not left.
        width: above 0, at most 1.

    Raises:
        UserError: a name or a value that the method does not take, a width out of range, or ranges in which nothing
            fulfils the constraints.
    """
    if not 0 < width <= 1:
        raise UserError(f"--width is {width:g}; allowed: a share of each range, above 0 and at most 1")
    if not space.axes:
        raise UserError(f"--around {given.where}: the space searches nothing; give a space with ranges, --space FILE")
    check_names(given, [*(axis.name for axis in space.axes), *space.fixed, *space.off], space.method)
    if hypers is None:
        centre = point_in(space, given)
        axes = [
            _around(axis, centre[axis.name], width, axis.low, axis.high) if axis.name in centre else axis
            for axis in space.axes
        ]
        return _checked_space(replace(space, axes=tuple(axes)))
    values = {name: _value(name, given, hypers) for name in given.values}
    active = space.active_part({axis.name: values.get(axis.name, axis.default) for axis in space.axes})
    axes = []
    for axis in space.axes:
        if axis.name in active:
            hyper = hypers[axis.name]
            axis = _around(axis, _checked(axis, active[axis.name], given), width, hyper.low, hyper.high)
        axes.append(axis)
    fixed = {name: values.get(name, value) for name, value in space.fixed.items()}
    fixed |= {name: values[name] for name, off in space.off.items() if values.get(name, off) != off}
    return _checked_space(replace(space, axes=tuple(axes), fixed=fixed))


def _checked_space(space: Space) -> Space:
    check_constraints(space)
    return space


def _value(name: str, given: Configuration, hypers: Mapping[str, Hyper] | None) -> Value:
    entry = given.values[name]
    if hypers is not None:
        return legal(entry, hypers[name], name)
    if not isinstance(entry.value, bool | int | float | str):
        raise UserError(f"{entry.where}: {name} is {entry.shown}; give a number, text, true or false")
    return entry.value


def _checked(axis: Axis, centre: Value, given: Configuration) -> Value:
    """Raises:
    UserError: no range can have this centre.
    """
    where = given.values[axis.name].where if axis.name in given.values else given.where
    if axis.kind == "choice" and centre not in axis.values:
        raise UserError(f"{where}: {axis.name} is {inline(centre)}; searched: {axis.range_text}")
    if axis.log and not isinstance(centre, str) and centre <= 0:
        raise UserError(f"{where}: {axis.name} is {inline(centre)}, and its range is logarithmic; allowed: above 0")
    return centre


def _around(axis: Axis, centre: Value, width: float, least: float | None, most: float | None) -> Axis:
    """The axis with a narrower range; `least` and `most` are the ends of what may be searched."""
    if axis.kind == "choice":
        return axis
    assert axis.low is not None
    assert axis.high is not None
    assert least is not None
    assert most is not None
    assert not isinstance(centre, str)
    if axis.log:
        reach = (axis.high / axis.low) ** (width / 2)
        low, high = centre / reach, centre * reach
    else:
        reach = (axis.high - axis.low) * width / 2
        low, high = centre - reach, centre + reach
    step = axis.step or (1.0 if axis.kind == "int" and not axis.log else None)
    if step is not None:
        wanted = max(1, round((high - centre) / step))
        below, above = (min(wanted, int(room / step)) for room in (centre - least, most - centre))
        low, high = (float(f"{centre + count * step:.12g}") for count in (-below, above))
    elif axis.kind == "int":
        low, high = min(math.floor(low), centre - 1), max(math.ceil(high), centre + 1)
    else:
        low, high = min(_rounded(low), centre), max(_rounded(high), centre)
    low, high = max(low, least), min(high, most)
    if axis.kind == "int":
        low, high = int(low), int(high)
    return replace(axis, low=low, high=high)


def _rounded(value: float) -> float:
    """Four digits, as one would write an end of a range."""
    return float(f"{value:.4g}")
