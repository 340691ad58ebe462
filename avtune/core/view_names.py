"""Names of the two views of a dataset, and of the directions of retrieval between them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

VIEWS = ("audio", "visual")
"""Where nobody names them. Code calls the first view audio and the second visual, whatever their names."""


def ways(views: tuple[str, str], between: str = "->") -> dict[str, str]:
    """What tables call the two directions, by their keys in files.

    >>> ways(("image", "text"))
    {'a2v': 'image->text', 'v2a': 'text->image'}
    """
    first, second = views
    return {"a2v": f"{first}{between}{second}", "v2a": f"{second}{between}{first}"}


def views_in(facts: Mapping[str, Any]) -> tuple[str, str]:
    """The names that a settings file has of its dataset; `VIEWS` where it has none, as those of older versions."""
    names = facts.get("views")
    if isinstance(names, list) and len(names) == 2 and all(isinstance(one, str) and one.isprintable() for one in names):
        return names[0], names[1]
    return VIEWS
