"""`final/metrics.json`: what a finished study found, and the scores of a retrained trial."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from avtune.core.errors import UserError
from avtune.core.files import write_text
from avtune.core.schema import fitting
from avtune.core.view_names import VIEWS, views_in
from avtune.study.folder import StudyFolder
from avtune.study.scores import SCORES_SHAPE, VALIDATION_SHAPE, Scores, ValidationScore

_RESULTS = {
    "dataset": {"name": str, "digest": str, "test_clips?": int, "views?": [str]},
    "problems?": [str],
    "method": str,
    "trial": (int, None),
    "epochs": int,
    "seeds": [int],
    "precision": str,
    "protocol?": str,
    "selected_on": str,
    "times_test_was_scored": int,
    "scored_together?": int,
    "test": SCORES_SHAPE,
    "tied_queries?": float,
    "default?": SCORES_SHAPE,
    "default_is_winner?": bool,
    "untrained?": SCORES_SHAPE,
    "reference?": SCORES_SHAPE,
    "reference_method?": str,
    "label?": str,
    "still_rises?": {"trial": int, "epochs": int, "command": str},
    "best_epochs?": [int],
    "files?": {str: str},
    "sha256?": str,
    "validation?": VALIDATION_SHAPE,
    "retraining_seconds?": float,
    "objective?": str,
    "race?": {"seeds": int, "error": float, "finalists": {str: int}},
}


@dataclass(frozen=True)
class ScoredDataset:
    """The dataset whose test split was scored: its name, the digest of its content, the number of test clips, None
    where that was not kept, and the names of its views."""

    name: str
    digest: str
    test_clips: int | None = None
    views: tuple[str, str] = VIEWS

    def to_json(self) -> dict[str, Any]:
        """As `metrics.json` holds it."""
        views = None if self.views == VIEWS else list(self.views)
        return _without_none({"name": self.name, "digest": self.digest, "test_clips": self.test_clips, "views": views})


@dataclass(frozen=True)
class StillRises:
    """A finalist whose mean curve still rose when it had no epochs left: its trial, its epochs, and the command line
    that trains longer."""

    trial: int
    epochs: int
    command: str

    def to_json(self) -> dict[str, Any]:
        """As `metrics.json` holds it."""
        return {"trial": self.trial, "epochs": self.epochs, "command": self.command}


@dataclass(frozen=True)
class Race:
    """That the finals were a race: seeds in all, the largest probability with which a finalist was dropped that all
    seeds would have put first (see `finals.race`), and over how many seeds each finalist was run, by its trial's number
    or `default`."""

    seeds: int
    error: float
    finalists: Mapping[str, int]

    @property
    def words(self) -> str:
        """How it was decided, for people."""
        return (
            "a race: finalists that could not win any more were given no further seeds, with an error of at most "
            f"{100 * self.error:g} % for each"
        )

    def to_json(self) -> dict[str, Any]:
        """As `metrics.json` holds it."""
        return {"seeds": self.seeds, "error": self.error, "finalists": dict(self.finalists)}


@dataclass(frozen=True)
class Results:
    """What `metrics.json` holds. None stands for what it does not say: it is an older file, or there is no such value.

    Attributes:
        dataset: whose test split was scored.
        method: the name of the method or training function.
        trial: the number of the retrained trial; None for a default configuration that was no trial.
        epochs: of the retraining.
        seeds: of the retraining, in the order of `Score.seeds`.
        precision: of the retraining, e.g. `fp32`.
        selected_on: `validation`, `test`, or that the trial was chosen by hand.
        times_test_was_scored: configurations of the study that have been scored on its test split.
        scored_together: of these, how many the finals have scored at once: the winner, the default configuration where
            it is another, the reference. None in files of before the default configuration was counted.
        test: scores of the retrained configuration.
        problems: sentences on what is wrong with the data and touches the test score.
        protocol: of the retraining, see `core.protocol`.
        tied_queries: share of the queries with ties, above 0; None for none.
        label: `selected on test` under the protocol `published`; None otherwise.
        best_epochs: under that protocol, the epoch at which each seed's weights were taken.
        still_rises: set where training longer may give more.
        validation: validation MAP of the winner over the seeds of the finals; None where it was chosen by hand.
        default: scores of the default configuration; None where it failed, or there were no finalists.
        default_is_winner: the default configuration won, so that `default` is `test`.
        untrained: scores of the network before training; None for a training function.
        reference: scores of a plain method's default configuration; None where the study has none, or it failed.
        reference_method: its name.
        retraining_seconds: device seconds that the retraining of the winner took.
        race: None where every finalist was run over all seeds.
        objective: what the search maximised on validation rows, see `core.objective`; None for MAP.
        files: SHA-256 of the files beside `metrics.json`, by name.
        sha256: SHA-256 of all else that the file says, see `digest_of`; of results that were read.
    """

    dataset: ScoredDataset
    method: str
    trial: int | None
    epochs: int
    seeds: tuple[int, ...]
    precision: str
    selected_on: str
    times_test_was_scored: int
    test: Scores
    scored_together: int | None = None
    problems: tuple[str, ...] | None = None
    protocol: str | None = None
    tied_queries: float | None = None
    label: str | None = None
    best_epochs: tuple[int, ...] | None = None
    still_rises: StillRises | None = None
    validation: ValidationScore | None = None
    default: Scores | None = None
    default_is_winner: bool | None = None
    untrained: Scores | None = None
    reference: Scores | None = None
    reference_method: str | None = None
    retraining_seconds: float | None = None
    race: Race | None = None
    objective: str | None = None
    files: Mapping[str, str] | None = None
    sha256: str | None = None

    @property
    def searched(self) -> bool:
        """Whether the configuration was chosen by a search, not by hand."""
        return self.selected_on in ("validation", "test")

    @property
    def further_looks(self) -> int:
        """Configurations that have been scored on the test split beyond those of one search: its winner, and the
        default configuration and the reference, which nothing depends on."""
        one_search = self.scored_together or (1 if self.reference is None else 2)
        return max(0, self.times_test_was_scored - one_search)

    def to_json(self) -> dict[str, Any]:
        """As `metrics.json` holds it, in its order."""
        facts = {
            "dataset": self.dataset.to_json(),
            "problems": _list(self.problems),
            "method": self.method,
            "trial": self.trial,
            "epochs": self.epochs,
            "seeds": list(self.seeds),
            "precision": self.precision,
            "protocol": self.protocol,
            "selected_on": self.selected_on,
            "times_test_was_scored": self.times_test_was_scored,
            "scored_together": self.scored_together,
            "test": self.test.to_json(),
            "tied_queries": self.tied_queries,
            "label": self.label,
            "best_epochs": _list(self.best_epochs),
            "still_rises": self.still_rises and self.still_rises.to_json(),
            "validation": self.validation and self.validation.to_json(),
            "default": self.default and self.default.to_json(),
            "default_is_winner": self.default_is_winner,
            "untrained": self.untrained and self.untrained.to_json(),
            "reference": self.reference and self.reference.to_json(),
            "reference_method": self.reference_method,
            "retraining_seconds": self.retraining_seconds,
            "race": self.race and self.race.to_json(),
            "objective": self.objective,
            "files": self.files and dict(self.files),
            "sha256": self.sha256,
        }
        return _without_none(facts, but="trial")

    @staticmethod
    def from_json(facts: Any, path: Path) -> Results:
        """From what was read from `path`. What a newer avtune says beside it is left out.

        Raises:
            UserError: it is damaged; names the file and the field.
        """
        checked: dict[str, Any] = fitting(facts, _RESULTS, path)
        if checked.get("validation") == {}:
            raise UserError(f"{path} is damaged: validation has neither map nor objective; restore it from a copy")
        dataset, rises, validation = checked["dataset"], checked.get("still_rises"), checked.get("validation")
        race = checked.get("race")
        made: dict[str, Any] = {key.removesuffix("?"): checked.get(key.removesuffix("?")) for key in _RESULTS}
        made |= {key: tuple(made[key]) for key in ("problems", "seeds", "best_epochs") if made[key] is not None}
        rows = ("test", "default", "untrained", "reference")
        made |= {key: Scores.from_json(made[key]) for key in rows if made[key] is not None}
        made["dataset"] = ScoredDataset(
            dataset["name"], dataset["digest"], dataset.get("test_clips"), views_in(dataset)
        )
        made["still_rises"] = rises and StillRises(rises["trial"], rises["epochs"], rises["command"])
        made["race"] = race and Race(race["seeds"], race["error"], race["finalists"])
        made["validation"] = validation and ValidationScore.from_json(validation)
        return Results(**made)


def _list(values: tuple[Any, ...] | None) -> list[Any] | None:
    return None if values is None else list(values)


def _without_none(facts: dict[str, Any], but: str = "") -> dict[str, Any]:
    return {key: value for key, value in facts.items() if value is not None or key == but}


def write_results(folder: StudyFolder, results: Results) -> None:
    """Writes `final/metrics.json`, with a digest of all that it says."""
    _write(folder, results.to_json())


def write_times_scored(folder: StudyFolder, times: int) -> None:
    """Changes `times_test_was_scored` in `final/metrics.json`. All else stays, also what only a newer avtune knows.

    Raises:
        UserError: the file cannot be read, or is damaged.
    """
    facts = _read(folder.metrics)
    Results.from_json(facts, folder.metrics)
    _write(folder, facts | {"times_test_was_scored": times})


def _write(folder: StudyFolder, facts: Mapping[str, Any]) -> None:
    text = json.dumps({**facts, "sha256": digest_of(facts)}, indent=2, allow_nan=False)
    write_text(folder.metrics, text + "\n")


def digest_of(facts: Mapping[str, Any]) -> str:
    """SHA-256 of what `metrics.json` says but for its own `sha256`, in one order and spelling."""
    told = {key: value for key, value in facts.items() if key != "sha256"}
    return hashlib.sha256(json.dumps(told, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def file_digests(folder: StudyFolder) -> dict[str, str]:
    """SHA-256 of the files beside `final/metrics.json` that its scores come from, by name."""
    files = (folder.model, folder.model_config, folder.query_ap, folder.by_class, folder.embeddings)
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files if path.is_file()}


def read_results(folder: StudyFolder) -> Results | None:
    """`final/metrics.json`, None before the end.

    Raises:
        UserError: it cannot be read, or is damaged.
    """
    return load_results(folder.metrics) if folder.metrics.is_file() else None


def load_results(path: Path) -> Results:
    """A `metrics.json` of a model's folder.

    Raises:
        UserError: it cannot be read, or is damaged.
    """
    return Results.from_json(_read(path), path)


def is_as_written(path: Path) -> bool:
    """Whether a `metrics.json` still has the digest that it was written with, or is of before there were any.

    Raises:
        UserError: it cannot be read, or is damaged.
    """
    facts = _read(path)
    results = Results.from_json(facts, path)
    if results.sha256 is None:
        return results.files is None  # with one digest, the other was written too
    return results.sha256 == digest_of(facts)


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path} cannot be read: {str(error).splitlines()[0]}") from None
