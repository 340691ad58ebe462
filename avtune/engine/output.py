"""What a user's own method prints while an engine trains it, kept in one file an engine."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from avtune.core.output import Output
from avtune.core.trial import Trial


class EngineOutput:
    """
    Args:
        name: of the engine; the file has it, in the folder that the trials name (`Trial.output`).
    """

    def __init__(self, name: str) -> None:
        self._name = name.replace(" ", "_")
        self._outputs: dict[Path, Output] = {}

    def captured(self, trials: Sequence[Trial]) -> AbstractContextManager[None]:
        """Keeps what is printed in the block, in which these trials are trained."""
        named = [Path(trial.output) for trial in trials if trial.output is not None]
        if not named:
            return contextlib.nullcontext()
        path = named[0].with_stem(self._name)
        output = self._outputs.setdefault(path, Output(path))
        return output.titled(", ".join(one.stem for one in named)).captured()

    def check(self) -> None:
        """Raises:
        StorageError: something could not be written.
        """
        for output in self._outputs.values():
            output.check()

    def close(self) -> None:
        """Closes the files."""
        for output in self._outputs.values():
            output.close()
