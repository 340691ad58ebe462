"""Simulated searches for `benchmarks.defaults` and `benchmarks.rungs`: variants of a search, their regret and cost.

A variant is run over the same search seeds as the shipped one, so that differences are taken search by search. Regret
is what the chosen configuration lacks of the best one known: both by the surrogate's mean curve, in which there is no
seed's luck. Best known is the best of the recorded configurations, of 2,000 random ones, and of all that any search
here chose.
"""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from functools import cache, partial
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

from avtune.core.trial import Trial
from avtune.runners._base import Placement
from avtune.runners.costs import DEVICES, Costs, EpochCost, Size
from avtune.space.settings import SECTIONS
from avtune.space.space import Space
from avtune.study.recorded_curves import SUFFIX, RecordedCurves, read_recorded
from avtune.study.rungs import RungPolicy
from avtune.study.simulated_curves import Spread, Surrogate
from avtune.workflows.open_study import horizon_of
from avtune.workflows.simulated_search import Setting, simulate, usual_finals
from benchmarks import _report
from benchmarks.record_curves import FOLDER

SUGGESTION = 0.01
RESAMPLES = 4000


@dataclass(frozen=True)
class Variant:
    """What differs from the shipped search.

    Attributes:
        name: in tables.
        group: variants of one group are shown together.
        settings: of the space, e.g. `{"search.startup_trials": 5}`.
        lanes: trials at a time of each of the two engines.
        rungs: makes another rung policy from the space; None for the shipped one.
        patch: what is replaced meanwhile, by its dotted name, and by what. A name travels to other processes, a module
            does not.
        finals: whether finalists are repeated.
    """

    name: str
    group: str
    settings: dict[str, Any] = field(default_factory=dict)
    lanes: int = 4
    rungs: Callable[[Space], RungPolicy] | None = None
    patch: tuple[tuple[str, Any], ...] = ()
    finals: bool = True


@dataclass(frozen=True)
class Outcome:
    """What one simulated search came to: what its choice and its best trial are worth, lane-epochs of its search and of
    its finals, seconds of the whole command, and trials that were stopped."""

    worth: float
    first: float
    search: int
    finals: int
    seconds: float
    stopped: int


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--curves", default="demo", help="names in benchmarks/curves, or files, by commas (demo)")
    parser.add_argument("--searches", type=int, default=200, help="simulated searches of a variant (200)")
    parser.add_argument("--trials", type=int, help="of a search (as the space has it)")
    parser.add_argument("--jobs", type=int, default=1, help="processes (1)")


@cache
def recorded(name: str) -> RecordedCurves:
    """The curves of a name in `benchmarks/curves`, or of a path."""
    path = Path(name)
    return read_recorded(path if path.is_file() else FOLDER / f"{name}{SUFFIX}")


@cache
def _fitted(name: str) -> Surrogate:
    return Surrogate(recorded(name))


def changed(space: Space, settings: dict[str, Any]) -> Space:
    """The space with other settings, `section.key` each."""
    for name, value in settings.items():
        section, key = name.split(".")
        assert section in SECTIONS
        space = replace(space, **{section: replace(getattr(space, section), **{key: value})})
    return space


