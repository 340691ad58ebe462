"""Words for numbers of things."""

from __future__ import annotations


def plural(count: int, one: str, many: str = "") -> str:
    """`1 clip`, `2 clips`.

    >>> plural(1, "clip"), plural(2, "class", "classes")
    ('1 clip', '2 classes')
    """
    return f"{count} {one if count == 1 else many or one + 's'}"
