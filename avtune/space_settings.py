"""The sections of a space file beside `space` itself: their settings, defaults and legal ranges."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, TypeVar

from avtune.errors import UserError
from avtune.hyper import Hyper
from avtune.space_checks import legal, only_keys, table
from avtune.yaml_lines import Entry


@dataclass(frozen=True)
class SearchSettings:
    """How configurations are proposed.

    Attributes:
        sampler: `tpe` (Optuna's tree-structured Parzen estimator) or `random`.
        trials: how many configurations are tried.
        seed: seed of everything random in the study.
        startup_trials: random trials before TPE begins.
        lag: in deterministic mode a suggestion sees the results of trials numbered at least this much below it.
    """

    sampler: str = "tpe"
    trials: int = 200
    seed: int = 0
    startup_trials: int = 10
    lag: int = 16


@dataclass(frozen=True)
class EarlyStopping:
    """The rung table of ASHA: rungs at `grace * factor^k` epochs, up to `epochs`.

    Attributes:
        epochs: epochs of a trial that is never stopped.
        grace: epochs before the first decision; at or above `epochs` nothing is ever stopped.
        factor: one trial in `factor` goes on at each rung.
    """

    epochs: int = 81
    grace: int = 3
    factor: int = 3


@dataclass(frozen=True)
class Validation:
    """What the search is scored on: a stratified `fraction` of the training rows, or `folds` of them; one is None."""

    fraction: float | None = 0.2
    folds: int | None = None

    def __post_init__(self) -> None:
        assert (self.fraction is None) != (self.folds is None)


@dataclass(frozen=True)
class Final:
    """How the winner is named: the best `finalists` are repeated over `seeds` seeds, and so is the retrained winner."""

    finalists: int = 3
    seeds: int = 5


_MANY = 100_000
SETTINGS: dict[str, dict[str, Hyper]] = {
    section: {hyper.name: hyper for hyper in hypers}
    for section, hypers in {
        "search": (
            Hyper("sampler", "choice", "tpe", values=("tpe", "random")),
            Hyper("trials", "int", 200, 1, _MANY),
            Hyper("seed", "int", 0, 0, 1e9),
            Hyper("startup_trials", "int", 10, 0, _MANY),
            Hyper("lag", "int", 16, 1, _MANY),
        ),
        "early_stopping": (
            Hyper("epochs", "int", 81, 1, _MANY),
            Hyper("grace", "int", 3, 1, _MANY),
            Hyper("factor", "int", 3, 2, 100),
        ),
        "validation": (
            Hyper("fraction", "float", 0.2, 0.01, 0.9),
            Hyper("folds", "int", 5, 2, 100),
        ),
        "final": (
            Hyper("finalists", "int", 3, 1, 1000),
            Hyper("seeds", "int", 5, 1, 1000),
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
    values: dict[str, Any] = {name: legal(item, hypers[name], f"{section}.{name}") for name, item in given.items()}
    if cls is Validation and "folds" in values:
        if "fraction" in values:
            raise UserError(
                f"{given['folds'].where}: validation has both folds and fraction (at {given['fraction'].where}); "
                "keep one"
            )
        values["fraction"] = None
    return cls(**values)


def settings_dict(made: SearchSettings | EarlyStopping | Validation | Final) -> dict[str, Any]:
    """The section as it is written; the half of `validation` that is not used is left out."""
    values = {field.name: getattr(made, field.name) for field in fields(made)}
    return {name: value for name, value in values.items() if value is not None}
