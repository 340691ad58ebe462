"""Spaces of a user's own code: hyper-parameters that a space file alone defines; a space for a method without one."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

import yaml

from avtune.core.errors import UserError
from avtune.core.hyper import Hyper, Value
from avtune.space.axis import Axis, parse_axis
from avtune.space.conditions import with_conditions
from avtune.space.space import Space
from avtune.space.written import Written
from avtune.space.yaml_lines import Entry, shorten

_TAKEN = ("trial", "state", "epochs", "best_epoch", "val_map", "seconds")  # columns of trials.csv
_LARGEST = 1e300
_WIDE = 100.0
_NOT_SEARCHED = ("weight_decay",)


def free_hypers(given: Mapping[str, Entry]) -> tuple[tuple[Axis, ...], dict[str, Value]]:
    """Axes and fixed values as a file's `space` defines them: what a training function is called with.

    The default of an axis, which the winner is compared with, is the middle of its range (in the logarithm where it is
    sampled so), or its first value.

    Raises:
        UserError: a name that cannot be used, or an axis or a value that is not as it should be.
    """
    axes: list[Axis] = []
    fixed: dict[str, Value] = {}
    for name, entry in given.items():
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]{0,99}", name) or name in _TAKEN or name.startswith("log10_"):
            raise UserError(
                f"{entry.key_where}: {shorten(name)!r} cannot name a hyper-parameter; allowed: letters, digits and "
                f"'_', but none of {', '.join(_TAKEN)}, log10_..."
            )
        if isinstance(entry.value, dict):
            axis = parse_axis(entry, _hyper(name, entry))
            axes.append(replace(axis, default=axis.middle))
        elif isinstance(entry.value, bool | int | float | str):
            fixed[name] = entry.value
        else:
            raise UserError(
                f"{entry.where}: space.{name} is {entry.shown}; give a value, or an axis such as "
                "{type: float, low: 0.1, high: 1.0}"
            )
    return with_conditions(axes, fixed, given), fixed


def _hyper(name: str, entry: Entry) -> Hyper:
    """What the axis itself allows."""
    axis = entry.value
    assert isinstance(axis, dict)
    kind = axis["type"].value if "type" in axis else None
    listed = axis["values"].value if "values" in axis else None
    values = [item.value for item in listed] if isinstance(listed, list) else []
    if kind == "choice" and (None in values or len({_kind(value) for value in values}) > 1):
        shown = ", ".join(
            "null" if value is None else repr(value) for value in values if not isinstance(value, list | dict)
        )
        raise UserError(
            f"{entry.where}: space.{name}.values is {shorten(shown)}; allowed: numbers only, words only, or true and "
            "false\nwrite them all as words in quotes, e.g. 'none' for null, and let your function convert them"
        )
    if kind in ("float", "int") and {"low", "high"} <= axis.keys():
        return Hyper(name, "int" if kind == "int" else "float", 0, -_LARGEST, _LARGEST)
    if kind == "choice" and values:
        if all(isinstance(value, bool) for value in values):
            return Hyper(name, "bool", default=False)
        if all(isinstance(value, str) for value in values):
            words = tuple(str(value) for value in values)
            return Hyper(name, "choice", words[0], values=words)
        whole = all(isinstance(value, int) for value in values)
        return Hyper(name, "int" if whole else "float", 0, -_LARGEST, _LARGEST)
    raise UserError(
        f"{entry.where}: space.{name} is no axis; write {{type: float, low: 0.1, high: 1.0}} or type int,\n"
        f"{{type: choice, values: [a, b]}}, or a bare value, which is fixed"
    )


def _kind(value: object) -> str:
    return {bool: "a flag", int: "a number", float: "a number", str: "a word"}.get(type(value), "a list")


def space_of(method: str, hypers: Mapping[str, Hyper], like: Space) -> str:
    """The text of a space file for a method that has none. It searches every number among the hyper-parameters that is
    not static, over the range that `like` has for it, else over the whole legal range.

    Args:
        method: its name.
        hypers: what it takes.
        like: another space; its settings are taken over.
    """
    ranges = {axis.name: axis for axis in like.axes}
    axes: dict[str, Written] = {}
    for name, hyper in hypers.items():
        if hyper.static or hyper.extra or hyper.kind not in ("int", "float") or name in _NOT_SEARCHED:
            continue
        assert hyper.low is not None
        assert hyper.high is not None
        axis = ranges.get(name)
        if axis is not None and axis.kind == hyper.kind and axis.lies_within(hyper.low, hyper.high):
            axes[name] = axis.as_dict()
        elif hyper.low < hyper.high:
            log = hyper.low > 0 and hyper.high / hyper.low >= _WIDE
            axes[name] = {"type": hyper.kind, "low": hyper.low, "high": hyper.high, "log": log}
    settings = {key: value for key, value in like.as_dict().items() if key not in ("method", "space")}
    return yaml.safe_dump({"method": method, "space": axes, **settings}, sort_keys=False)
