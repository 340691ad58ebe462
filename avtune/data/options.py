"""How a file is read where it leaves that open: the options of `avtune search FILE` and of `load_dataset`."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from numbers import Real
from typing import Any

from avtune.core.errors import UserError, choices, did_you_mean, shown

POOLS = ("mean", "max", "std")
_NAME_LENGTH = 40
_FLAG = "yes"  # what stands for the value of an option that has none


@dataclass(frozen=True)
class ReadOptions:
    """What the user says of a file. A layout takes some of them, and refuses the others.

    Attributes:
        classes: a class file (`name,label_id`): only clips of these classes are read.
        views: names of the two views, in the order of the file; of some layouts, which views of it.
        pool: how features [clips, time, ...] become [clips, dims]: of `POOLS`, one after the other.
        test_fraction: share of the clips that become the test split, where a file has none.
        several_labels: clips may have several of the classes as their labels; else only those of exactly one are read.
        map: names of arrays or columns of the file by what they are, e.g. `audio_train`.
        name: the dataset's name; None for the stem of the file.
    """

    classes: str | None = None
    views: tuple[str, ...] = ()
    pool: tuple[str, ...] = ()
    test_fraction: float | None = None
    map: Mapping[str, str] = field(default_factory=dict)
    name: str | None = None
    several_labels: bool = False

    def given(self) -> dict[str, Any]:
        """Those that are given, but for the name, in the form that `options_of` takes."""
        texts: dict[str, Any] = {"views": ",".join(self.views), "pool": ",".join(self.pool)}
        texts["map"] = ",".join(f"{what}={key}" for what, key in self.map.items())
        if any("," in name for pair in self.map.items() for name in pair):  # which no text can hold
            texts["map"] = dict(self.map)
        made = {one.name: texts.get(one.name, getattr(self, one.name)) for one in fields(self) if one.name != "name"}
        return {what: value for what, value in made.items() if value not in (None, "", False)}

    def pair(self, otherwise: tuple[str, str]) -> tuple[str, str]:
        """The names of the views, or those that the layout gives."""
        return (self.views[0], self.views[1]) if self.views else otherwise

    def named(self, name: str) -> ReadOptions:
        """The same, with a name where none was given."""
        return self if self.name else replace(self, name=name)


def options_of(
    *,
    classes: str | None = None,
    views: str | Sequence[str] | None = None,
    pool: str | Sequence[str] | None = None,
    test_fraction: float | None = None,
    map: str | Iterable[str] | Mapping[str, str] | None = None,
    several_labels: bool = False,
) -> ReadOptions:
    """Checked options from what a command line or a call gives; lists may be texts with commas.

    Raises:
        UserError: one is not legal; says what is allowed.
    """
    share = None if test_fraction is None else _fraction(test_fraction)
    place = None if classes is None else os.path.abspath(os.path.expanduser(classes))
    chosen, pooled = _views(_listed(views, "views")), _pool(_listed(pool, "pool"))
    return ReadOptions(place, chosen, pooled, share, _map(map), several_labels=several_labels)


def _fraction(given: float) -> float:
    """As a `float`, which a settings file can hold, of a number that NumPy gave too.

    Raises:
        UserError: it is no number above 0 and below 1; the text '0.2', which a program may give, is none.
    """
    number = isinstance(given, Real) and not isinstance(given, bool)
    if not number or not 0 < given < 1:
        value = f"{float(given):g}" if number else shown(given)
        raise UserError(f"--test-fraction is {value}; allowed: a number above 0 and below 1, e.g. 0.2")
    return float(given)


def recorded_options(facts: Mapping[str, Any], where: str) -> ReadOptions:
    """The options that a settings file has of its dataset, see `ReadOptions.given`; none in files of older versions.

    Args:
        where: the file, for messages.

    Raises:
        UserError: it is damaged.
    """
    options = facts.get("options", {})
    kinds: dict[str, Any] = {"classes": str, "views": str, "pool": str, "map": (str, dict)}
    kinds |= {"test_fraction": float, "several_labels": bool}
    if not isinstance(options, dict) or not all(isinstance(options[name], kinds.get(name, ())) for name in options):
        raise UserError(f"{where} is damaged: dataset.options is {shown(options)}; name the data and its options again")
    return options_of(**options)


def spelt(options: ReadOptions) -> str:
    """Options as the command line has them.

    >>> spelt(ReadOptions(pool=("mean", "std"), test_fraction=0.2, several_labels=True))
    '--pool mean,std --test-fraction 0.2 --several-labels'
    """
    values = _values(options)
    return " ".join(f"{_option(what)} {value}" if value != _FLAG else _option(what) for what, value in values.items())


def differences(before: ReadOptions, after: ReadOptions) -> list[str]:
    """What two ways to read a file differ in, a line each option.

    >>> differences(ReadOptions(test_fraction=0.2), ReadOptions(pool=("mean",), test_fraction=0.3))
    ['--pool: none -> mean', '--test-fraction: 0.2 -> 0.3']
    """
    old, new = _values(before), _values(after)
    return [
        f"{_option(one.name)}: {old.get(one.name, 'none')} -> {new.get(one.name, 'none')}"
        for one in fields(ReadOptions)
        if old.get(one.name) != new.get(one.name)
    ]


def _option(what: str) -> str:
    return f"--{what.replace('_', '-')}"


def _values(options: ReadOptions) -> dict[str, str]:
    """Those that are given, as words."""
    found = {}
    for what, value in options.given().items():
        pairs = [f"{one}={key}" for one, key in value.items()] if isinstance(value, dict) else None
        found[what] = ",".join(pairs) if pairs else _FLAG if value is True else f"{value}"
    return found


def _listed(given: str | Sequence[str] | None, what: str) -> tuple[str, ...]:
    """Raises:
    UserError: they are no names.
    """
    words = given.split(",") if isinstance(given, str) else () if given is None else given
    if not isinstance(words, Iterable) or not all(isinstance(word, str) for word in words):
        raise UserError(f"--{what} is {shown(given)}; give names, as a text with commas or a list of texts")
    return tuple(word.strip() for word in words)


def _views(names: tuple[str, ...]) -> tuple[str, ...]:
    if not names:
        return ()
    if len(names) != 2 or names[0] == names[1]:
        raise UserError(f"--views names {shown(','.join(names))}; give two different names, e.g. --views image,text")
    for name in names:
        if (
            not name.isprintable()
            or not 0 < len(name) <= _NAME_LENGTH
            or not all(c.isalnum() or c in "_-" for c in name)
        ):
            raise UserError(f"--views names {shown(name)}; a name is letters, digits, _ and -, {_NAME_LENGTH} at most")
    return names


def _pool(names: tuple[str, ...]) -> tuple[str, ...]:
    for name in names:
        if name not in POOLS:
            raise UserError(
                f"--pool names {shown(name)}{did_you_mean(name, POOLS)}; allowed: {choices(POOLS)}, or some"
            )
    if len(set(names)) < len(names):
        raise UserError(f"--pool names {','.join(names)}; each of {choices(POOLS)} once at most")
    return names


def _map(given: str | Iterable[str] | Mapping[str, str] | None) -> dict[str, str]:
    if isinstance(given, Mapping):
        parts = [(str(what), "=", str(key)) for what, key in given.items()]
    else:
        words = [given] if isinstance(given, str) else () if given is None else given
        if not isinstance(words, Iterable) or not all(isinstance(word, str) for word in words):
            raise UserError(f"--map is {shown(given)}; give WHAT=KEY, as texts or a mapping")
        parts = [part.strip().partition("=") for word in words for part in word.split(",")]
    found: dict[str, str] = {}
    for what, sign, key in parts:
        if not sign or not what or not key:
            raise UserError(f"--map has {shown(what + sign + key)}; give WHAT=KEY, e.g. --map audio_train=vggish")
        if what in found:
            raise UserError(f"--map names {what} twice")
        found[what] = key
    return found
