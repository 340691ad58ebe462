"""Configurations that a user's script has put into a study's journal with Optuna, checked against the space."""

from __future__ import annotations

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
        if len(values) == len(axes) and key_of(values) in seen:
            return Enqueued(number, values, "a trial has had that configuration")
        return Enqueued(number, values)

    @property
    def text(self) -> str:
        """In words, why it is left out."""
        return f"the configuration enqueued in journal.log as Optuna's trial {self.number} is left out: {self.problem}"
