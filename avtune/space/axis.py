"""One searched hyper-parameter of a space file: `{type: float, low: 0.05, high: 1.0}` checked against the method."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal

import optuna

from avtune.core.errors import UserError, choices, did_you_mean
from avtune.core.hyper import Hyper, Value
from avtune.space.checks import flag, legal, only_keys
from avtune.space.written import Written
from avtune.space.yaml_lines import Entry, shorten

_NEEDED = {"float": ("low", "high"), "int": ("low", "high"), "choice": ("values",)}
_OPTIONAL = {"float": ("log", "step"), "int": ("log", "step"), "choice": ()}
_MOST_STEPS = 1e6
WHEN = "when"
"""The key of an axis that holds its condition, see `conditions`."""
_TYPES = {"float": ("float", "choice"), "int": ("int", "choice"), "choice": ("choice",), "bool": ("choice",)}


@dataclass(frozen=True)
class Axis:
    """A searched hyper-parameter.

    Attributes:
        name: its name in the method.
        kind: `float`, `int` or `choice`.
        low, high: the range, both ends included; None for a choice.
        log: sampled uniformly in the logarithm.
        step: distance of neighbouring values from `low` on; None for a continuous range (or every whole number).
        values: the values of a choice.
        default: the method's default, which may lie outside the range.
        when: other axes and their values with which this one is searched; empty where it always is.
    """

    name: str
    kind: str
    low: float | None = None
    high: float | None = None
    log: bool = False
    step: float | None = None
    values: tuple[Value, ...] = ()
    default: Value = field(default=0, compare=False)
    when: tuple[tuple[str, tuple[Value, ...]], ...] = ()

    def as_dict(self) -> dict[str, Written]:
        """The axis as a space file writes it."""
        written: dict[str, Written] = {"type": self.kind}
        if self.kind == "choice":
            written["values"] = list(self.values)
        else:
            written |= {"low": self.low, "high": self.high, "log": self.log}
        if self.step is not None:
            written["step"] = self.step
        if self.when:
            when: dict[str, Written] = {}
            for name, allowed in self.when:
                listed: list[Written] = [*allowed]
                when[name] = listed[0] if len(listed) == 1 else listed
            written[WHEN] = when
        return written

    def is_searched(self, values: Mapping[str, Value]) -> bool:
        """Whether its condition holds.

        Args:
            values: of the other axes.
        """
        return all(name in values and values[name] in allowed for name, allowed in self.when)

    @property
    def when_text(self) -> str:
        """Its condition, as a person reads it: `mining is hard or semihard`; empty where it is always searched."""
        return " and ".join(f"{name} is {_listed(values)}" for name, values in self.when)

    def distribution(self) -> optuna.distributions.BaseDistribution:
        """The Optuna distribution that samples this axis."""
        if self.kind == "choice":
            return optuna.distributions.CategoricalDistribution(self.values)
        assert self.low is not None
        assert self.high is not None
        if self.kind == "float":
            return optuna.distributions.FloatDistribution(self.low, self.high, log=self.log, step=self.step)
        return optuna.distributions.IntDistribution(
            int(self.low), int(self.high), log=self.log, step=1 if self.step is None else int(self.step)
        )

    def suggest(self, trial: optuna.Trial) -> Value:
        """Has a trial of Optuna's take a value of this axis."""
        if self.kind == "choice":
            chosen = trial.suggest_categorical(self.name, self.values)
            assert chosen is not None
            return chosen
        assert self.low is not None
        assert self.high is not None
        if self.kind == "float":
            return trial.suggest_float(self.name, self.low, self.high, step=self.step, log=self.log)
        step = 1 if self.step is None else int(self.step)
        return trial.suggest_int(self.name, int(self.low), int(self.high), step=step, log=self.log)

    def lies_within(self, low: float, high: float) -> bool:
        """Whether all that it samples lies there; only for a range."""
        assert self.low is not None
        assert self.high is not None
        return low <= self.low and self.high <= high

    def contains(self, value: Value) -> bool:
        """Whether the axis could sample `value`."""
        if self.kind == "choice":
            return value in self.values
        assert self.low is not None
        assert self.high is not None
        if isinstance(value, str) or not self.low <= value <= self.high:
            return False
        steps = 0.0 if self.step is None else (value - self.low) / self.step
        return abs(steps - round(steps)) < 1e-8  # as Optuna judges it

    def fitted(self, value: Value) -> Value | None:
        """`value` as this axis samples it, of its own type and exactly on a step; None where it could not."""
        if self.kind == "choice":
            return next((one for one in self.values if one == value and isinstance(one, bool) == _is_flag(value)), None)
        if _is_flag(value) or not self.contains(value) or (self.kind == "int" and value != int(value)):
            return None
        return self._on_a_step(float(value))

    def nearest(self, value: Value) -> Value | None:
        """The value nearest to a number, in the range; None for a word, and for what is not sampled as a number."""
        if isinstance(value, str) or _is_flag(value):
            return None
        if self.kind == "choice":
            numbers = [one for one in self.values if not isinstance(one, str | bool)]
            return min(numbers, key=lambda one: abs(one - value), default=None)
        assert self.low is not None
        assert self.high is not None
        return self._on_a_step(min(max(float(value), self.low), self.high))

    @property
    def middle(self) -> Value:
        """The middle of its range (in the logarithm where it is sampled so), on a step; of a choice the first value."""
        if self.kind == "choice":
            return self.values[0]
        assert self.low is not None
        assert self.high is not None
        low, high = self.low, self.high
        middle = math.sqrt(low) * math.sqrt(high) if self.log else low + (high - low) / 2
        step = self.step or (1 if self.kind == "int" else None)
        if step is not None:
            middle = low + round((middle - low) / step) * step
        return int(middle) if self.kind == "int" else min(max(middle, low), high)

    @property
    def range_text(self) -> str:
        """What is sampled, as a person reads it: `0.05 to 1`, `0 to 1 in steps of 0.25`, `a, b or c`."""
        if self.kind == "choice":
            return _listed(self.values)
        assert self.low is not None
        assert self.high is not None
        return f"{self.low:g} to {self.high:g}" + (f" in steps of {self.step:g}" if self.step is not None else "")

    def _on_a_step(self, value: float) -> Value:
        assert self.low is not None
        assert self.high is not None
        step = self.step or (1 if self.kind == "int" else None)
        if step is not None:
            value = min(self.low + round((value - self.low) / step) * step, self.high)
        return int(value) if self.kind == "int" else value


