"""Who works on a study, and what it does there: what the file of the study's lock says."""

from __future__ import annotations

import os
from typing import NamedTuple

SEARCHING = "searching"


class Holder(NamedTuple):
    """The process that holds a study.

    Attributes:
        owner: e.g. `process 7 on host`.
        doing: `searching`, or what else it does, e.g. `retraining trial 3`.
    """

    owner: str
    doing: str = SEARCHING

    @property
    def searches(self) -> bool:
        """Whether it is a search, or the finals of one."""
        return self.doing == SEARCHING

    @property
    def text(self) -> str:
        """In a sentence."""
        return f"{self.owner} is {self.doing}"

    def written(self) -> str:
        """The content of the lock's file."""
        return f"{self.owner}\n{self.doing}\n"

    @classmethod
    def read(cls, content: str) -> Holder:
        """From the content of the lock's file. Earlier versions wrote no second line: theirs counts as a search."""
        owner, _, doing = content.strip().partition("\n")
        return cls(owner.strip() or "unknown process", doing.strip() or SEARCHING)


def this_process() -> str:
    """The name of this process as an owner."""
    return f"process {os.getpid()} on {os.uname().nodename}"
