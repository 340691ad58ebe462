"""Reads `Placement.text` again, which is what a study keeps of where its trials run."""

from __future__ import annotations

import re
from dataclasses import dataclass

_TEXT = re.compile(r"\b(\d+) at a time on (?:.*?: (\d+) engines? of \d+ lanes)?")


@dataclass(frozen=True)
class Places:
    """Where trials run, in numbers.

    Attributes:
        at_a_time: trials that are trained at a time.
        processes: that train them.
        unit: what holds one trial, `lanes` or `processes`.
    """

    at_a_time: int
    processes: int
    unit: str


def places_of(text: str) -> Places | None:
    """What a text says that holds the name of a runner and a `Placement.text`; None where it holds none.

    >>> places_of("runner lanes: 8 at a time on the CPU: 2 engines of 4 lanes, bf16")
    Places(at_a_time=8, processes=2, unit='lanes')
    """
    found = _TEXT.search(text)
    if found is None:
        return None
    at_a_time = int(found[1])
    return Places(at_a_time, int(found[2] or at_a_time), "lanes" if "runner lanes" in text else "processes")
