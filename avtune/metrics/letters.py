"""The compact letter display: between which systems no difference was found, as letters behind their scores."""

from __future__ import annotations

from itertools import combinations_with_replacement
from string import ascii_letters

import numpy as np
import numpy.typing as npt


def groups(differ: npt.ArrayLike) -> list[tuple[int, ...]]:
    """Sets of systems, such that two systems are together in one of them exactly when no difference was found between
    them.

    Every set is as large as can be, and none is there in vain: without it two such systems would not meet (the display
    of Piepho 2004; sets are grown greedily, so that their number is small but not always the smallest).

    Args:
        differ: bool [n, n], symmetric, False on the diagonal. With the systems in the order of their scores, the first
            set holds the best one.

    Returns:
        Ascending indices of each set; the sets in the order of their indices.
    """
    same = ~np.asarray(differ, dtype=bool)
    count = len(same)
    assert same.shape == (count, count)
    assert (same == same.T).all()
    assert same.diagonal().all()
    met = np.zeros((count, count), dtype=int)
    found: list[tuple[int, ...]] = []
    for pair in combinations_with_replacement(range(count), 2):
        if met[pair] or not same[pair]:
            continue
        members = set(pair)
        for other in range(count):
            if same[other, list(members)].all():
                members.add(other)
        found.append(tuple(sorted(members)))
        met[np.ix_(found[-1], found[-1])] += 1
    for group in list(found):
        if (met[np.ix_(group, group)] > 1).all():
            met[np.ix_(group, group)] -= 1
            found.remove(group)
    return sorted(found)


def letters(differ: npt.ArrayLike) -> list[str]:
    """The letters of each system, e.g. `["a", "ab", "b"]`: two share a letter exactly when no difference was found
    between them.

    Args:
        differ: as `groups` takes it.
    """
    found = groups(differ)
    return [
        "".join(_letter(place) for place, group in enumerate(found) if system in group)
        for system in range(len(np.asarray(differ)))
    ]


def _letter(place: int) -> str:
    """One character, so that a set can be read from a text: a to Z, then Latin Extended-A and -B of Unicode, then
    ideographs."""
    further = place - len(ascii_letters)
    if further < 0:
        return ascii_letters[place]
    return chr(0x100 + further) if further < 336 else chr(0x4E00 + further - 336)
