"""Conditions of a space file: `temperature: {type: float, ..., when: {mining: hard}}`, searched only where they hold.

Where its condition does not hold, a hyper-parameter has no value in a trial's configuration: the method takes its
default, a training function is called without it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from avtune.core.errors import UserError, choices, did_you_mean
from avtune.core.hyper import Value
from avtune.space.axis import WHEN, Axis
from avtune.space.checks import table
from avtune.space.written import inline
from avtune.space.yaml_lines import Entry, shorten

_LENGTH = "batch_size"


def with_conditions(axes: Sequence[Axis], fixed: Mapping[str, Value], given: Mapping[str, Entry]) -> tuple[Axis, ...]:
    """The axes with what the `when` of each says.

    Args:
        axes: without conditions.
        fixed: the other hyper-parameters.
        given: the entries of the file's `space`.

    Raises:
        UserError: the batch size has a condition; or a condition names what is not searched, a range, a hyper-parameter
            that has a condition itself, or a value that is not searched.
    """
    by_name = {axis.name: axis for axis in axes}
    conditional = {name for name in by_name if WHEN in _keys(given[name])}
    if _LENGTH in conditional:
        raise UserError(
            f"{_keys(given[_LENGTH])[WHEN].where}: space.{_LENGTH} has a condition; it decides how long an epoch is, "
            "and is always needed: take the condition out"
        )
    return tuple(
        replace(axis, when=_when(axis.name, _keys(given[axis.name])[WHEN], by_name, fixed, conditional))
        if axis.name in conditional
        else axis
        for axis in axes
    )


def _keys(entry: Entry) -> dict[str, Entry]:
    return entry.value if isinstance(entry.value, dict) else {}


def _when(
    name: str, entry: Entry, axes: Mapping[str, Axis], fixed: Mapping[str, Value], conditional: set[str]
) -> tuple[tuple[str, tuple[Value, ...]], ...]:
    label = f"space.{name}.{WHEN}"
    given = table(entry, label, "when: {mining: hard}")
    if not given:
        raise UserError(f"{entry.where}: {label} is empty; write for example when: {{mining: hard}}, or leave it out")
    return tuple((other, _allowed(name, other, item, axes, fixed, conditional)) for other, item in given.items())


def _allowed(
    name: str,
    other: str,
    entry: Entry,
    axes: Mapping[str, Axis],
    fixed: Mapping[str, Value],
    conditional: set[str],
) -> tuple[Value, ...]:
    """The values of another axis with which `name` is searched."""
    label = f"space.{name}.{WHEN}"
    if other in fixed:
        raise UserError(
            f"{entry.key_where}: {label} names {other}, which is fixed at {inline(fixed[other])}; search {other} too, "
            f"or take the condition out of {name}, or fix {name} (space.{name}: a value)"
        )
    choosable = [one for one, axis in axes.items() if axis.kind == "choice" and one not in conditional]
    if other not in axes:
        hint = did_you_mean(shorten(other), choosable)
        raise UserError(
            f"{entry.key_where}: {label} names {shorten(other)!r}, which is not searched; a condition names a choice: "
            f"{choices(choosable) or 'there is none'}{hint}"
        )
    if other in conditional:
        raise UserError(
            f"{entry.key_where}: {label} names {other}, which has a condition itself; a condition names a choice that "
            f"is always searched: {choices(choosable) or 'there is none'}"
        )
    axis = axes[other]
    if axis.kind != "choice":
        raise UserError(
            f"{entry.key_where}: {label} names {other}, which is searched as a range; a condition names a choice "
            f"(type: choice): {choices(choosable) or 'there is none'}"
        )
    listed = entry.value if isinstance(entry.value, list) else [entry]
    if not listed:
        raise UserError(f"{entry.where}: {label}.{other} is an empty list; searched: {axis.range_text}")
    return tuple(dict.fromkeys(_value(item, axis, f"{label}.{other}") for item in listed))


def _value(entry: Entry, axis: Axis, label: str) -> Value:
    value = entry.value
    found = None if value is None or isinstance(value, list | dict) else axis.fitted(value)
    if found is None:
        hint = did_you_mean(value, [str(one) for one in axis.values]) if isinstance(value, str) else ""
        raise UserError(f"{entry.where}: {label} is {entry.shown}; searched: {axis.range_text}{hint}")
    return found
