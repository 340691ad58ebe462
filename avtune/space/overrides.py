"""`--set search.trials=64`: one value of a space file, replaced by its dotted key."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence

from avtune.core.errors import UserError, choices
from avtune.core.hyper import Hyper
from avtune.space.settings import AUTO, SETTINGS
from avtune.space.yaml_lines import Entry, read, shorten


def override(
    top: dict[str, Entry],
    assignment: str,
    keys: Sequence[str],
    hypers_of: Callable[[str], Mapping[str, Hyper] | None],
) -> None:
    """Puts one `key=value` into the entries of a file.

    Args:
        top: the entries.
        assignment: what follows `--set`.
        keys: those that a file may have at its top.
        hypers_of: the hyper-parameters of a method, by its name, for a hint; None for an unknown one.

    Raises:
        UserError: it is no assignment, or its key cannot be one.
    """
    where = f"--set {shorten(' '.join(assignment.split()))}"
    key, equals, text = assignment.partition("=")
    path = key.strip().split(".")
    if not equals or not all(path):
        raise UserError(f"{where}: give key=value, for example --set search.trials=64")
    if path[0] not in keys:
        raise _unknown(shorten(key.strip()), where, top, keys, hypers_of)
    value = read(text, lambda line: where)
    inner = _mapping_at(top, path[:-1], where)
    if path[0] == "validation" and path[1:] in (["fraction"], ["folds"], ["split"]):
        for other in ("fraction", "folds", "split"):  # one replaces the others
            inner.pop(other, None)
    if path == ["early_stopping", "epochs"]:  # what goes with the other kind of horizon goes with it
        inner.pop("schedule" if value.value == AUTO else "steps", None)
    inner[path[-1]] = Entry(value.value, where, where)


def _mapping_at(top: dict[str, Entry], path: Sequence[str], where: str) -> dict[str, Entry]:
    """The mapping at that path, made where there is none."""
    inner = top
    for depth, name in enumerate(path, start=1):
        entry = inner.get(name)
        if entry is None or entry.value is None:
            entry = inner[name] = Entry({}, where, where)
        if not isinstance(entry.value, dict):
            here = shorten(".".join(path[:depth]))
            raise UserError(f"{where}: {here} is {entry.shown}, which has no keys; set {here} itself")
        inner = entry.value
    return inner


def _unknown(
    name: str,
    where: str,
    top: dict[str, Entry],
    keys: Sequence[str],
    hypers_of: Callable[[str], Mapping[str, Hyper] | None],
) -> UserError:
    """The error for a key that starts with no known one; it names the nearest full key."""
    method = top["method"].value if "method" in top else None
    hypers = (hypers_of(method) if isinstance(method, str) else None) or {}
    full = [*keys, *(f"space.{one}" for one in hypers)]
    full += [f"{section}.{one}" for section, values in SETTINGS.items() for one in values]
    known = {key if "." in name else key.rpartition(".")[2]: key for key in full}  # `trials` means `search.trials`
    close = difflib.get_close_matches(name, known, n=1)
    hint = f"; did you mean '{known[close[0]]}'?" if close else ""
    return UserError(f"{where}: unknown key {name!r}; keys start with {choices(keys)}{hint}")