def _listed(values: Iterable[Value]) -> str:
    return choices(str(value).lower() if isinstance(value, bool) else str(value) for value in values)


def _is_flag(value: Value) -> bool:
    return isinstance(value, bool)


def parse_axis(entry: Entry, hyper: Hyper) -> Axis:
    """The axis that a mapping describes, without its condition.

    Raises:
        UserError: an unknown, missing or illegal key, an empty range, or values that the method does not take.
    """
    given = entry.value
    assert isinstance(given, dict)
    name = f"space.{hyper.name}"
    allowed = _TYPES[hyper.kind]
    kind_entry = given.get("type")
    if kind_entry is None:
        only_keys(given, {"type", WHEN, *(key for kind in allowed for key in _NEEDED[kind] + _OPTIONAL[kind])}, name)
        raise UserError(f"{entry.where}: {name} has no type; write for example {hyper.name}: {_example(hyper)}")
    kind = kind_entry.value
    if not isinstance(kind, str) or kind not in allowed:
        hint = did_you_mean(shorten(kind), allowed) if isinstance(kind, str) else ""
        raise UserError(
            f"{kind_entry.where}: {name}.type is {kind_entry.shown}; allowed for {hyper.name}, which takes "
            f"{hyper.range_text}: {choices(allowed)}{hint}"
        )
    only_keys(given, ("type", *_NEEDED[kind], *_OPTIONAL[kind], WHEN), f"{name} (type {kind})")
    for key in _NEEDED[kind]:
        if key not in given:
            raise UserError(
                f"{entry.where}: {name} has no {key}; write for example {hyper.name}: {_example(hyper, kind)}"
            )
    if kind == "choice":
        return Axis(hyper.name, kind, values=_values(given["values"], hyper, name), default=hyper.default)
    return _range(given, hyper, kind, name)


