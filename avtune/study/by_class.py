"""`final/by_class.json`: what the retrained winner does on the test split, class by class."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from avtune.core.errors import UserError
from avtune.core.files import write_text
from avtune.core.schema import fitting
from avtune.study.folder import StudyFolder

MACRO = "macro_map"
MEASURES = {
    "map_at_r": (
        "MAP@R",
        "precision at the relevant clips among the first R, summed and divided by R, how many there are",
    ),
    "map_at_10": (
        "MAP@10",
        "precision at the relevant clips among the first 10, divided by R, or by 10 if that is less",
    ),
    "map_at_50": ("MAP@50", "the same of the first 50"),
    "map_found_at_50": ("MAP@50 of found", "the same divided by how many of the first 50 are relevant"),
    "ndcg": ("NDCG", "1 / log2(1 + rank) summed over the relevant clips, divided by the highest possible sum"),
    "ndcg_at_10": ("NDCG@10", "the same of the first 10"),
}
"""Scores beside MAP: name and definition by key; `metrics.cutoffs` has their sources."""

_EXAMPLE = {"query": int, "ap": float, "clips": [int]}
_WAY = {
    "map": [(float, None)],
    "curve": [float],
    "examples": [_EXAMPLE],
    "confusion?": [[float]],
    "mean?": float,
    "measures?": {str: float},
}
_SHAPE = {"classes": [str], "clips": [int], "labels": ([[int]], [int]), "a2v": _WAY, "v2a": _WAY}


@dataclass(frozen=True)
class Example:
    """A query and what it finds first.

    Attributes:
        query: the place of its clip in the test split.
        ap: its average precision.
        clips: places of the clips that are found, nearest first.
    """

    query: int
    ap: float
    clips: tuple[int, ...]

    def to_json(self) -> dict[str, Any]:
        """As the file holds it."""
        return {"query": self.query, "ap": self.ap, "clips": list(self.clips)}


@dataclass(frozen=True)
class Way:
    """One direction of retrieval.

    Attributes:
        map: MAP of each class's queries, mean over the seeds; None for a class without test clips.
        curve: interpolated precision at the recall levels 0, .01, ..., 1, of the saved model.
        examples: queries of the saved model, lowest average precision first.
        confusion: how often a query of one class (row) finds one of another (column) first, of the saved model; None
            where there are too many classes. A clip of several labels counts for each of them in parts.
        mean: MAP over the queries, mean over the seeds, where clips have several labels; else None: it follows from
            `map` and the clips of each class.
        measures: other scores of the saved model, of `MEASURES`, those at ranks that the test split has; None of a
            file of an older avtune.
    """

    map: tuple[float | None, ...]
    curve: tuple[float, ...]
    examples: tuple[Example, ...]
    confusion: tuple[tuple[float, ...], ...] | None = None
    mean: float | None = None
    measures: Mapping[str, float] | None = None

    @property
    def macro(self) -> float:
        """Mean of MAP over the classes that have test clips."""
        known = [value for value in self.map if value is not None]
        return sum(known) / max(1, len(known))

    def to_json(self) -> dict[str, Any]:
        """As the file holds it."""
        facts: dict[str, Any] = {"map": list(self.map), "curve": list(self.curve)}
        facts["examples"] = [one.to_json() for one in self.examples]
        facts |= {} if self.mean is None else {"mean": self.mean}
        facts |= {} if self.measures is None else {"measures": dict(self.measures)}
        return facts if self.confusion is None else facts | {"confusion": [list(row) for row in self.confusion]}

    @staticmethod
    def from_json(facts: Mapping[str, Any]) -> Way:
        """From checked JSON."""
        confusion = facts.get("confusion")
        return Way(
            tuple(facts["map"]),
            tuple(facts["curve"]),
            tuple(Example(one["query"], one["ap"], tuple(one["clips"])) for one in facts["examples"]),
            None if confusion is None else tuple(map(tuple, confusion)),
            facts.get("mean"),
            facts.get("measures"),
        )


@dataclass(frozen=True)
class ByClass:
    """What the file holds.

    Attributes:
        classes: their names.
        clips: test clips of each; a clip of several labels counts for each of them.
        labels: class of each test clip; or its classes, where clips have several labels.
        a2v, v2a: audio queries and visual gallery, and the reverse.
    """

    classes: tuple[str, ...]
    clips: tuple[int, ...]
    labels: tuple[int | tuple[int, ...], ...]
    a2v: Way
    v2a: Way

    @property
    def measures(self) -> dict[str, dict[str, float]] | None:
        """`macro_map` over the seeds and `MEASURES` of the saved model, by direction and their `mean`; None where the
        file has none."""
        if self.a2v.measures is None or self.v2a.measures is None:
            return None
        ways = {
            name: {MACRO: way.macro, **(way.measures or {})} for name, way in (("a2v", self.a2v), ("v2a", self.v2a))
        }
        return {"mean": {name: (ways["a2v"][name] + ways["v2a"][name]) / 2 for name in ways["a2v"]}, **ways}

    def to_json(self) -> dict[str, Any]:
        """As the file holds it."""
        facts: dict[str, Any] = {"classes": list(self.classes), "clips": list(self.clips), "labels": [*self.labels]}
        return facts | {"a2v": self.a2v.to_json(), "v2a": self.v2a.to_json()}


def write_by_class(folder: StudyFolder, found: ByClass) -> None:
    """Writes `final/by_class.json`."""
    write_text(folder.by_class, json.dumps(found.to_json(), allow_nan=False) + "\n")


def read_by_class(folder: StudyFolder) -> ByClass | None:
    """`final/by_class.json`; None where there is none: before the end, and of an avtune that wrote none.

    Raises:
        UserError: it cannot be read, or is damaged.
    """
    path = folder.by_class
    if not path.is_file():
        return None
    try:
        read = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path} cannot be read: {str(error).splitlines()[0]}") from None
    facts = fitting(read, _SHAPE, path)
    count, clips = len(facts["classes"]), len(facts["labels"])
    whole = [len(facts["clips"]) == count, all(0 <= label < count for label in _every(facts["labels"]))]
    for way in (facts["a2v"], facts["v2a"]):
        whole += [len(way["map"]) == count, all(len(row) == count for row in way.get("confusion", [[0] * count]))]
        whole += [len(way.get("confusion", way["map"])) == count, way.get("measures", {}).keys() <= MEASURES.keys()]
        places = [clip for one in way["examples"] for clip in (one["query"], *one["clips"])]
        whole.append(all(0 <= place < clips for place in places))
    whole.append(facts["a2v"].get("measures", {}).keys() == facts["v2a"].get("measures", {}).keys())
    if not all(whole):
        raise UserError(f"{path} is damaged: its parts do not match; restore it from a copy")
    made = (Way.from_json(facts[way]) for way in ("a2v", "v2a"))
    labels = tuple(tuple(one) if isinstance(one, list) else one for one in facts["labels"])
    return ByClass(tuple(facts["classes"]), tuple(facts["clips"]), labels, *made)


def _every(labels: list[Any]) -> list[int]:
    return [one for label in labels for one in (label if isinstance(label, list) else [label])]
