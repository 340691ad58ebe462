"""What Ray Tune asks for the trials of the runner `processes`: a searcher and a scheduler that hand every question on.

Made in functions because their base classes import Ray. Tune pickles both now and then: they leave out their state, as
the study's own files are the only way to continue.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from avtune.runners.ray.engine_trials import error_text


class Answers(Protocol):
    """Answers what Tune asks."""

    def next_config(self) -> tuple[int, dict[str, Any]] | None:
        """The next trial's number and what it is configured with; None for none now."""

    @property
    def finished(self) -> bool:
        """Whether no trial will come any more."""

    def result(self, number: int, result: Mapping[str, Any]) -> bool:
        """Takes what a trial has reported; returns whether it goes on."""

    def died(self, number: int, details: str) -> bool:
        """A trial's process has died; `details` is what Tune knows. Returns whether the trial is tried again."""

    def ended(self, number: int, *, given_up: bool) -> None:
        """A trial has ended; `given_up`: because no attempt is left."""


def searcher(answers: Answers) -> Any:
    """Gives Tune the trials, and says how Tune's trials ended."""
    from ray.tune.search import Searcher

    class StudySearcher(Searcher):  # type: ignore[misc]
        def __init__(self, answers: Answers) -> None:
            super().__init__(metric="epoch", mode="max")
            self._answers = answers
            self._numbers: dict[str, int] = {}

        def suggest(self, trial_id: str) -> Any:
            found = self._answers.next_config()
            if found is None:
                return Searcher.FINISHED if self._answers.finished else None
            self._numbers[trial_id], config = found
            return config

        def on_trial_complete(self, trial_id: str, result: Any = None, error: bool = False) -> None:
            number = self._numbers.pop(trial_id, None)
            if number is not None:
                self._answers.ended(number, given_up=error)

        def __getstate__(self) -> dict[str, Any]:
            return {}

        def save(self, checkpoint_path: str) -> None:
            """Nothing."""

        def restore(self, checkpoint_path: str) -> None:
            """Nothing."""

    return StudySearcher(answers)


def scheduler(answers: Answers) -> Any:
    """Hands on every result, and stops the trials that do not go on."""
    from ray.tune.schedulers import FIFOScheduler

    class StudyScheduler(FIFOScheduler):  # type: ignore[misc]
        def __init__(self, answers: Answers) -> None:
            super().__init__()
            self._answers = answers
            self._given_up: set[str] = set()

        def __getstate__(self) -> dict[str, Any]:
            return {}

        def on_trial_result(self, tune_controller: Any, trial: Any, result: Mapping[str, Any]) -> str:
            goes_on = self._answers.result(trial.config["trial"]["number"], result)
            return str(self.CONTINUE if goes_on else self.STOP)

        def on_trial_error(self, tune_controller: Any, trial: Any) -> None:
            """Tune says this of every death, and puts the trial back into its queue afterwards."""
            if not self._answers.died(trial.config["trial"]["number"], error_text(trial)):
                self._given_up.add(trial.trial_id)

        def choose_trial_to_run(self, tune_controller: Any) -> Any:
            if self._given_up:
                for trial in tune_controller.get_trials():
                    if trial.trial_id in self._given_up:
                        tune_controller.stop_trial(trial)
                self._given_up.clear()
            return super().choose_trial_to_run(tune_controller)

    return StudyScheduler(answers)