def one_search(name: str, variant: Variant, trials: int | None, seed: int) -> Outcome:
    """A simulated search."""
    curves, known = _fitted(name), recorded(name)
    more = {} if trials is None else {"search.trials": trials}
    space = changed(known.space, {**more, **variant.settings, "search.seed": seed})
    policy = space.final.policy or space.final.usual_policy(shared=False)  # that of a search on CPU cores
    space = changed(space, {"final.policy": policy})
    size = Size(known.rows, round(known.rows / 4), (128, 1024))
    setting = Setting(
        horizon_of(space, known.rows),
        curves,
        _costs(size, fp32=False),
        _costs(replace(size, rows=known.rows * 5 // 4, validation_rows=0), fp32=True),
        Placement(2, 0, 1, variant.lanes, 8),
        rungs=None if variant.rungs is None else partial(variant.rungs, space),
        choose=usual_finals if variant.finals else None,
    )
    with contextlib.ExitStack() as patches:
        for replaced, value in variant.patch:
            patches.enter_context(mock.patch(replaced, value))
        found = simulate(setting)
    assert found.winner is not None
    assert found.first is not None
    return Outcome(
        curves.value(found.winner),
        curves.value(found.first),
        found.search.epochs,
        found.repeats.epochs,
        found.seconds,
        found.stopped,
    )


def _costs(size: Size, *, fp32: bool) -> Costs:
    known: dict[object, EpochCost] = {}

    def epoch_of(trial: Trial) -> EpochCost:
        key = trial.config.get("batch_size")
        if key not in known:
            known[key] = size.epoch(DEVICES["cpu"], trial.config, fp32=fp32)
        return known[key]

    return Costs(epoch_of, start=DEVICES["cpu"].start, suggestion=SUGGESTION)


def run(
    name: str, variants: Sequence[Variant], given: argparse.Namespace, trials: int | None
) -> dict[str, list[Outcome]]:
    """Every variant over the same seeds, from 0."""
    results: dict[str, list[Outcome]] = {}
    with _mapping(given.jobs) as do:
        for variant in variants:
            results[variant.name] = list(do(partial(one_search, name, variant, trials), range(given.searches)))
            worth = np.mean([one.worth for one in results[variant.name]])
            print(f"{name}: {variant.name}: {given.searches} searches, worth {worth:.4f}", flush=True)
    return results


@contextlib.contextmanager
def _mapping(jobs: int) -> Iterator[Callable[..., Any]]:
    if jobs == 1:
        yield map
        return
    with ProcessPoolExecutor(jobs) as pool:
        yield partial(pool.map, chunksize=5)


def best_known(name: str, results: dict[str, list[Outcome]]) -> float:
    """See the head of this file."""
    return max(_fitted(name).most, max(one.worth for found in results.values() for one in found))


def interval(values: Sequence[float]) -> tuple[float, float, float]:
    """Mean of independent searches with its 95 % bootstrap interval."""
    draw, given = np.random.default_rng(0), np.asarray(values)
    means = given[draw.integers(len(given), size=(RESAMPLES, len(given)))].mean(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    return float(given.mean()), float(low), float(high)


def spread_of(name: str) -> float:
    """The seeds' spread of the recorded runs."""
    return Spread(recorded(name)).value


HEAD = [
    "",
    "regret",
    "less than shipped's",
    "regret before the finals",
    "stopped",
    "search epochs",
    "final epochs",
    "s",
]
READING = (
    "Regret: what the chosen configuration lacks of the best one known, in validation MAP of its mean curve; mean over "
    "the searches with its 95 % bootstrap interval. Less than shipped's: the shipped search's regret minus this one's, "
    "search by search (above 0 is better than shipped), with its interval. Before the finals: regret of the trial with "
    "the highest validation MAP. Epochs are lane-epochs; s: seconds of the whole simulated command with finals and "
    "retraining, two CPU engines."
)


def rows(results: dict[str, list[Outcome]], names: Sequence[str], shipped: str, best: float) -> list[list[str]]:
    """The table's rows, one a variant."""
    base = results[shipped]
    made = []
    for name in names:
        found = results[name]
        better = interval([one.worth - other.worth for one, other in zip(found, base, strict=True)])
        mark = "**" if name == shipped else ""
        made.append(
            [
                f"{mark}{name}{mark}",
                _with_ends(interval([best - one.worth for one in found])),
                "–" if name == shipped else _signed(better),
                f"{best - float(np.mean([one.first for one in found])):.4f}",
                f"{np.mean([one.stopped for one in found]):.1f}",
                f"{np.mean([one.search for one in found]):.0f}",
                f"{np.mean([one.finals for one in found]):.0f}",
                f"{np.mean([one.seconds for one in found]):.0f}",
            ]
        )
    return made


def verdict(results: dict[str, list[Outcome]], shipped: str) -> str:
    """The claim with what was found: which variants' regret differs from the shipped one's by more than chance."""
    base = results[shipped]
    apart = {
        name: interval([one.worth - other.worth for one, other in zip(found, base, strict=True)])
        for name, found in results.items()
        if name != shipped
    }
    return verdict_of(apart)


def verdict_of(apart: dict[str, tuple[float, float, float]]) -> str:
    """As `verdict`, from the differences with their intervals, by variant. So many intervals are looked at that one in
    twenty of them would leave out 0 by chance alone."""
    better = [f"{name} {_signed(one)}" for name, one in apart.items() if one[1] > 0]
    worse = [f"{name} {_signed(one)}" for name, one in apart.items() if one[2] < 0]
    chance = f"Of {len(apart)} intervals of 95 %, about {len(apart) / 20:.1f} would leave out 0 by chance alone."
    return (
        f"Less regret than shipped's, the whole interval above 0: {', '.join(better) or 'none'}. "
        f"More, the whole interval below 0: {', '.join(worse) or 'none'}. {chance}"
    )


def _with_ends(found: tuple[float, float, float]) -> str:
    return "{:.4f} ({:.4f} to {:.4f})".format(*found)


def _signed(found: tuple[float, float, float]) -> str:
    return "{:+.4f} ({:+.4f} to {:+.4f})".format(*found)


def about(name: str, searches: int, trials: int) -> str:
    """What a table rests on."""
    known = recorded(name)
    return (
        f"{searches} simulated searches a variant, {trials} trials each. Curves: a Gaussian process over "
        f"{len(known.by_configuration)} recorded configurations, {len(known.runs)} runs; a trial has the "
        "form of a recorded run (`avtune/study/simulated_curves.py`); over seeds a run's best value has a standard "
        f"deviation of {spread_of(name):.4f}. Of a configuration that it was not fitted to, the surrogate knows the "
        f"best value with a correlation of {_fitted(name).left_out:.2f} (leave-one-out). Epochs of a trial: "
        f"{known.space.early_stopping.epochs}."
    )


def title_of(name: str) -> str:
    """A name, or that of a file without its endings."""
    return Path(name).name.removesuffix(SUFFIX)


def write(claim: str, curves: str, title: str, sections: Sequence[str], folder: Path) -> Path:
    """Writes the report.

    Args:
        curves: as `--curves` names them; a part of the file's name.
    """
    called = "-".join([claim, *map(title_of, curves.split(","))])
    return _report.write(called, title, sections, ["optuna", "scikit-learn", "numpy"], folder)
