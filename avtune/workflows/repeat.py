"""Whole searches repeated with other search seeds: would another search have named the same winner?

A search seed decides the configurations that are tried, the validation rows, and the seeds of finals and retraining;
the test split stays. Each search is a study like any other, so all of them continue after a kill.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from avtune.core.errors import UserError
from avtune.core.files import write_text
from avtune.core.hyper import Value
from avtune.core.names import is_legal_name
from avtune.finals.scores import mean_score
from avtune.space.space import Space
from avtune.study.best import Best, read_best
from avtune.study.folder import StudyFolder
from avtune.study.results import Results, read_results
from avtune.study.scores import Score
from avtune.study.watch import StudyWatch

FILE = "repeated.json"
"""In the folder of the first study."""

_FURTHER = re.compile(r"-seed\d+$")  # see `further_name`


@dataclass(frozen=True)
class Repeat:
    """One of the searches.

    Attributes:
        folder: of its study.
        seed: of the search.
        results: what its `metrics.json` holds.
        best: what its `best.yaml` holds.
        trials, asked: how many trials it has, and how many it was asked for.
    """

    folder: StudyFolder
    seed: int
    results: Results
    best: Best
    trials: int
    asked: int

    @property
    def ended_early(self) -> bool:
        """Whether it has fewer trials than it was asked for."""
        return self.trials < self.asked

    @property
    def map(self) -> float:
        """Test MAP of its winner, mean over the retraining seeds."""
        return self.results.test.map.mean


@dataclass(frozen=True)
class Spread:
    """A hyper-parameter of the winners: the values of each search, and the part of the searched range that they span;
    None where it is no number. The value is empty where a winner does not have it, since its condition does not hold;
    there is no such part then."""

    name: str
    values: tuple[Value, ...]
    share: float | None


@dataclass(frozen=True)
class Repeats:
    """What several searches found.

    Attributes:
        searches: in the order of their seeds.
        map: test MAP of the winners, with the interval over the searches.
        gain: over the default configuration, search by search; None where one has no default.
        over_reference: over the reference row; None where one has none.
        spreads: of every axis.
        default_won: searches whose winner was the default configuration.
    """

    searches: tuple[Repeat, ...]
    map: Score
    gain: Score | None
    over_reference: Score | None
    spreads: tuple[Spread, ...]
    default_won: int

    def to_json(self) -> dict[str, Any]:
        """As `repeated.json` holds it."""
        return {
            "searches": [
                {
                    "study": one.folder.root.name,
                    "search_seed": one.seed,
                    "trial": one.results.trial,
                    "epochs": one.results.epochs,
                    "selected_on": one.results.selected_on,
                    "configuration": dict(one.best.config),
                    "test": one.results.test.to_json(),
                    "default_map": one.results.default.map.mean if one.results.default else None,
                    "reference_map": one.results.reference.map.mean if one.results.reference else None,
                }
                for one in self.searches
            ],
            "map": self.map.to_json(),
            "gain": None if self.gain is None else self.gain.to_json(),
            "over_reference": None if self.over_reference is None else self.over_reference.to_json(),
            "winners": {one.name: {"values": list(one.values), "share_of_range": one.share} for one in self.spreads},
            "default_won": self.default_won,
        }


def repeats_of(folders: Sequence[StudyFolder], spaces: Sequence[Space]) -> Repeats:
    """What the searches found together.

    Args:
        folders: of finished studies.
        spaces: of each.

    Raises:
        UserError: one is not finished, or a file is damaged.
    """
    searches = []
    for folder, space in zip(folders, spaces, strict=True):
        results, best = read_results(folder), read_best(folder)
        if results is None or best is None:
            raise UserError(f"{folder.root} is not finished; the same command continues")
        trials = len(StudyWatch(folder, lambda method: None).records)
        searches.append(Repeat(folder, space.search.seed, results, best, trials, space.search.trials))
    return Repeats(
        tuple(searches),
        mean_score([one.map for one in searches]),
        _gain([(one.map, one.results.default.map.mean if one.results.default else None) for one in searches]),
        _gain([(one.map, one.results.reference.map.mean if one.results.reference else None) for one in searches]),
        tuple(_spread(spaces[0], axis.name, searches) for axis in spaces[0].axes),
        sum(one.results.default_is_winner is True for one in searches),
    )


def write_repeats(found: Repeats) -> Path:
    """Writes `repeated.json` into the folder of the first search; returns its path."""
    path = found.searches[0].folder.root / FILE
    write_text(path, json.dumps(found.to_json(), indent=2, allow_nan=False) + "\n")
    return path


def forget_repeats(folder: StudyFolder) -> None:
    """Removes the `repeated.json` that counts on the result of a study, which is about to change: the file is in its
    folder, or in that of the search whose repetition it is. The command with `--repeat` writes it anew."""
    first = folder.root.with_name(_FURTHER.sub("", folder.root.name))
    for root in {folder.root, first}:
        path = root / FILE
        if path.is_file() and folder.root.name in named_in(path):
            path.unlink(missing_ok=True)


def further_name(first: str, seed: int) -> str:
    """The name of the study that repeats a search with another search seed."""
    return f"{first}-seed{seed}"


def named_in(path: Path) -> list[str]:
    """The studies that a `repeated.json` counts on, by name; none where it is damaged."""
    try:
        names = [str(one["study"]) for one in json.loads(path.read_text(encoding="utf-8"))["searches"]]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return []
    return names if all(map(is_legal_name, names)) else []


def _gain(pairs: Sequence[tuple[float, float | None]]) -> Score | None:
    known = [one - other for one, other in pairs if other is not None]
    return mean_score(known) if len(known) == len(pairs) else None


def _spread(space: Space, name: str, searches: Sequence[Repeat]) -> Spread:
    axis = next(one for one in space.axes if one.name == name)
    values = tuple(one.best.config.get(name, "") for one in searches)
    if axis.low is None or axis.high is None or "" in values:
        return Spread(name, values, None)
    if axis.low == axis.high:
        return Spread(name, values, 0.0)
    scale = math.log if axis.log else float
    places = [scale(float(value)) for value in values]
    return Spread(name, values, (max(places) - min(places)) / (scale(axis.high) - scale(axis.low)))
