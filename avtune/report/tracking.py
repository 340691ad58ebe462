"""What experiment trackers are told of a study: read from what the study appends, never from the process that searches.

A tracker is brought up to date with `Tracker.sync`, as often as one likes: what it has already is not sent again.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from avtune.core.errors import UserError, choices, did_you_mean
from avtune.core.files import write_text
from avtune.core.hyper import Value
from avtune.core.objective import value_key, value_of
from avtune.study.curve import Curve
from avtune.study.curves import AgainLine, EpochLine, read_curves
from avtune.study.folder import StudyFolder
from avtune.study.results import Results, read_results

NAMES = ("mlflow", "wandb")
_ID = "id"
_PROJECT = re.compile(r"([^/\\#?%:]+/)?[^/\\#?%:]+")  # of W&B, with its team or without
_NO_CURVE = ("seconds", "clips_per_second")  # of an epoch; a trial's seconds are in its summary


@dataclass(frozen=True)
class Target:
    """Where a study is tracked, as `--track` has it: `mlflow`, `mlflow:URI`, `wandb`, `wandb:PROJECT` or
    `wandb:TEAM/PROJECT`."""

    name: str
    where: str | None

    @staticmethod
    def parse(text: str) -> Target:
        """Raises:
        UserError: there is no such tracker, or what stands after the colon can be no place of it.
        """
        name, colon, where = text.partition(":")
        if name not in NAMES:
            hint = did_you_mean(name, NAMES)
            raise UserError(
                f"--track is {text!r}; allowed: {choices(NAMES)}, e.g. mlflow:http://localhost:5000 or wandb:one{hint}"
            )
        if colon and not where:
            raise UserError(f"--track is {text!r}; after the colon comes where to, or leave the colon out")
        if name == "wandb" and not _PROJECT.fullmatch(where or "avtune"):
            raise UserError(
                f"--track is {text!r}; after the colon comes a project, or team/project, without any of \\ # ? % :"
            )
        return Target(name, where or None)

    def __str__(self) -> str:
        return self.name if self.where is None else f"{self.name}:{self.where}"


@dataclass
class SeenTrial:
    """A trial as the files have it.

    Attributes:
        number: of the trial.
        config: its hyper-parameters.
        attempt: how often it has begun anew after a failure.
        epochs: what each epoch that counts said, by number from 1 on.
        state: RUNNING until its end is on record.
        reason: why it failed.
    """

    number: int
    config: Mapping[str, Value]
    attempt: int = 0
    epochs: list[Mapping[str, float]] = field(default_factory=list)
    state: Literal["RUNNING", "COMPLETE", "PRUNED", "FAIL"] = "RUNNING"
    reason: str = ""

    @property
    def best_epoch(self) -> int | None:
        return Curve(value_of(one) for one in self.epochs).best_epoch

    @property
    def best_value(self) -> dict[str, float]:
        """`best_val_map`, or `best_val_objective` where the study maximises another score; empty before an epoch."""
        if self.best_epoch is None:
            return {}
        best = self.epochs[self.best_epoch - 1]
        return {f"best_{value_key(best)}": value_of(best)}

    @property
    def summary(self) -> dict[str, float]:
        """What `trials.csv` says of it, as numbers."""
        facts = {"epochs": float(len(self.epochs)), "seconds": sum(one.get("seconds", 0.0) for one in self.epochs)}
        if self.best_epoch is None:
            return facts
        return facts | {"best_epoch": self.best_epoch} | self.best_value

    def points(self, rungs: set[int]) -> dict[int, Mapping[str, float]]:
        """The epochs of its curve that are sent: those of rungs, and of one that has ended its best and its last."""
        ends = {self.best_epoch or 0, len(self.epochs)} if self.state != "RUNNING" else set()
        wanted = sorted(epoch for epoch in rungs | ends if 1 <= epoch <= len(self.epochs))
        return {
            epoch: {name: value for name, value in self.epochs[epoch - 1].items() if name not in _NO_CURVE}
            for epoch in wanted
        }


@dataclass(frozen=True)
class Seen:
    """A study as its files have it.

    Attributes:
        folder: of the study.
        id: which it keeps wherever it is moved to.
        facts: method, dataset and settings, flat.
        trials: by number.
        rungs: the epochs of the rungs that a trial has reached.
        results: None before the end.
    """

    folder: StudyFolder
    id: str
    facts: Mapping[str, Value]
    trials: Mapping[int, SeenTrial]
    rungs: set[int]
    results: Results | None

    @property
    def name(self) -> str:
        return self.folder.root.resolve().name

    @property
    def best(self) -> SeenTrial | None:
        ended = [one for one in self.trials.values() if one.state in ("COMPLETE", "PRUNED") and one.epochs]
        return max(ended, key=lambda one: (*one.best_value.values(), -one.number), default=None)

    @property
    def scores(self) -> dict[str, float]:
        """What the study came to: the best value of what it maximises, and test scores with their intervals."""
        facts = {} if self.best is None else dict(self.best.best_value)
        if self.results is None:
            return facts
        for name, score in self.results.test.items():
            facts[f"test_{name}"] = score.mean
            if score.interval is not None:
                facts[f"test_{name}_low"], facts[f"test_{name}_high"] = score.interval
        if self.results.test.objective is not None:
            facts["test_objective"] = self.results.test.objective.mean
        validation = self.results.validation
        if validation is not None:
            facts["validation_map" if validation.is_map else "validation_objective"] = validation.mean
        return facts

    @property
    def artefacts(self) -> list[Path]:
        """What a finished study leaves for others: the model and its card, the scores, the winner, the report."""
        folder = self.folder
        files = [folder.model, folder.model_config, folder.metrics, folder.model_card, folder.embeddings]
        return [path for path in (*files, folder.best_yaml, folder.trials_csv, folder.report_html) if path.is_file()]


class Tracker(Protocol):
    """Brings one place up to date."""

    def sync(self, seen: Seen, *, ended: bool) -> None:
        """Sends what is new.

        Args:
            seen: the study as it is now.
            ended: nothing works on it any more.

        Raises:
            Exception: the place does not answer, or refuses; nothing is lost, and the next call sends it again.
        """


def tracking_folder(folder: StudyFolder) -> Path:
    """Where trackers keep what they have sent, and their log."""
    return folder.root / "tracking"


def study_id(folder: StudyFolder) -> str:
    """The id of a study, made when it is first tracked."""
    path = tracking_folder(folder) / _ID
    if not path.is_file():
        path.parent.mkdir(exist_ok=True)
        write_text(path, secrets.token_hex(8) + "\n")
    return path.read_text(encoding="utf-8").strip()


class StudyReader:
    """Reads a study again and again while another process writes to it."""

    def __init__(self, folder: StudyFolder) -> None:
        self._folder = folder
        self._id = study_id(folder)
        self._journal: JournalStorage | None = None

    def read(self) -> Seen:
        """The study as it is now.

        Raises:
            UserError: a file is damaged.
        """
        settings = self._folder.settings()
        space = settings["space"]
        fixed = {name: value for name, value in space.get("space", {}).items() if not isinstance(value, dict)}
        trials, rungs = self._proposed(fixed)
        lines, _ = read_curves(self._folder.curves, repair=False)
        for line in lines:
            one = trials.get(line.trial)
            if one is None:  # of a trial that the journal had not when it was read
                continue
            if isinstance(line, AgainLine):
                one.attempt, one.epochs, one.state, one.reason = one.attempt + 1, [], "RUNNING", ""
            elif isinstance(line, EpochLine):
                one.epochs.append(_numbers(line.said))
                one.state = "RUNNING"
            else:
                del one.epochs[line.epochs :]
                one.state, one.reason = line.state, line.reason
        facts = {"method": space["method"], "dataset": settings["dataset"]["name"], **_flat(settings)}
        return Seen(self._folder, self._id, facts, trials, rungs, read_results(self._folder))

    def _proposed(self, fixed: Mapping[str, Value]) -> tuple[dict[int, SeenTrial], set[int]]:
        """The trials as they begin, and the epochs of rungs, from the journal."""
        if self._journal is None:
            if not self._folder.journal.is_file():
                return {}, set()
            optuna.logging.set_verbosity(optuna.logging.ERROR)
            self._journal = JournalStorage(JournalFileBackend(str(self._folder.journal)))
        trials: dict[int, SeenTrial] = {}
        rungs: set[int] = set()
        for study in self._journal.get_all_studies():
            study_id = self._journal.get_study_id_from_name(study.study_name)
            for trial in self._journal.get_all_trials(study_id, deepcopy=False):
                number = trial.user_attrs.get("trial")
                if isinstance(number, int):
                    trials[number] = SeenTrial(number, {**trial.params, **fixed})
                    rungs |= set(trial.intermediate_values)
        return trials, rungs


def _numbers(said: Mapping[str, Any]) -> dict[str, float]:
    left = {name: value for name, value in said.items() if name not in ("trial", "epoch")}
    return {name: float(value) for name, value in left.items() if isinstance(value, int | float)}


def _flat(settings: Mapping[str, Any]) -> dict[str, Value]:
    """The settings of a study that a reader may want to sort studies by."""
    facts: dict[str, Value] = {"dataset_digest": settings["dataset"]["digest"]}
    for key in ("deterministic", "precision", "runner", "protocol"):
        if key in settings:
            facts[key] = settings[key]
    for section in ("search", "early_stopping", "validation", "final"):
        for key, value in settings["space"].get(section, {}).items():
            if isinstance(value, int | float | str):
                facts[f"{section}.{key}"] = value
    return facts


def files_by_folder(paths: Sequence[Path], root: Path) -> dict[str, list[Path]]:
    """Files of a study by the folder below the study that they are in, `""` for the study's own."""
    found: dict[str, list[Path]] = {}
    for path in paths:
        below = path.parent.relative_to(root).as_posix()
        found.setdefault("" if below == "." else below, []).append(path)
    return found
