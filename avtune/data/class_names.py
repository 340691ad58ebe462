"""Names of the classes of a dataset, by the values of its labels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from avtune.core.errors import UserError
from avtune.core.words import plural


def names_of(values: npt.NDArray[np.int64], names: Sequence[str] | None, source: str) -> tuple[str, ...]:
    """One name a class, for classes whose original labels are `values` (sorted); see `dataset.from_arrays`.

    Raises:
        UserError: there is another number of names, one is there twice, or one is no printable text.
    """
    if names is None:
        return tuple(str(v) for v in values)
    if len(names) == len(values):
        chosen = list(names)
    elif len(names) > len(values) and values[0] >= 0 and values[-1] < len(names):
        chosen = [names[int(v)] for v in values]
    else:
        raise UserError(
            f"{source}: class_names has {plural(len(names), 'name')} for {plural(len(values), 'class', 'classes')}, "
            f"labels {values[0]} to {values[-1]}"
        )
    repeated = sorted(n for n, count in Counter(chosen).items() if count > 1)
    if repeated:
        raise UserError(f"{source}: class_names repeats {some([repr(n) for n in repeated])}")
    unreadable = [n for n in chosen if not n.strip() or not n.isprintable()]
    if unreadable:
        raise UserError(f"{source}: class_names holds {unreadable[0]!r}; a name is printable text")
    return tuple(chosen)


def words_of(words: list[str], class_names: Sequence[str] | None, source: str) -> list[str]:
    """The names of classes whose labels are words.

    Raises:
        UserError: `class_names` says something else.
    """
    if class_names is not None and not set(words) <= set(class_names):
        raise UserError(
            f"{source}: labels are words, and class_names lacks {some(sorted(set(words) - {*class_names}))}"
        )
    return words


def some(items: Sequence[Any] | npt.NDArray[Any], most: int = 5) -> str:
    """The first few of `items`, then how many more."""
    shown = ", ".join(str(item) for item in items[:most])
    return shown + (f" and {len(items) - most} more" if len(items) > most else "")
