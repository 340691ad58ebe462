"""Configurations that a user names, as files hold them, checked against a space.

A file holds one of: a study's `best.yaml` or a model's `config.yaml`, whose `config` counts; a plain mapping of values
(`margin: 0.3`); a list of such mappings.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from avtune.core.errors import UserError, choices, did_you_mean
from avtune.core.hyper import Value
from avtune.space.axis import Axis
from avtune.space.parse import TOP
from avtune.space.space import Space
from avtune.space.written import inline
from avtune.space.yaml_lines import MAX_BYTES, Entry, decode, read, shorten

WANTED = "a study's best.yaml, a mapping of values such as 'margin: 0.3', or a list of such mappings"
"""What a file of configurations is, for messages."""


@dataclass(frozen=True)
class Configuration:
    """Values as they were given.

    Attributes:
        where: what errors call it, e.g. `best.yaml`.
        values: by the names of hyper-parameters.
        method: the method that the file names; None where it names none.
    """

    where: str
    values: Mapping[str, Entry]
    method: str | None = None


def configurations_of_file(path: Path) -> list[Configuration]:
    """The configurations that a file holds, in its order. A study's folder stands for its `best.yaml`.

    Raises:
        UserError: it cannot be read, or holds none.
    """
    if (path / "best.yaml").is_file():
        path = path / "best.yaml"
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        said = error.strerror if isinstance(error, OSError) else "no legal name"
        raise UserError(f"{shorten(str(path))} cannot be read: {said}; give {WANTED}") from None
    return configurations_of_text(decode(data, str(path)), str(path))


def configurations_of_text(text: str, file: str) -> list[Configuration]:
    """The configurations that a YAML text holds.

    Args:
        file: what errors call it.

    Raises:
        UserError: it is not YAML, or holds none.
    """
    root = read(text, lambda line: f"{file}:{line}")
    entries = root.value if isinstance(root.value, list) else [root]
    found = [_configuration(entry, file) for entry in entries]
    if not found:
        raise UserError(f"{file}: an empty list; give {WANTED}")
    return found


def is_configuration(root: Entry) -> bool:
    """Whether a document holds one configuration and no space: it has `config`, or nothing but values under names that
    a space file does not have."""
    top = root.value
    if not isinstance(top, dict) or not top:
        return False
    if "config" in top:
        return isinstance(top["config"].value, dict)
    return not any(name in (*TOP, "bench") or isinstance(one.value, dict | list) for name, one in top.items())


def _configuration(entry: Entry, file: str) -> Configuration:
    top = entry.value
    if not isinstance(top, dict) or not top:
        raise UserError(f"{entry.where}: {entry.shown} is no configuration; give {WANTED}")
    method = top.get("method")
    named = method.value if method is not None and isinstance(method.value, str) else None
    inner = top.get("config")
    if inner is not None and isinstance(inner.value, dict):
        return Configuration(file, inner.value, named)
    axis = next((one for one in top.values() if isinstance(one.value, dict | list)), None)
    if axis is not None:
        raise UserError(f"{axis.where}: this is no value but {axis.shown}; a configuration has one value for each name")
    return Configuration(file, {name: one for name, one in top.items() if name != "method"}, named)


def point_in(space: Space, given: Configuration) -> dict[str, Value]:
    """The values of the axes that are searched together, from a configuration. An axis that it leaves out takes the
    method's default.

    Raises:
        UserError: a name that the method does not have, a value that is not searched, another value than the space has
            fixed, a default that is not searched, or values that break a condition or a constraint.
    """
    axes = {axis.name: axis for axis in space.axes}
    unsearched = {**space.off, **space.fixed}
    check_names(given, [*axes, *unsearched], space.method)
    for name, entry in given.values.items():
        if name in unsearched and not _same(entry.value, unsearched[name]):
            fixed = inline(unsearched[name])
            raise UserError(
                f"{entry.where}: {name} is {entry.shown}, and the space has it fixed at {fixed}; take it out, or add\n"
                f"--set space.{name}={shorten(str(entry.value))} for a search with that value"
            )
    values = {name: _value_of(axis, given) for name, axis in axes.items() if not axis.when}
    for name, axis in axes.items():
        if axis.when and axis.is_searched(values):
            values[name] = _value_of(axis, given)
        elif axis.when and name in given.values and not _same(given.values[name].value, axis.default):
            entry = given.values[name]
            raise UserError(
                f"{entry.where}: {name} is {entry.shown}, and it is searched only where {axis.when_text}; take it out"
            )
    point = space.active_part(values)
    broken = space.violated(point)
    if broken is not None:
        config = {**point, **space.fixed}
        shown = ", ".join(f"{name} is {inline(config[name])}" for name in sorted(broken.names))
        raise UserError(f"{given.where}: it does not fulfil the constraint {broken.text}: {shown}")
    return point


def check_names(given: Configuration, known: Collection[str], method: str) -> None:
    """Raises:
    UserError: the configuration names a hyper-parameter that the method does not have.
    """
    for name, entry in given.values.items():
        if name not in known:
            hint = did_you_mean(shorten(name), known) or f"; it has {choices(known) or 'none'}"
            raise UserError(f"{entry.key_where}: method {method} has no hyper-parameter {shorten(name)!r}{hint}")


def _value_of(axis: Axis, given: Configuration) -> Value:
    entry = given.values.get(axis.name)
    value = axis.default if entry is None else entry.value
    fitted = None if value is None or isinstance(value, list | dict) else axis.fitted(value)
    if fitted is not None:
        return fitted
    if entry is None:
        raise UserError(
            f"{given.where}: it has no {axis.name}, and the method's default {inline(axis.default)} lies outside what "
            f"is searched ({axis.range_text}); add {axis.name}"
        )
    nearest = None if value is None or isinstance(value, list | dict) else axis.nearest(value)
    hint = "" if nearest is None else f"; the nearest value is {inline(nearest)}"
    raise UserError(f"{entry.where}: {axis.name} is {entry.shown}; searched: {axis.range_text}{hint}")


def _same(given: object, fixed: Value) -> bool:
    if isinstance(given, bool) or isinstance(fixed, bool):
        return given is fixed
    return given == fixed


def without_repeats(points: Sequence[Mapping[str, Value]]) -> list[dict[str, Value]]:
    """Points of a space, each once, in their order."""
    found: list[dict[str, Value]] = []
    for point in points:
        if dict(point) not in found:
            found.append(dict(point))
    return found
