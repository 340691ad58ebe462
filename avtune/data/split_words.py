"""Words in the names of arrays, files and marks that say which split they are of."""

from __future__ import annotations

import re

SPLIT_WORDS = {
    "train": ("training", "train", "tr"),
    "val": ("validation", "valid", "val", "dev"),
    "test": ("testing", "test", "te", "query"),
}
_INSIDE = {"train": "train", "val": "valid", "test": "test"}
"""What is taken for the split within a word, too: `Xtrain`, `trainimg`."""


def parted(name: str) -> tuple[str, tuple[str, ...]]:
    """The split that a name is of (`train`, `val`, `test`, empty for none), and its other words in lower case.

    >>> parted("X_img_tr"), parted("trainLabels"), parted("vggish")
    (('train', ('x', 'img')), ('train', ('labels',)), ('', ('vggish',)))
    """
    words = [word for word in re.split(r"[^a-z0-9]+", re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", name).lower()) if word]
    for split, marks in SPLIT_WORDS.items():
        for mark in marks:
            if mark in words:
                words.remove(mark)
                return split, tuple(words)
    for split, inside in _INSIDE.items():
        for at, word in enumerate(words):
            if inside in word:
                return split, (*words[:at], word.replace(inside, "", 1), *words[at + 1 :])
    return "", tuple(words)
