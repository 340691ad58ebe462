"""Space files: YAML -> a checked `Space` -> Optuna distributions. Imports neither torch nor ray.

The format:

    method: psd
    space:
      margin: {type: float, low: 0.05, high: 1.0}        # searched
      embedding_dim: 64                                  # a bare value is fixed; what is not named keeps its default
    search: {sampler: tpe, trials: 200, seed: 0}
    early_stopping: {epochs: auto, grace: 3, factor: 3}  # or a number of epochs
    validation: {fraction: 0.2}                          # or {folds: 5}
    final: {finalists: 3, seeds: 5}

`--set search.trials=64` overrides one value by its dotted key; the last of several wins.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import optuna
import yaml

from avtune.core.errors import UserError, choices, did_you_mean
from avtune.core.hyper import Hyper, Value
from avtune.space.axis import Axis, parse_axis
from avtune.space.checks import legal, only_keys, table
from avtune.space.free import free_hypers
from avtune.space.settings import (
    AUTO,
    FUNCTION_EPOCHS,
    SECTIONS,
    SETTINGS,
    EarlyStopping,
    Final,
    SearchSettings,
    Validation,
    parse_settings,
    settings_dict,
)
from avtune.space.yaml_lines import CORE_SCALARS, MAX_BYTES, Entry, decode, read, shorten

__all__ = ["Axis", "EarlyStopping", "Final", "SearchSettings", "Space", "Validation", "find", "load", "names", "parse"]

HypersOf = Callable[[str], Mapping[str, Hyper] | None]
_TOP = ("method", "space", *SECTIONS)


@dataclass(frozen=True)
class Space:
    """A checked space file. `fixed` and `axes` together name every hyper-parameter of the method once, in its order."""

    method: str
    axes: tuple[Axis, ...]
    fixed: dict[str, Value]
    search: SearchSettings = field(default_factory=SearchSettings)
    early_stopping: EarlyStopping = field(default_factory=EarlyStopping)
    validation: Validation = field(default_factory=Validation)
    final: Final = field(default_factory=Final)

    def defaults(self) -> dict[str, Value]:
        """The configuration to compare with: fixed values, and the method's default of what is searched (which may
        lie outside the searched range)."""
        return {**{item.name: item.default for item in self.axes}, **self.fixed}

    def distributions(self) -> dict[str, optuna.distributions.BaseDistribution]:
        """One Optuna distribution for each axis, in the order of the axes."""
        return {axis.name: axis.distribution() for axis in self.axes}

    def as_dict(self) -> dict[str, Any]:
        """The space as its file would hold it, complete: every hyper-parameter and every setting."""
        return {
            "method": self.method,
            "space": {**{axis.name: axis.as_dict() for axis in self.axes}, **self.fixed},
            **{section: settings_dict(getattr(self, section)) for section in SECTIONS},
        }

    def to_yaml(self) -> str:
        """The file that `parse` turns into this space again, whatever the defaults are by then."""
        written = self.as_dict()
        for section, values in written.items():
            if section == "space":
                written[section] = {k: _OneLine(v) if isinstance(v, dict) else v for k, v in values.items()}
            elif section != "method":
                written[section] = _OneLine(values)
        return yaml.dump(written, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=math.inf)

    def difference(self, other: Space) -> list[str]:
        """What changed from this space to `other`, a line each: `search.seed: 0 -> 1`. Empty when they are equal."""
        mine, theirs = self.as_dict(), other.as_dict()
        if self.method != other.method:  # another method has other hyper-parameters: no use in listing them
            mine["space"] = theirs["space"] = {}
        return list(_changes("", mine, theirs))

    def notes(self, *, deterministic: bool = False) -> list[str]:
        """What a user should know of a legal space before it runs: settings that have no effect, and the like.

        Args:
            deterministic: of a search in deterministic mode.
        """
        lines = []
        if not self.axes and self.search.trials > 1:
            lines.append(f"nothing is searched: there is one configuration for {self.search.trials} trials")
        for axis in self.axes:
            if not axis.contains(axis.default):
                lines.append(
                    f"the method's default {axis.name} {_inline(axis.default)} lies outside the searched values"
                )
        search, stop = self.search, self.early_stopping
        if self.axes and search.sampler == "tpe" and search.startup_trials >= search.trials:
            lines.append(
                f"every trial is drawn at random: search.startup_trials {search.startup_trials} is not below trials "
                f"{search.trials}"
            )
        elif self.axes and search.sampler == "tpe" and deterministic and search.lag >= search.trials:
            lines.append(f"no suggestion sees a result: search.lag {search.lag} is not below trials {search.trials}")
        if self.final.finalists > search.trials:
            lines.append(
                f"every trial is a finalist: final.finalists {self.final.finalists} is more than trials {search.trials}"
            )
        if isinstance(stop.epochs, int) and stop.grace >= stop.epochs:
            lines.append(
                f"no trial is stopped early: early_stopping.grace {stop.grace} is not below epochs {stop.epochs}"
            )
        return lines


class _OneLine(dict[str, Any]):
    """A mapping written as `{a: 1, b: 2}`."""


class _Dumper(yaml.SafeDumper):
    """Quotes text that YAML 1.1 or 1.2 would read as something else."""


for _tag, _pattern in CORE_SCALARS.items():
    _Dumper.add_implicit_resolver(_tag, _pattern, None)
_Dumper.add_representer(
    _OneLine, lambda dumper, data: dumper.represent_mapping("tag:yaml.org,2002:map", data.items(), flow_style=True)
)


def _changes(name: str, before: Any, after: Any) -> Iterator[str]:
    kinds = name == "early_stopping"  # its keys go with the kind of its horizon
    if isinstance(before, dict) and isinstance(after, dict) and (kinds or before.keys() == after.keys()):
        for key in [*before, *(after.keys() - before.keys())]:
            yield from _changes(f"{name}.{key}" if name else key, before.get(key), after.get(key))
    elif (old := _inline(before)) != (new := _inline(after)):
        yield f"{name}: {old} -> {new}"


def _inline(value: Any) -> str:
    """A value as YAML on one line."""
    text = yaml.dump(
        [value], Dumper=_Dumper, sort_keys=False, default_flow_style=True, allow_unicode=True, width=math.inf
    )
    return text.strip()[1:-1]


def parse(
    text: str,
    *,
    file: str,
    hypers_of: HypersOf,
    method_names: Iterable[str],
    overrides: Sequence[str] = (),
    method: str | None = None,
) -> Space:
    """Reads and checks a space file.

    Args:
        text: the YAML text.
        file: what errors call it.
        hypers_of: the hyper-parameters of a method, by its name; None where the file itself defines them.
        method_names: the names `hypers_of` knows.
        overrides: `key=value` each, applied in this order.
        method: one of them, which the file need not name but must not contradict.

    Raises:
        UserError: anything about the file or an override that is not as it should be, by `file:line` or `--set ...`.
    """
    methods = list(method_names)
    root = read(text, lambda line: f"{file}:{line}")
    if not isinstance(root.value, dict):
        raise UserError(
            f"{root.where}: a space file is a mapping that starts with 'method: NAME'; this one is {root.shown}"
        )
    top = root.value
    for assignment in overrides:
        _override(top, assignment, hypers_of, methods)
    only_keys(top, _TOP, "")
    if method is not None:
        given = top.setdefault("method", Entry(method, file, file))
        if given.value != method:
            raise UserError(f"{given.where}: the space is for the method {given.shown}, not for {method}")
    if "method" not in top:
        raise UserError(f"{file}: no method; write for example 'method: {methods[0]}' ({choices(methods)})")
    named = top["method"]
    if isinstance(named.value, str) and ":" in named.value and named.value not in methods:
        raise UserError(
            f"{named.where}: {shorten(named.value)} is code of your own, which only the command line may name: add\n"
            f"--method {shorten(named.value)} (--train for a training function)"
        )
    name = str(legal(named, Hyper("method", "choice", methods[0], values=tuple(methods)), "method"))
    hypers = hypers_of(name)
    axes, fixed = _hypers(name, hypers, top.get("space"))
    if hypers is None:
        _close_horizon(top, file)
    return Space(
        name,
        axes,
        fixed,
        parse_settings(SearchSettings, "search", top.get("search")),
        parse_settings(EarlyStopping, "early_stopping", top.get("early_stopping")),
        parse_settings(Validation, "validation", top.get("validation")),
        parse_settings(Final, "final", top.get("final")),
    )


def _close_horizon(top: dict[str, Entry], file: str) -> None:
    """Gives a training function, which takes the steps that it likes, a number of epochs where the file has none.

    Raises:
        UserError: the file says `auto`.
    """
    entry = top.setdefault("early_stopping", Entry({}, file, file))
    given = table(entry, "early_stopping", f"early_stopping: {{epochs: {FUNCTION_EPOCHS}}}")
    epochs = given.setdefault("epochs", Entry(FUNCTION_EPOCHS, file, file))
    top["early_stopping"] = Entry(given, entry.where, entry.key_where)
    if epochs.value == AUTO:
        raise UserError(
            f"{epochs.where}: early_stopping.epochs is {AUTO}, which counts a method's optimiser steps; a training "
            f"function takes a number, for example epochs: {FUNCTION_EPOCHS}"
        )


def _hypers(
    method: str, hypers: Mapping[str, Hyper] | None, entry: Entry | None
) -> tuple[tuple[Axis, ...], dict[str, Value]]:
    given = {} if entry is None else table(entry, "space", "space: {margin: 0.2}")
    if hypers is None:
        return free_hypers(given)
    for name, item in given.items():
        if name not in hypers:
            hint = did_you_mean(shorten(name), hypers) or f"; it has {choices(hypers) or 'none'}"
            raise UserError(f"{item.key_where}: method {method} has no hyper-parameter {shorten(name)!r}{hint}")
    axes: list[Axis] = []
    fixed: dict[str, Value] = {}
    for name, hyper in hypers.items():
        if name not in given:
            fixed[name] = hyper.default
        elif isinstance(given[name].value, dict):
            axes.append(parse_axis(given[name], hyper))
        else:
            fixed[name] = legal(given[name], hyper, f"space.{name}")
    return tuple(axes), fixed


def _override(top: dict[str, Entry], assignment: str, hypers_of: HypersOf, method_names: list[str]) -> None:
    """Puts one `key=value` into the entries of a file."""
    where = f"--set {shorten(' '.join(assignment.split()))}"
    key, equals, text = assignment.partition("=")
    path = key.strip().split(".")
    if not equals or not all(path):
        raise UserError(f"{where}: give key=value, for example --set search.trials=64")
    if path[0] not in _TOP:
        method = top["method"].value if "method" in top else None
        hypers = (hypers_of(method) if isinstance(method, str) and method in method_names else None) or {}
        full = [*_TOP, *(f"space.{name}" for name in hypers)]
        full += [f"{section}.{name}" for section, values in SETTINGS.items() for name in values]
        name = shorten(key.strip())
        known = {key if "." in name else key.rpartition(".")[2]: key for key in full}  # `trials` means `search.trials`
        close = difflib.get_close_matches(name, known, n=1)
        hint = f"; did you mean '{known[close[0]]}'?" if close else ""
        raise UserError(f"{where}: unknown key {name!r}; keys start with {choices(_TOP)}{hint}")
    value = read(text, lambda line: where)
    inner = top
    for depth, name in enumerate(path[:-1], start=1):
        entry = inner.get(name)
        if entry is None or entry.value is None:
            entry = inner[name] = Entry({}, where, where)
        if not isinstance(entry.value, dict):
            here = shorten(".".join(path[:depth]))
            raise UserError(f"{where}: {here} is {entry.shown}, which has no keys; set {here} itself")
        inner = entry.value
    if path[0] == "validation" and path[1:] in (["fraction"], ["folds"]):
        inner.pop("fraction", None)  # one replaces the other
        inner.pop("folds", None)
    if path == ["early_stopping", "epochs"]:  # what goes with the other kind of horizon goes with it
        inner.pop("schedule" if value.value == AUTO else "steps", None)
    inner[path[-1]] = Entry(value.value, where, where)


def names() -> list[str]:
    """The names of the spaces that come with avtune."""
    return sorted(_shipped())


def _shipped() -> dict[str, Path]:
    package = Path(__file__).parents[1]
    folders = (package.parent / "search_spaces", package / "search_spaces")  # of a checkout, of an installation
    return {path.stem: path for folder in folders for path in folder.glob("*.yaml")}


def find(name_or_path: str) -> Path:
    """The file of a space: an existing path, or the name of one that comes with avtune (`ave`).

    Raises:
        UserError: there is no such file; the message gives the names there are, and the nearest.
    """
    shipped = _shipped()
    try:
        if Path(name_or_path).is_file():
            return Path(name_or_path)
        beside = [str(path) for path in Path(name_or_path).parent.glob("*.y*ml")]
    except (OSError, ValueError):  # a name that no file can have
        beside = []
    if name_or_path in shipped:
        return shipped[name_or_path]
    given = shorten(name_or_path)
    hint = did_you_mean(given, [*shipped, *beside])
    raise UserError(f"no space file {given!r}; give the path of one, or a name: {choices(shipped) or 'none yet'}{hint}")


def load(
    name_or_path: str | Path,
    *,
    hypers_of: HypersOf,
    method_names: Iterable[str],
    overrides: Sequence[str] = (),
    method: str | None = None,
) -> Space:
    """`parse` of the file that `find` finds.

    Raises:
        UserError: no such file, one that cannot be read, or one that `parse` refuses.
    """
    path = find(str(name_or_path))
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None
    return parse(
        decode(data, str(path)),
        file=str(path),
        hypers_of=hypers_of,
        method_names=method_names,
        overrides=overrides,
        method=method,
    )
