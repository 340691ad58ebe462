"""Whether a process died for lack of memory, and what to say then. No Ray here."""

from __future__ import annotations

import re

from avtune.core import system

LACK = "was ended for lack of memory"
LOWER = "lower --cpus, --lanes or batch_size"
_WORDS = re.compile(
    r"OutOfMemoryError|out of memory|memory pressure|running low on memory"
)  # in messages of Ray's memory monitor


class Deaths:
    """Tells deaths for lack of memory from others: the kernel has counted one since, or Ray says so."""

    def __init__(self) -> None:
        self._kills = system.out_of_memory_kills()

    def for_lack_of_memory(self, words: str = "") -> bool:
        """Whether a process that has died since the last call did for that; `words` is what Ray says of it."""
        before, self._kills = self._kills, system.out_of_memory_kills()
        return self._kills > before or _WORDS.search(words) is not None


def out_of_memory(what: str) -> str:
    """One sentence of what happened, e.g. `the engines were ended`, and what to lower."""
    said = f"out of memory: {what}; what is {system.memory().why} was too little"
    return f"{said}\n{LOWER}, or take --runner inline; `avtune doctor` shows what there is"
