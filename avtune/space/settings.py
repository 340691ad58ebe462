"""The sections of a space file beside `space` itself: their settings, defaults and legal ranges."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, TypeVar

from avtune.core.errors import UserError, did_you_mean
from avtune.core.hyper import Hyper, Value
from avtune.core.objective import MAP, spelled
from avtune.space.checks import legal, only_keys, table
from avtune.space.written import Written
from avtune.space.yaml_lines import Entry, shorten


@dataclass(frozen=True)
class SearchSettings:
    """How configurations are proposed.

    Attributes:
        sampler: `tpe` (Optuna's tree-structured Parzen estimator), `gp` (its Gaussian process), `random`, `qmc` (a
            quasi-random sequence) or `grid` (every configuration of a finite space).
        trials: how many configurations are tried.
        seed: seed of everything random in the study.
        startup_trials: random trials before TPE or the Gaussian process begins.
        lag: in deterministic mode a suggestion sees the results of trials numbered at least this much below it.
        stop_when_flat: no more trials once the best value has not risen for so many ended ones; 0 for never.
        objective: what is maximised on the validation rows, as `core.objective` takes it.
    """

    sampler: str = "tpe"
    trials: int = 200
    seed: int = 0
    startup_trials: int = 10
    lag: int = 16
    stop_when_flat: int = 0
    objective: str = MAP.text


LEARNING = ("tpe", "gp")
"""Samplers that learn from trials that have ended."""
AUTO = "auto"
"""`early_stopping.epochs` of an open horizon: a trial trains until its curve is flat."""
MOST_STEPS = 2000
"""Optimiser steps of a trial at most, where the horizon is open and nobody says; see `benchmarks/horizon.py`."""
FUNCTION_EPOCHS = 81
"""Epochs of a training function where nobody says: it trains as it likes, so that its horizon cannot be open."""

FULL, RACE = "full", "race"
"""`final.policy`: see `Final`."""


@dataclass(frozen=True)
class EarlyStopping:
    """How long trials train, and where ASHA compares them; `study.horizon` turns this into epochs.

    Attributes:
        epochs: epochs of a trial that is never stopped, or `auto`: until its curve is flat.
        grace: epochs before the first decision; at or above `epochs` nothing is ever stopped.
        factor: one trial in `factor` goes on at each rung.
        steps: with `auto`, optimiser steps that a trial trains at most; 0 where `epochs` is a number.
        schedule: epochs over which schedules are laid out, where a study was given more epochs later; else None.
    """

    epochs: int | str = AUTO
    grace: int = 3
    factor: int = 3
    steps: int = 0
    schedule: int | None = None

    def __post_init__(self) -> None:
        assert isinstance(self.epochs, int) or self.epochs == AUTO
        if self.open and not self.steps:
            object.__setattr__(self, "steps", MOST_STEPS)

    @property
    def open(self) -> bool:
        """Whether the horizon is open."""
        return self.epochs == AUTO


GIVEN, TOGETHER = "given", "together"
RESHUFFLED = "reshuffled"


@dataclass(frozen=True)
class Validation:
    """What the search is scored on: a stratified `fraction` of the training rows, `folds` of them, or the rows that the
    data set's publisher sets aside; two of the three are None.

    Attributes:
        split: `given`: the validation split of the data set.
        equal_rows: `together`: rows with equal features stay on one side of a fraction or fold; None in studies that
            were begun before this was done, and where no rows are equal.
        reshuffle: each trial has a split of its own, from its seed, see `data.own_rows`; not of a given split.
    """

    fraction: float | None = 0.2
    folds: int | None = None
    split: str | None = None
    equal_rows: str | None = None
    reshuffle: bool = False

    def __post_init__(self) -> None:
        assert sum(one is not None for one in (self.fraction, self.folds, self.split)) == 1
        assert not (self.reshuffle and self.split is not None)

    @property
    def more(self) -> tuple[str | None, ...]:
        """What decides the split beside a fraction or folds, see `core.run_key.search_basis`."""
        return self.split, self.equal_rows, RESHUFFLED if self.reshuffle else None


@dataclass(frozen=True)
class Final:
    """How the winner is named: the best `finalists` are repeated over `seeds` seeds, and so is the retrained winner.
    `reference` is a plain method that is scored beside it, see `finals.reference`, or `none`.

    Attributes:
        policy: `full`: every finalist has all seeds; `race`: only those that may still win, see `finals.race`. None
            where nobody says: it is chosen where a search begins, and is `full` where it was not.
        reshuffle: the validation rows vary with the seed, the same for all finalists; None for as `Validation` says of
            the trials.
        default: the default configuration is repeated, retrained and scored like a finalist, whatever it came to in
            the search; else it is one only where it is among the best.
    """

    finalists: int = 3
    seeds: int = 5
    policy: str | None = None
    reference: str = "classifiers"
    reshuffle: bool | None = None
    default: bool = True

    @property
    def races(self) -> bool:
        """Whether finalists that cannot win get no further seeds."""
        return self.policy == RACE

    def usual_policy(self, *, shared: bool) -> str | None:
        """The policy of a new search where nobody says: a race, but for where it saves nothing.

        Args:
            shared: lanes of a GPU train the further seeds in hardly more time than one, and each round of a race would
                have to be waited for.
        """
        return None if shared or self.seeds <= 2 else RACE


_MANY = 100_000
SETTINGS: dict[str, dict[str, Hyper]] = {
    section: {hyper.name: hyper for hyper in hypers}
    for section, hypers in {
        "search": (
            Hyper("sampler", "choice", "tpe", values=("tpe", "gp", "random", "qmc", "grid")),
            Hyper("trials", "int", 200, 1, _MANY),
            Hyper("seed", "int", 0, 0, 1e9),
            Hyper("startup_trials", "int", 10, 0, _MANY),
            Hyper("lag", "int", 16, 1, _MANY),
            Hyper("stop_when_flat", "int", 0, 0, _MANY),
            Hyper("objective", "choice", MAP.text, values=(MAP.text, "map@r", "ndcg")),  # and more: `core.objective`
        ),
        "early_stopping": (
            Hyper("epochs", "int", FUNCTION_EPOCHS, 1, _MANY),
            Hyper("grace", "int", 3, 1, _MANY),
            Hyper("factor", "int", 3, 2, 100),
            Hyper("steps", "int", MOST_STEPS, 1, 100 * _MANY),
            Hyper("schedule", "int", FUNCTION_EPOCHS, 1, _MANY),
        ),
        "validation": (
            Hyper("fraction", "float", 0.2, 0.01, 0.9),
            Hyper("folds", "int", 5, 2, 100),
            Hyper("split", "choice", GIVEN, values=(GIVEN,)),
            Hyper("equal_rows", "choice", TOGETHER, values=(TOGETHER,)),
            Hyper("reshuffle", "bool", default=False),
        ),
        "final": (
            Hyper("finalists", "int", 3, 1, 1000),
            Hyper("seeds", "int", 5, 1, 1000),
            Hyper("policy", "choice", FULL, values=(FULL, RACE)),
            Hyper("reference", "choice", "classifiers", values=("classifiers", "none")),
            Hyper("reshuffle", "bool", default=False),
            Hyper("default", "bool", default=True),
        ),
    }.items()
}
SECTIONS: dict[str, type] = {
    "search": SearchSettings,
    "early_stopping": EarlyStopping,
    "validation": Validation,
    "final": Final,
}

S = TypeVar("S", SearchSettings, EarlyStopping, Validation, Final)


def parse_settings(cls: type[S], section: str, entry: Entry | None) -> S:
    """One section, checked; a section or a key that is absent takes its default.

    Raises:
        UserError: an unknown key, a value out of range, or settings that exclude each other.
    """
    if entry is None:
        return cls()
    hypers = SETTINGS[section]
    first = next(iter(hypers.values()))
    given = table(entry, section, f"{section}: {{{first.name}: {first.default}}}")
    only_keys(given, hypers, section)
    values: dict[str, Any] = {name: _setting(item, hypers[name], section) for name, item in given.items()}
    if cls is EarlyStopping:
        _check_horizon(given, values)
    if cls is Validation:
        ways = [name for name in ("folds", "split", "fraction") if name in values]
        if len(ways) > 1:
            raise UserError(
                f"{given[ways[0]].where}: validation has both {ways[0]} and {ways[1]} (at {given[ways[1]].where}); "
                "keep one"
            )
        if ways and ways[0] != "fraction":
            values["fraction"] = None
        if "split" in values and values.get("reshuffle"):
            raise UserError(
                f"{given['reshuffle'].where}: validation.reshuffle draws rows for each trial, and validation.split is "
                f"{GIVEN} (at {given['split'].where}); keep one"
            )
    return cls(**values)


def _setting(entry: Entry, hyper: Hyper, section: str) -> Value:
    label = f"{section}.{hyper.name}"
    if label == "early_stopping.epochs" and isinstance(entry.value, str):
        if entry.value != AUTO:
            hint = did_you_mean(shorten(entry.value), [AUTO])
            raise UserError(
                f"{entry.where}: {label} is {entry.shown}; allowed: {AUTO}, or a whole number from {hyper.low} to "
                f"{hyper.high}{hint}"
            )
        return AUTO
    if label == "search.objective" and isinstance(entry.value, str):
        try:
            return spelled(entry.value)
        except UserError as error:
            raise UserError(f"{entry.where}: search.{error}") from None
    return legal(entry, hyper, label)


def _check_horizon(given: dict[str, Entry], values: Mapping[str, Value]) -> None:
    """Raises:
    UserError: a setting that goes with the other kind of horizon.
    """
    is_open = values.get("epochs", AUTO) == AUTO
    other = "schedule" if is_open else "steps"
    if other in given:
        needed = "a number of epochs" if is_open else f"epochs: {AUTO}"
        raise UserError(f"{given[other].where}: early_stopping.{other} goes with {needed}; leave it out")


def settings_dict(made: SearchSettings | EarlyStopping | Validation | Final) -> dict[str, Written]:
    """The section as it is written; what has no part in it is left out: the half of `validation` that is not used,
    `steps` where the epochs are a number, `stop_when_flat` where it is 0, `objective` where it is MAP, `reshuffle`
    where all trials have one split, `default` where it is one of the finalists."""
    values = {field.name: getattr(made, field.name) for field in fields(made)}
    if isinstance(made, EarlyStopping) and not made.open:
        del values["steps"]
    if isinstance(made, Validation) and not made.reshuffle:
        del values["reshuffle"]
    if isinstance(made, Final) and made.default:
        del values["default"]
    if isinstance(made, SearchSettings) and not made.stop_when_flat:
        del values["stop_when_flat"]
    if isinstance(made, SearchSettings) and made.objective == MAP.text:
        del values["objective"]
    return {name: value for name, value in values.items() if value is not None}