def _range(given: dict[str, Entry], hyper: Hyper, kind: str, name: str) -> Axis:
    low, high = (legal(given[end], hyper, f"{name}.{end}") for end in ("low", "high"))
    assert not isinstance(low, str)
    assert not isinstance(high, str)
    log = flag(given["log"], f"{name}.log") if "log" in given else False
    if low >= high:
        raise UserError(
            f"{_to_blame(given, 'low', 'high')}: {name} has low {low:g} and high {high:g}; low must be below high "
            f"(a fixed value is written {hyper.name}: {low:g})"
        )
    if log and low <= 0:
        raise UserError(
            f"{_to_blame(given, 'low', 'log')}: {name}.low is {low:g} with log: true; allowed: above 0, "
            "or leave log out"
        )
    if "step" not in given:
        return Axis(hyper.name, kind, low, high, log, default=hyper.default)
    if log:
        raise UserError(f"{_to_blame(given, 'step', 'log')}: {name} has both log and step; keep one")
    least = 1 if kind == "int" else (high - low) / _MOST_STEPS
    width = Hyper("step", hyper.kind, least, least, high - low)
    step = legal(given["step"], width, f"{name}.step")
    assert not isinstance(step, str)
    whole, rest = divmod(Decimal(str(high)) - Decimal(str(low)), Decimal(str(step)))
    if rest:
        fitting = float(Decimal(str(low)) + whole * Decimal(str(step)))
        raise UserError(
            f"{_to_blame(given, 'step', 'high')}: {name} has steps of {step:g} from {low:g}, which miss high {high:g}; "
            f"the nearest high below is {fitting:g}"
        )
    return Axis(hyper.name, kind, low, high, log, step, default=hyper.default)


def _values(entry: Entry, hyper: Hyper, name: str) -> tuple[Value, ...]:
    if not isinstance(entry.value, list) or not entry.value:
        shown = "an empty list" if entry.value == [] else entry.shown
        raise UserError(f"{entry.where}: {name}.values is {shown}; write a list of at least one value: [..., ...]")
    values: list[Value] = []
    for item in entry.value:
        if item.value is None:
            raise UserError(
                f"{item.where}: {name}.values holds null (nothing); take it out, or write a value in its place: "
                f"{hyper.range_text} (the default is {hyper.default})"
            )
        value = legal(item, hyper, f"{name}.values")
        if value in values:
            raise UserError(f"{item.where}: {name}.values has {value!r} twice; keep one")
        values.append(value)
    return tuple(values)


def _to_blame(given: dict[str, Entry], *keys: str) -> str:
    """Where two keys disagree: at an override if there is one, since the file alone was right; else at the first."""
    places = [given[key].where for key in keys]
    return next((place for place in places if place.startswith("--set ")), places[0])


def _example(hyper: Hyper, kind: str | None = None) -> str:
    if hyper.kind in ("choice", "bool"):
        words = ", ".join(hyper.values) if hyper.kind == "choice" else "true, false"
        return f"{{type: choice, values: [{words}]}}"
    if kind == "choice":
        return f"{{type: choice, values: [{hyper.low:g}, {hyper.high:g}]}}"
    return f"{{type: {hyper.kind}, low: {hyper.low:g}, high: {hyper.high:g}}}"
