"""A checked space: what is searched, what is fixed, and the settings. Imports neither torch nor ray."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import cast

import optuna

from avtune.core.hyper import Value
from avtune.core.objective import MAP
from avtune.space.axis import Axis
from avtune.space.constraints import Constraint
from avtune.space.settings import LEARNING, SECTIONS, EarlyStopping, Final, SearchSettings, Validation, settings_dict
from avtune.space.written import Written, changes, inline, to_yaml

_LEFT_OUT: tuple[tuple[str, str, Written], ...] = (
    ("search", "objective", MAP.text),
    ("validation", "reshuffle", False),
    ("final", "reshuffle", "as the trials"),
    ("final", "default", True),
)
"""Settings that are not written where nobody says them, with what they are then."""


@dataclass(frozen=True)
class Space:
    """A checked space file. `fixed` and `axes` together name every hyper-parameter of the method once, in its order,
    but for choices of training that are off (`Hyper.extra`): these are in `off`, with that value.

    A *point* is the values of the axes that are searched together: all but those whose condition does not hold. A
    configuration is a point and the fixed values.
    """

    method: str
    axes: tuple[Axis, ...]
    fixed: dict[str, Value]
    search: SearchSettings = field(default_factory=SearchSettings)
    early_stopping: EarlyStopping = field(default_factory=EarlyStopping)
    validation: Validation = field(default_factory=Validation)
    final: Final = field(default_factory=Final)
    constraints: tuple[Constraint, ...] = ()
    off: dict[str, Value] = field(default_factory=dict, compare=False)

    def defaults(self) -> dict[str, Value]:
        """The configuration to compare with: fixed values, and the method's default of what is searched (which may
        lie outside the searched range)."""
        return self.configuration({item.name: item.default for item in self.axes})

    def default_point(self) -> dict[str, Value] | None:
        """The point of `defaults`, as the axes sample it; None where the space does not hold it."""
        point = self.active_part({axis.name: axis.default for axis in self.axes})
        searched = all(axis.contains(axis.default) for axis in self.axes if axis.name in point)
        return self.fitted(point) if searched and self.violated(point) is None else None

    def fitted(self, values: Mapping[str, Value]) -> dict[str, Value]:
        """A point or a configuration with the values of the axes exactly as these sample them: 3.0 may lie on a step
        that is computed as 3.0000000000000004. What an axis could not sample, and what is none, stays as it is."""
        found = dict(values)
        for axis in self.axes:
            exact = axis.fitted(values[axis.name]) if axis.name in values else None
            if exact is not None:
                found[axis.name] = exact
        return found

    def is_default(self, config: Mapping[str, Value]) -> bool:
        """Whether a configuration is that of `defaults`, on steps up to rounding."""
        return self.fitted(config) == self.fitted(self.defaults())

    @property
    def is_plain(self) -> bool:
        """Whether it has neither conditions nor constraints."""
        return not self.constraints and not any(axis.when for axis in self.axes)

    def active_part(self, values: Mapping[str, Value]) -> dict[str, Value]:
        """Of values of the axes, those of the axes whose conditions hold, in the order of the axes."""
        return {axis.name: values[axis.name] for axis in self.axes if axis.is_searched(values) and axis.name in values}

    def configuration(self, values: Mapping[str, Value]) -> dict[str, Value]:
        """The configuration with these values of the axes."""
        return {**self.active_part(values), **self.fixed}

    def complete(self, config: Mapping[str, Value]) -> dict[str, Value]:
        """A configuration with the method's defaults of what it does not have since its conditions do not hold."""
        return {**{axis.name: axis.default for axis in self.axes}, **config}

    def violated(self, point: Mapping[str, Value]) -> Constraint | None:
        """The first constraint that a point does not fulfil; None where it fulfils all."""
        if not self.constraints:
            return None
        config = {**point, **self.fixed}
        return next((one for one in self.constraints if not one.holds(config)), None)

    @property
    def decides(self) -> tuple[str | None, ...]:
        """What decides the curves of runs beside method, data, fraction or folds, and seed, see
        `core.run_key.search_basis`."""
        return *self.validation.more, None if self.search.objective == MAP.text else self.search.objective

    def of_finals(self) -> Space:
        """The space with the validation rows of the finals: whether they vary with the seed is said in `final`."""
        reshuffle = self.final.reshuffle
        return self if reshuffle is None else replace(self, validation=replace(self.validation, reshuffle=reshuffle))

    @property
    def validation_rows(self) -> str:
        """Which rows trials and finals are validated on, for people."""
        if self.validation.split is not None:
            return "the data set's own validation split"
        folds, fraction = self.validation.folds, self.validation.fraction
        rows = f"{fraction:.0%} of the training rows" if folds is None else f"{folds} folds of the training rows"
        equal = ", equal rows on one side" if self.validation.equal_rows is not None else ""
        drawn = {
            (False, False): "",
            (False, True): "; in the finals others for each seed",
            (True, False): "; others for each trial, in the finals those of the study's seed",
            (True, True): "; others for each trial, and in the finals for each seed",
        }
        return rows + equal + drawn[self.validation.reshuffle, self.of_finals().validation.reshuffle]

    def distributions(self) -> dict[str, optuna.distributions.BaseDistribution]:
        """One Optuna distribution for each axis, in the order of the axes."""
        return {axis.name: axis.distribution() for axis in self.axes}

    def as_dict(self) -> dict[str, Written]:
        """The space as its file would hold it, complete: every hyper-parameter and every setting."""
        return {
            "method": self.method,
            "space": {**{axis.name: axis.as_dict() for axis in self.axes}, **self.fixed},
            **({"constraints": [one.text for one in self.constraints]} if self.constraints else {}),
            **{section: settings_dict(getattr(self, section)) for section in SECTIONS},
        }

    def to_yaml(self) -> str:
        """The file that `parse` turns into this space again, whatever the defaults are by then."""
        return to_yaml(self.as_dict())

    def difference(self, other: Space) -> list[str]:
        """What changed from this space to `other`, a line each: `search.seed: 0 -> 1`. Empty when they are equal."""
        mine, theirs = self.as_dict(), other.as_dict()
        for section, name, usual in _LEFT_OUT:
            one, another = (cast(dict[str, Written], sections[section]) for sections in (mine, theirs))
            if name in one or name in another:
                one.setdefault(name, usual)
                another.setdefault(name, usual)
        if self.method != other.method:  # another method has other hyper-parameters: no use in listing them
            mine["space"] = theirs["space"] = {}
        return list(changes("", mine, theirs))

    def notes(self, *, deterministic: bool = False) -> list[str]:
        """What a user should know of a legal space before it runs: settings that have no effect, and the like.

        Args:
            deterministic: of a search in deterministic mode.
        """
        lines = []
        if not self.axes and self.search.trials > 1:
            lines.append(f"nothing is searched: there is one configuration for {self.search.trials} trials")
        default = self.active_part({axis.name: axis.default for axis in self.axes})
        broken = self.violated(default)
        if broken is not None:
            lines.append(f"the method's default configuration does not fulfil {broken.text}")
        for axis in self.axes:
            if axis.name in default and not axis.contains(axis.default):
                lines.append(
                    f"the method's default {axis.name} {inline(axis.default)} lies outside the searched values"
                )
        search, stop = self.search, self.early_stopping
        learns = self.axes and search.sampler in LEARNING
        if learns and search.startup_trials >= search.trials:
            lines.append(
                "no suggestion sees a result, configurations that are not known beforehand are drawn at random: "
                f"search.startup_trials {search.startup_trials} is not below trials {search.trials}"
            )
        elif learns and deterministic and search.lag >= search.trials:
            lines.append(f"no suggestion sees a result: search.lag {search.lag} is not below trials {search.trials}")
        if search.stop_when_flat >= search.trials:
            lines.append(
                f"search.stop_when_flat {search.stop_when_flat} is not below trials {search.trials}: no effect"
            )
        if self.final.finalists > search.trials:
            lines.append(
                f"every trial is a finalist: final.finalists {self.final.finalists} is more than trials {search.trials}"
            )
        if isinstance(stop.epochs, int) and stop.grace >= stop.epochs:
            lines.append(
                f"no trial is stopped early: early_stopping.grace {stop.grace} is not below epochs {stop.epochs}"
            )
        return lines
