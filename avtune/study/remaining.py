"""Whether a space has configurations that have not been suggested yet."""

from __future__ import annotations

import random
from collections.abc import Collection, Iterable, Mapping
from functools import cached_property

from avtune.core.hyper import Value
from avtune.core.seeds import mix
from avtune.space.drawing import legal_point
from avtune.space.space import Space
from avtune.study.grid import MOST_POINTS, Key, grid_size, key_of, legal_points

DRAWS = 500
"""Of a space with conditions or constraints whose points are not listed: so many random ones are drawn that all have
been suggested before it counts as used up."""


class Remaining:
    """What is left of a space. The same for the same space and the same suggestions, whoever asks and when.

    Args:
        space: what is searched.
    """

    def __init__(self, space: Space) -> None:
        self._space = space
        self._draws = 0
        self._drawn: dict[str, Value] = {}

    @cached_property
    def points(self) -> list[dict[str, Value]] | None:
        """Those of a finite space with conditions or constraints; None for others, and where there are too many to
        list."""
        return None if self._space.is_plain else legal_points(self._space)

    @cached_property
    def size(self) -> int | None:
        """How many configurations there are; None where they are not counted."""
        if self._space.is_plain:
            return grid_size(self._space.distributions())
        return None if self.points is None else len(self.points)

    def used_up(self, seen: Collection[Key]) -> bool:
        """Whether every configuration has been suggested, as far as it is found out.

        Args:
            seen: those that have been.
        """
        if not self._space.is_plain and self.drawn(seen) is not None:  # before all of them are listed
            return False
        if self.size is not None:
            return len(seen) >= self.size
        return not self._space.is_plain

    def drawn(self, seen: Collection[Key]) -> dict[str, Value] | None:
        """A point that has not been suggested, of those that are drawn one after another; None where `DRAWS` gave
        none."""
        while not self._drawn or key_of(self._drawn) in seen:
            if self._draws == DRAWS:
                return None
            draw = random.Random(mix(self._space.search.seed, "remaining", self._draws))
            self._drawn, self._draws = legal_point(self._space, draw), self._draws + 1
        return self._drawn


def used_up_text(space: Space) -> str:
    """Why a search of a space that is used up suggests no further trial, in words."""
    size = grid_size(space.distributions())
    listed = space.is_plain or (size is not None and size <= MOST_POINTS)
    found = "" if listed else f" that {DRAWS} random draws find"
    return f"every configuration of the space{found} has been tried"


def tried(space: Space, configs: Iterable[Mapping[str, Value]]) -> set[Key]:
    """What tells configurations from others, of those that have been suggested."""
    axes = [axis.name for axis in space.axes]
    return {key_of(space.fitted({name: one[name] for name in axes if name in one})) for one in configs}
