"""What a method says of one of its hyper-parameters. No torch, no Ray: the space checker and the study read these."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from avtune.core.errors import UserError, choices, did_you_mean, shown

Value = float | int | str | bool


@dataclass(frozen=True)
class Hyper:
    """One hyper-parameter of a method.

    Attributes:
        name: the name used in space files, `--set`, results and code.
        kind: `float`, `int`, `choice` (one of a few words) or `bool`.
        default: the value used when a space does not mention it.
        low, high: smallest and largest legal value (inclusive), for `float` and `int`.
        values: the legal words, for `choice`.
        static: True when it changes tensor shapes or the code path, so that only trials that agree on it can share
            fused tensors. A static hyper-parameter partitions lanes into groups; any other is a per-lane tensor.
        doc: one line: what it does, its unit and its source.
        extra: a choice of training that is off by default. A space that does not name it is written, recorded and
            hashed without it; a space made from hyper-parameters does not search it.

    >>> margin = Hyper("margin", "float", 0.2, 0.0, 2.0, doc="least distance between a pair and another class")
    >>> margin.check(1), margin.range_text
    (1.0, '0 to 2')
    """

    name: str
    kind: Literal["float", "int", "choice", "bool"]
    default: Value
    low: float | None = None
    high: float | None = None
    values: tuple[str, ...] = ()
    static: bool = False
    doc: str = ""
    extra: bool = False

    @property
    def range_text(self) -> str:
        """The legal values as a person reads them: `0 to 10`, `one of all, hard or semihard`, `true or false`."""
        if self.kind == "bool":
            return "true or false"
        if self.kind == "choice":
            return f"one of {choices(self.values)}"
        return f"{self.low:g} to {self.high:g}"

    def check(self, value: object) -> Value:
        """Returns `value` as this hyper-parameter's own type.

        Raises:
            UserError: the value is of the wrong kind or outside the legal range.
        """
        if self.kind == "bool":
            if isinstance(value, bool):
                return value
        elif self.kind == "choice":
            if isinstance(value, str) and value in self.values:
                return value
            hint = did_you_mean(value, self.values) if isinstance(value, str) else ""
            raise UserError(f"{self.name} is {shown(value)}; allowed: {self.range_text}{hint}")
        elif isinstance(value, int | float) and not isinstance(value, bool):
            assert self.low is not None
            assert self.high is not None
            whole = float(value).is_integer() if value == value and abs(value) != float("inf") else False
            if self.low <= value <= self.high and (self.kind == "float" or whole):
                return float(value) if self.kind == "float" else int(value)
        what = {"int": "a whole number from ", "float": "a number from "}.get(self.kind, "")
        raise UserError(f"{self.name} is {shown(value)}; allowed: {what}{self.range_text}")
