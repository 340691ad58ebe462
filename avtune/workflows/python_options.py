"""The arguments of `avtune.search` and its companions that are neither data nor code."""

from __future__ import annotations

import json
import operator
import os
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, TypeVar

from avtune.core.errors import UserError, shown
from avtune.core.schema import is_number
from avtune.finals.reference import NONE
from avtune.runners.placement import TIMEOUTS_TEXT
from avtune.workflows.options import DeviceOptions, SearchOptions

_WHOLE = ("gpus", "cpus", "trials_per_gpu", "lanes", "keep", "max_failures")
_YES_OR_NO = ("deterministic", "retry_failed", "reference", "default", "portfolio")
_TEXT = ("name", "cluster", "runner", "precision", "protocol", "finals")

AnyOptions = TypeVar("AnyOptions", bound=DeviceOptions)


def checked(options: AnyOptions) -> AnyOptions:
    """The same, with Python's numbers in place of NumPy's.

    Raises:
        UserError: a value is of another type than its argument takes.
    """
    given = {field.name: getattr(options, field.name) for field in fields(options)}
    given = {name: value for name, value in given.items() if value is not None}
    for name, value in given.items():
        if name in _WHOLE and not is_whole(value):
            raise UserError(f"{name} is {shown(value)}; allowed: a whole number")
        if name in _YES_OR_NO and not isinstance(value, bool):
            raise UserError(f"{name} is {shown(value)}; allowed: True or False")
        if name in _TEXT and not isinstance(value, str):
            raise UserError(f"{name} is {shown(value)}; allowed: text")
    if given.get("width") is not None and not is_number(given["width"]):
        raise UserError(f"width is {shown(given['width'])}; allowed: a share of each range, above 0 and at most 1")
    if options.trial_timeout is not None and not is_number(options.trial_timeout):
        raise UserError(f"trial_timeout is {shown(options.trial_timeout)}; allowed: {TIMEOUTS_TEXT}")
    if "track" in given:
        options = replace(options, track=_texts("track", given["track"]))  # type: ignore[call-arg]
    whole: dict[str, Any] = {name: operator.index(given[name]) for name in _WHOLE if name in given}
    return replace(options, **whole)


def _texts(name: str, value: object) -> tuple[str, ...]:
    """One text, or several."""
    several = (value,) if isinstance(value, str) else value
    if not isinstance(several, list | tuple) or not all(isinstance(one, str) for one in several):
        raise UserError(f"{name} is {shown(value)}; allowed: text, or a list of texts")
    return tuple(several)


def whole_or_none(name: str, value: object) -> int | None:
    """A number that may be left out.

    Raises:
        UserError: it is no whole number.
    """
    if value is None:
        return None
    if not is_whole(value):
        raise UserError(f"{name} is {shown(value)}; allowed: a whole number")
    return operator.index(value)  # type: ignore[arg-type]


@dataclass(frozen=True, kw_only=True)
class SearchArguments(SearchOptions):
    """The arguments of `avtune.search` as they were given; see there."""

    space: str | os.PathLike[str] | Mapping[str, Any] | None
    trials: int | None
    epochs: int | str | None
    finals: str | None
    final_seeds: int | None
    stop_when_flat: int | None
    sampler: str | None
    objective: str | None
    set: Mapping[str, Any]
    reference: bool
    default: bool

    def overrides(self) -> list[str]:
        """The values of the space that the call names, as `key=value`.

        Raises:
            UserError: `set` is no mapping, or a value is no number, text, True or False, nor a list or a mapping of
                such.
        """
        named = _named(self.set)
        if self.trials is not None:
            named["search.trials"] = self.trials
        if self.sampler is not None:
            named["search.sampler"] = self.sampler
        if self.objective is not None:
            named["search.objective"] = self.objective
        if self.stop_when_flat is not None:
            named["search.stop_when_flat"] = self.stop_when_flat
        if self.epochs is not None:
            named["early_stopping.epochs"] = self.epochs
        if self.finals is not None:
            named["final.policy"] = self.finals
        if self.final_seeds is not None:
            named["final.seeds"] = self.final_seeds
        if not self.reference:
            named["final.reference"] = NONE
        if not self.default:
            named["final.default"] = False
        return [f"{key}={_yaml(value)}" for key, value in named.items()]


def assigned(values: Mapping[str, Any] | None) -> list[str]:
    """Values by dotted key as `key=value`.

    Raises:
        UserError: it is no mapping, or a value is none that a space can hold.
    """
    return [f"{key}={_yaml(value)}" for key, value in _named({} if values is None else values).items()]


def _named(values: object) -> dict[str, Any]:
    if not isinstance(values, Mapping):
        raise UserError(f"set is {shown(values)}; give a mapping, for example set={{'search.seed': 1}}")
    return dict(values)


def _yaml(value: Any) -> str:
    """A value as one types it behind `--set key=`."""
    made = plain(value)
    return made if isinstance(made, str) else json.dumps(made)


def plain(value: Any) -> Any:
    """A value of a space with NumPy's numbers as Python's, mappings and sequences as dicts and lists.

    Raises:
        UserError: it is none.
    """
    if isinstance(value, Mapping):
        return {str(key): plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    if hasattr(value, "tolist"):
        return value.tolist()
    if value is None or isinstance(value, str | int | float):
        return value
    raise UserError(f"{shown(value)} is no value of a space; give a number, text, True or False")


def is_whole(value: object) -> bool:
    """Whether it is a whole number of Python's or NumPy's."""
    try:
        operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        return False
    return not isinstance(value, bool)
