"""The test split class by class, as the report page has it."""

from __future__ import annotations

from typing import TypedDict

from avtune.core.view_names import ways
from avtune.study.by_class import ByClass, Way


class Retrieved(TypedDict):
    """An example: a query and what it finds first.

    Attributes:
        query: the place of its clip in the test split, and its class.
        ap: its average precision.
        found: place and class of each clip that is found, nearest first.
    """

    query: tuple[int, int]
    ap: float
    found: list[tuple[int, int]]


class Direction(TypedDict):
    """From the first view to the second, or back.

    Attributes:
        map: MAP of each class, None for one without test clips.
        macro, micro: the mean over classes, and over queries.
        curve: interpolated precision at the recall levels 0, .01, ..., 1.
        confusion: share of a class's queries (row) whose nearest clip is of another class (column); None for too many
            classes.
        examples: lowest average precision first.
    """

    map: list[float | None]
    macro: float
    micro: float
    curve: list[float]
    confusion: list[list[float]] | None
    examples: list[Retrieved]


class Classes(TypedDict):
    """The classes by name, the test clips of each, both directions, and what these are called."""

    ways: dict[str, str]
    names: list[str]
    clips: list[int]
    a2v: Direction
    v2a: Direction


def classes(found: ByClass | None, views: tuple[str, str]) -> Classes | None:
    """None where the study's files do not say.

    Args:
        views: their names.
    """
    if found is None:
        return None
    return {
        "ways": ways(views, " to "),
        "names": list(found.classes),
        "clips": list(found.clips),
        "a2v": _direction(found, found.a2v),
        "v2a": _direction(found, found.v2a),
    }


def _direction(found: ByClass, way: Way) -> Direction:
    known = [(value, count) for value, count in zip(way.map, found.clips, strict=True) if value is not None]
    clips = max(1, sum(count for _, count in known))
    return {
        "map": [None if value is None else round(value, 4) for value in way.map],
        "macro": round(sum(value for value, _ in known) / max(1, len(known)), 4),
        "micro": round(sum(value * count for value, count in known) / clips, 4),
        "curve": [round(value, 4) for value in way.curve],
        "confusion": None if way.confusion is None else _shares(way.confusion, found.clips),
        "examples": [
            {
                "query": (one.query, found.labels[one.query]),
                "ap": round(one.ap, 4),
                "found": [(clip, found.labels[clip]) for clip in one.clips],
            }
            for one in way.examples
        ],
    }


def _shares(table: tuple[tuple[float, ...], ...], clips: tuple[int, ...]) -> list[list[float]]:
    return [
        [round(value / count, 4) if count else 0.0 for value in row] for row, count in zip(table, clips, strict=True)
    ]
