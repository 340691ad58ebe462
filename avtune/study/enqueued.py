"""Configurations that a user's script has put into a study's journal with Optuna, checked against the space."""

from __future__ import annotations

import random
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from avtune.core.errors import did_you_mean, shown
from avtune.core.hyper import Value
from avtune.space.space import Space
from avtune.study.grid import Key, key_of


@dataclass(frozen=True)
class Enqueued:
    """A configuration that a user's script has enqueued in the journal.

    Attributes:
        number: Optuna's, of the waiting trial.
        params: values of axes, maybe not of all.
        problem: why it is not tried; empty where it is.
    """

    number: int
    params: Mapping[str, Value]
    problem: str = ""

    @staticmethod
    def of(number: int, given: Mapping[str, Any], space: Space, seen: Collection[Key]) -> Enqueued:
        """Checks what was enqueued."""
        axes, params = {axis.name: axis for axis in space.axes}, {}
        for name, value in given.items():
            if name in axes and isinstance(value, bool | int | float | str):
                params[name] = axes[name].fitted(value)
            if name in axes and params.get(name) is None:
                return Enqueued(number, {}, f"{name} is {shown(value)}; searched: {axes[name].range_text}")
            if name not in axes and space.fixed.get(name) != value:
                return Enqueued(
                    number, {}, f"{name} is {shown(value)}, and it is not searched{did_you_mean(name, axes)}"
                )
        values = {name: value for name, value in params.items() if value is not None}
        for name in values:
            if any(other in values for other, _ in axes[name].when) and not axes[name].is_searched(values):
                return Enqueued(number, {}, f"{name} is searched only where {axes[name].when_text}")
        apart = next((name for name, allowed in needed(values, space).items() if not allowed), None)
        if apart is not None:
            return Enqueued(number, {}, f"no value of {apart} has all of {', '.join(values)} searched")
        broken = next((one for one in space.constraints if not one.holds({**values, **space.fixed})), None)
        if broken is not None:
            return Enqueued(number, {}, f"it does not fulfil the constraint {broken.text}")
        if len(values) == sum(axis.is_searched(values) for axis in axes.values()) and key_of(values) in seen:
            return Enqueued(number, values, "a trial has had that configuration")
        return Enqueued(number, values)

    def with_conditions(self, space: Space, draw: random.Random) -> dict[str, Value]:
        """Its values, and one of each choice that it leaves out and that decides whether they are searched, drawn from
        those with which they are."""
        return {**self.params, **{name: draw.choice(allowed) for name, allowed in needed(self.params, space).items()}}

    def lacks_values(self, space: Space) -> bool:
        """Whether it leaves values to the sampler."""
        return any(axis.name not in self.params for axis in space.axes if axis.is_searched(self.params))

    @property
    def text(self) -> str:
        """In words, why it is left out."""
        return f"the configuration enqueued in journal.log as Optuna's trial {self.number} is left out: {self.problem}"


def needed(values: Mapping[str, Value], space: Space) -> dict[str, list[Value]]:
    """The choices that are not among values of axes and that decide whether these are searched, each with the values
    with which all of them are; maybe none."""
    found: dict[str, list[Value]] = {}
    for axis in space.axes:
        for other, allowed in axis.when if axis.name in values else ():
            if other not in values:
                found[other] = [one for one in found.get(other, allowed) if one in allowed]
    return found
