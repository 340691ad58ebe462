"""`--set` of a bench: values for every method that has them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import yaml

from avtune.core.errors import UserError, choices, did_you_mean, shown
from avtune.engine import user_code
from avtune.space.parse import parse
from avtune.space.settings import SETTINGS
from avtune.space.space import Space

_OF_RULES = {
    "early_stopping.grace": "grace",
    "early_stopping.factor": "factor",
    "final.finalists": "finalists",
    "validation.fraction": "fraction",
    "search.seed": "seed",
}
"""Settings that a bench keeps as its rules, by their names there."""
_OPTIONS = {
    "search.trials": "--trials",
    "early_stopping.epochs": "--epochs",
    "final.seeds": "--seeds",
    "final.reference": "--no-reference",
}
_SETTINGS = (
    "search.sampler",
    "search.startup_trials",
    "search.lag",
    "early_stopping.steps",
    "validation.reshuffle",
    "final.reshuffle",
)


def assignments(given: Iterable[str], before: Iterable[str] = ()) -> list[str]:
    """`key=value` each, of a bench that goes on and of now; the last of a key counts.

    Raises:
        UserError: one is no assignment, or its key cannot be set for all methods.
    """
    by_key: dict[str, str] = {}
    for one in (*before, *given):
        key, equals, value = (part.strip() for part in str(one).partition("="))
        if not equals or not key or not value:
            raise UserError(f"--set is {shown(one)}; allowed: KEY=VALUE, e.g. --set space.hidden_dim=256")
        if key in _OPTIONS:
            raise UserError(f"--set {key}: a bench has an option for it, {_OPTIONS[key]}")
        allowed = (*_OF_RULES, *_SETTINGS)
        if not key.startswith("space.") and key not in allowed:
            raise UserError(
                f"--set {shown(key)[1:-1]}: not for all methods of a bench; allowed: space.NAME, {choices(allowed)}"
                f"{did_you_mean(key, allowed)}"
            )
        by_key[key] = f"{key}={value}"
    return list(by_key.values())


def value_of(key: str, sets: Iterable[str], usual: Any) -> Any:
    """The value that assignments give a key; `usual` where none does."""
    values = [value for name, _, value in (one.partition("=") for one in sets) if name == key]
    return _parsed(values[-1]) if values else usual


def _parsed(text: str) -> Any:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        return text


def rule_values(sets: Sequence[str]) -> dict[str, Any]:
    """The assignments that are rules of a bench, by their names there.

    Raises:
        UserError: a value is out of range.
    """
    values: dict[str, Any] = {}
    for one in sets:
        key, _, text = one.partition("=")
        if key in _OF_RULES:
            section, _, name = key.partition(".")
            values[_OF_RULES[key]] = replace(SETTINGS[section][name], name=f"--set {key}").check(_parsed(text))
    return values


def overridden(space: Space, sets: Sequence[str]) -> Space:
    """A method's space with those of the assignments that it has.

    Raises:
        UserError: a value is not legal.
    """
    names = _hypers_of(space)
    mine = [one for one in sets if _hyper(one) in names or one.partition("=")[0] in _SETTINGS]
    if not mine:
        return space
    file = f"the space of {space.method}"
    return parse(
        space.to_yaml(), file=file, hypers_of=user_code.hypers_of, method_names=user_code.names(), overrides=mine
    )


def _hypers_of(space: Space) -> set[str]:
    return {*(axis.name for axis in space.axes), *space.fixed, *space.off}


def _hyper(assignment: str) -> str:
    """The hyper-parameter that an assignment is about; empty for a setting."""
    section, _, rest = assignment.partition("=")[0].partition(".")
    return rest.partition(".")[0] if section == "space" else ""


def check_known(sets: Sequence[str], spaces: Mapping[str, Space]) -> None:
    """Raises:
    UserError: no method of the bench has a hyper-parameter that is set.
    """
    known = dict.fromkeys(name for space in spaces.values() for name in _hypers_of(space))
    for one in sets:
        name = _hyper(one)
        if name and name not in known:
            raise UserError(f"--set {one}: no method of this bench has {name!r}{did_you_mean(name, known)}")
