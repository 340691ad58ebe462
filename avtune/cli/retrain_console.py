"""What a user reads of a retraining."""

from __future__ import annotations

from collections.abc import Sequence

from avtune.cli import console
from avtune.cli.data_text import problem_lines
from avtune.cli.progress import Progress
from avtune.cli.result_text import result_lines
from avtune.workflows.retrain import Retrained


class RetrainConsole(Progress):
    """A `workflows.retrain.RetrainListener` that prints."""

    def __init__(self) -> None:
        super().__init__(0)

    def chosen(self, problems: Sequence[str], notes: Sequence[str]) -> None:
        console.say(*problem_lines(problems), *(f"note: {line}" for line in notes))

    def retrained(self, made: Retrained) -> None:
        console.say(*result_lines(made.results, None), "", f"model  {made.path}")
