"""Where two contents differ, in a line: what a file holds, and what is made again of it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any


def first_difference(told: Mapping[str, Any], made: Mapping[str, Any]) -> str:
    """The first key of `made` under which `told` holds another value; empty if there is none."""
    for key, value in made.items():
        if told.get(key) != value:
            return f"{key} is {told.get(key)!r}; made again it is {value!r}"[:200]
    return ""


def any_difference(told: Any, made: Any, name: str = "") -> str:
    """As `first_difference`, for content that is made again in full: a key that is not made is a difference too."""
    if isinstance(told, dict) and isinstance(made, dict):
        inside = f"{name}." if name else ""
        for key in [*made, *(key for key in told if key not in made)]:
            where = f"{inside}{key}"
            if key not in made:
                return f"{where} is {told[key]!r}; made again there is none"[:200]
            if key not in told:
                return f"{where} is missing; made again it is {made[key]!r}"[:200]
            if found := any_difference(told[key], made[key], where):
                return found
        return ""
    if isinstance(told, list) and isinstance(made, list) and len(told) == len(made):
        pairs = enumerate(zip(told, made, strict=True))
        return next((found for at, (a, b) in pairs if (found := any_difference(a, b, f"{name}[{at}]"))), "")
    return "" if told == made else f"{name} is {told!r}; made again it is {made!r}"[:200]


def text_difference(path: Path, made: str) -> str:
    """The first line of a file that is another than in `made`; empty if it holds the same."""
    told = path.read_text(encoding="utf-8") if path.is_file() else ""
    if told == made:
        return ""
    pairs = list(zip(told.splitlines(), made.splitlines(), strict=False))
    at = next((number for number, (one, other) in enumerate(pairs, 1) if one != other), len(pairs) + 1)
    return f"line {at} is another than the one made again"
