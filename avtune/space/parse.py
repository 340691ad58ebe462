"""Space files: YAML -> a checked `Space`.

The format:

    method: psd
    space:
      margin: {type: float, low: 0.05, high: 1.0}        # searched
      embedding_dim: 64                                  # a bare value is fixed; what is not named keeps its default
    search: {sampler: tpe, trials: 200, seed: 0}
    early_stopping: {epochs: auto, grace: 3, factor: 3}  # or a number of epochs
    constraints: [w_dis < w_cross]                       # what every configuration fulfils, see `constraints`
    validation: {fraction: 0.2}                          # or {folds: 5}, {split: given}
    final: {finalists: 3, seeds: 5}
    bench: {hidden_dim: 512}                             # rarely; see below

An axis may have a condition, `when: {mining: hard}`, see `conditions`.
`--set search.trials=64` overrides one value by its dotted key; the last of several wins. `bench` holds what
`avtune bench` takes in place of the same hyper-parameters of `space`, where it chooses the file; one that `--space`
names is taken as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from avtune.core.errors import UserError, choices, did_you_mean
from avtune.core.hyper import Hyper, Value
from avtune.space.axis import Axis, parse_axis
from avtune.space.checks import legal, only_keys, table
from avtune.space.conditions import with_conditions
from avtune.space.constraints import Constraint, parse_constraints
from avtune.space.drawing import check_constraints
from avtune.space.free import free_hypers
from avtune.space.overrides import override
from avtune.space.settings import (
    AUTO,
    FUNCTION_EPOCHS,
    SECTIONS,
    EarlyStopping,
    Final,
    SearchSettings,
    Validation,
    parse_settings,
)
from avtune.space.space import Space
from avtune.space.yaml_lines import Entry, read, shorten

HypersOf = Callable[[str], Mapping[str, Hyper] | None]
TOP = ("method", "space", "constraints", *SECTIONS)
"""The keys that a space file may have at its top, beside `bench`."""


def parse(
    text: str,
    *,
    file: str,
    hypers_of: HypersOf,
    method_names: Iterable[str],
    overrides: Sequence[str] = (),
    method: str | None = None,
    bench: bool = False,
) -> Space:
    """Reads and checks a space file.

    Args:
        text: the YAML text.
        file: what errors call it.
        hypers_of: the hyper-parameters of a method, by its name; None where the file itself defines them.
        method_names: the names `hypers_of` knows.
        overrides: `key=value` each, applied in this order.
        method: one of them, which the file need not name but must not contradict.
        bench: take what the file's `bench` says in place of the same hyper-parameters of `space`.

    Raises:
        UserError: anything about the file or an override that is not as it should be, by `file:line` or `--set ...`.
    """
    methods = list(method_names)
    top = _top(text, file)
    for assignment in overrides:
        override(top, assignment, TOP, lambda name: hypers_of(name) if name in methods else None)
    only_keys(top, (*TOP, "bench"), "")
    name = _method(top, file, methods, method)
    hypers = hypers_of(name)
    axes, fixed = _hypers(name, hypers, top.get("space"))
    if "bench" in top:  # checked also where it is not asked for
        among_others = _hypers(name, hypers, _with_bench(top["bench"], top.get("space")))
        axes, fixed = among_others if bench else (axes, fixed)
    if hypers is None:
        _close_horizon(top, file)
    search = parse_settings(SearchSettings, "search", top.get("search"))
    if search.sampler == "grid":
        _check_grid(axes, top["search"])
    space = Space(
        name,
        axes,
        fixed,
        search,
        parse_settings(EarlyStopping, "early_stopping", top.get("early_stopping")),
        parse_settings(Validation, "validation", top.get("validation")),
        parse_settings(Final, "final", top.get("final")),
        constraints_of(top, axes, fixed),
        _off(hypers, axes, fixed),
    )
    check_constraints(space)
    if space.final.reshuffle and space.validation.split is not None:
        raise UserError(
            f"{file}: final.reshuffle draws validation rows for each seed, and validation.split is "
            f"{space.validation.split}; keep one"
        )
    return space


def constraints_of(
    top: Mapping[str, Entry], axes: Sequence[Axis], fixed: Mapping[str, Value]
) -> tuple[Constraint, ...]:
    """The constraints that a file has.

    Args:
        top: its entries.
        axes, fixed: what they may name.

    Raises:
        UserError: one of them is none, or the fixed values alone break it.
    """
    if "constraints" not in top:
        return ()
    numbers = {name for name, value in fixed.items() if not isinstance(value, bool | str)}
    numbers |= {axis.name for axis in axes if not any(isinstance(value, bool | str) for value in axis.values)}
    others = {*fixed, *(axis.name for axis in axes)} - numbers
    found = parse_constraints(top["constraints"], sorted(numbers), others)
    for one in found:
        if one.names <= fixed.keys() and not one.holds(fixed):
            values = ", ".join(f"{name} is {fixed[name]}" for name in sorted(one.names))
            raise UserError(
                f"{top['constraints'].where}: {one.text} does not hold: {values}; take it out, or search one"
            )
    return found


def _off(hypers: Mapping[str, Hyper] | None, axes: Sequence[Axis], fixed: Mapping[str, Value]) -> dict[str, Value]:
    named = {*fixed, *(axis.name for axis in axes)}
    return {name: hyper.default for name, hyper in (hypers or {}).items() if hyper.extra and name not in named}


def _top(text: str, file: str) -> dict[str, Entry]:
    """The entries of the whole file."""
    root = read(text, lambda line: f"{file}:{line}")
    if not isinstance(root.value, dict):
        raise UserError(
            f"{root.where}: a space file is a mapping that starts with 'method: NAME'; this one is {root.shown}"
        )
    return root.value


def _method(top: dict[str, Entry], file: str, methods: list[str], wanted: str | None) -> str:
    """The method that the file names, or the wanted one where it names none."""
    if wanted is not None:
        given = top.setdefault("method", Entry(wanted, file, file))
        if given.value != wanted:
            raise UserError(f"{given.where}: the space is for the method {given.shown}, not for {wanted}")
    if "method" not in top:
        raise UserError(f"{file}: no method; write for example 'method: {methods[0]}' ({choices(methods)})")
    named = top["method"]
    if isinstance(named.value, str) and ":" in named.value and named.value not in methods:
        raise UserError(
            f"{named.where}: {shorten(named.value)} is code of your own, which only the command line may name: add\n"
            f"--method {shorten(named.value)} (--train for a training function)"
        )
    return str(legal(named, Hyper("method", "choice", methods[0], values=tuple(methods)), "method"))


def _check_grid(axes: Sequence[Axis], search: Entry) -> None:
    """Raises:
    UserError: an axis is continuous, and has no points for a grid.
    """
    endless = next((axis for axis in axes if axis.kind == "float" and axis.step is None), None)
    if endless is not None:
        assert isinstance(search.value, dict)
        raise UserError(
            f"{search.value['sampler'].where}: search.sampler is grid, and {endless.name} is continuous; give it a "
            f"step, or values: {endless.name}: {{type: choice, values: [{endless.low:g}, {endless.high:g}]}}"
        )


def _with_bench(bench: Entry, space: Entry | None) -> Entry:
    """The entry `space` with what `bench` says in place of the same hyper-parameters."""
    of_space = space.value if space is not None and isinstance(space.value, dict) else {}
    return Entry({**of_space, **table(bench, "bench", "bench: {hidden_dim: 512}")}, bench.where, bench.key_where)


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
            if not hyper.extra:
                fixed[name] = hyper.default
        elif isinstance(given[name].value, dict):
            axes.append(parse_axis(given[name], hyper))
        else:
            value = legal(given[name], hyper, f"space.{name}")
            if not (hyper.extra and value == hyper.default):
                fixed[name] = value
    return with_conditions(axes, fixed, given), fixed
