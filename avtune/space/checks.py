"""Checks shared by the parts of a space file: an `Entry` in, a legal value or a `UserError` that names its line out."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from avtune.core.errors import UserError, choices, did_you_mean
from avtune.core.hyper import Hyper, Value
from avtune.space.yaml_lines import Entry, shorten


def legal(entry: Entry, hyper: Hyper, label: str) -> Value:
    """The entry's value as `hyper`'s own type; `label` (`space.margin.low`) is what the message calls it.

    Raises:
        UserError: the value is of another kind or outside the legal range.
    """
    value = entry.value
    text = isinstance(value, str) and hyper.kind in ("int", "float")
    plain = isinstance(value, int | float) or (isinstance(value, str) and len(value) < 80)
    try:
        return replace(hyper, name=label).check(value if plain else _Shown(entry))
    except UserError as error:
        hint = " (what is written is text; a number such as 0.001 has no quotes, units or commas)" if text else ""
        raise UserError(f"{entry.where}: {error}{hint}") from None


class _Shown:
    """Stands in for a value that is never legal, and reads well in a message."""

    def __init__(self, entry: Entry) -> None:
        self.entry = entry

    def __repr__(self) -> str:
        return self.entry.shown


def flag(entry: Entry, label: str) -> bool:
    """A `true` or `false`."""
    return bool(legal(entry, Hyper(label, "bool", default=False), label))


def table(entry: Entry, label: str, example: str) -> dict[str, Entry]:
    """The keys of a mapping; nothing at all (`space:` alone) is a mapping without keys.

    Raises:
        UserError: the entry is a list or a single value.
    """
    if entry.value is None:
        return {}
    if not isinstance(entry.value, dict):
        raise UserError(f"{entry.where}: {label} is {entry.shown}; write keys and values, for example {example}")
    return entry.value


def only_keys(given: dict[str, Entry], allowed: Iterable[str], inside: str) -> None:
    """Raises:
    UserError: a key of `given` is not in `allowed`; `inside` says in what (`search`).
    """
    known = list(allowed)
    for key, entry in given.items():
        if key not in known:
            name = shorten(key)
            place = f" in {inside}" if inside else ""
            hint = did_you_mean(name, known)
            raise UserError(f"{entry.key_where}: unknown key {name!r}{place}; allowed: {choices(known)}{hint}")
