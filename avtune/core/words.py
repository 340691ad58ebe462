"""Words for numbers of things, and the room that words take on a terminal."""

from __future__ import annotations

import unicodedata


def plural(count: int, one: str, many: str = "") -> str:
    """`1 clip`, `2 clips`.

    >>> plural(1, "clip"), plural(2, "class", "classes")
    ('1 clip', '2 classes')
    """
    return f"{count} {one if count == 1 else many or one + 's'}"


def cell_len(text: str) -> int:
    """How many cells of a terminal the text takes: wide letters two, combining marks none.

    >>> cell_len("map"), cell_len("声音"), cell_len("e\\N{COMBINING ACUTE ACCENT}")
    (3, 4, 1)
    """
    if text.isascii():
        return len(text)
    shown = (letter for letter in text if unicodedata.category(letter) not in ("Mn", "Me", "Cf"))
    return sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in shown)
