"""The test split class by class, as the report page has it."""

from __future__ import annotations

from typing import TypedDict

from avtune.core.view_names import ways
from avtune.study.by_class import ByClass, Way


class Retrieved(TypedDict):
    """An example: a query and what it finds first.

    Attributes:
        query: the place of its clip in the test split, and its classes.
        ap: its average precision.
        found: place and classes of each clip that is found, nearest first.
    """

    query: tuple[int, tuple[int, ...]]
    ap: float
    found: list[tuple[int, tuple[int, ...]]]


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
    """The classes by name, the test clips of each, both directions, what these are called, and `ByClass.measures`."""

    ways: dict[str, str]
    measures: dict[str, dict[str, float]] | None
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
        "measures": _rounded(found.measures),
        "names": list(found.classes),
        "clips": list(found.clips),
        "a2v": _direction(found, found.a2v),
        "v2a": _direction(found, found.v2a),
    }


def _rounded(measures: dict[str, dict[str, float]] | None) -> dict[str, dict[str, float]] | None:
    if measures is None:
        return None
    return {way: {name: round(value, 4) for name, value in of.items()} for way, of in measures.items()}


def _direction(found: ByClass, way: Way) -> Direction:
    known = [(value, count) for value, count in zip(way.map, found.clips, strict=True) if value is not None]
    clips = max(1, sum(count for _, count in known))
    micro = sum(value * count for value, count in known) / clips if way.mean is None else way.mean
    return {
        "map": [None if value is None else round(value, 4) for value in way.map],
        "macro": round(sum(value for value, _ in known) / max(1, len(known)), 4),
        "micro": round(micro, 4),
        "curve": [round(value, 4) for value in way.curve],
        "confusion": None if way.confusion is None else _shares(way.confusion),
        "examples": [
            {
                "query": _clip(found, one.query),
                "ap": round(one.ap, 4),
                "found": [_clip(found, clip) for clip in one.clips],
            }
            for one in way.examples
        ],
    }


def _clip(found: ByClass, clip: int) -> tuple[int, tuple[int, ...]]:
    of = found.labels[clip]
    return clip, of if isinstance(of, tuple) else (of,)


def _shares(table: tuple[tuple[float, ...], ...]) -> list[list[float]]:
    """Each row by its sum: its queries."""
    return [[round(value / sum(row), 4) if any(row) else 0.0 for value in row] for row in table]
