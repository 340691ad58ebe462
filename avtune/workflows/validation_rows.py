"""Which rows a new study validates on, where its space leaves that to the data set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from avtune.core.errors import UserError
from avtune.data.dataset import Dataset
from avtune.data.findings import examine
from avtune.space.settings import GIVEN, TOGETHER, Validation
from avtune.space.space import Space

MANY_ROWS = 50_000
"""Validation rows whose comparison with each other takes a core half a minute."""
_ENOUGH = 10_000


def many_rows_notes(validation: Validation, dataset: Dataset) -> list[str]:
    """What helps where scoring the validation rows, of which all pairs are compared, takes long."""
    clips = len(dataset.train)
    rows = round(clips * (validation.fraction or 1 / (validation.folds or 1)))
    if validation.split is not None and dataset.validation is not None:
        rows = len(dataset.validation)
    if rows <= MANY_ROWS:
        return []
    return [
        f"{rows:,} validation rows are compared with each other in every epoch of every trial; "
        f"--set validation.fraction={_ENOUGH / clips:.1g} compares about {_ENOUGH:,}"
    ]


def fitted(space: Space, dataset: Dataset, overrides: Sequence[str] = ()) -> Space:
    """The space of a new study of a data set: its own validation split is used where it has one, unless the space or
    the command line asks for another way than the usual fraction; equal training rows stay on one side of a split.

    Args:
        overrides: `key=value` each, as they were given.

    Raises:
        UserError: the space asks for a validation split that the data set does not have.
    """
    validation = space.validation
    asked = any(one.strip().startswith("validation") for one in overrides)
    if validation.split is not None and dataset.validation is None:
        raise UserError(
            f"{dataset.source} has no validation split, and validation.split is {validation.split}\n"
            "what helps: --set validation.fraction=0.2"
        )
    if dataset.validation is not None and validation == Validation() and not asked:
        validation = Validation(fraction=None, split=GIVEN)
    _check_reshuffle(space.final.reshuffle, validation, f"{dataset.source} has rows of its own for that")
    if validation.split is None and examine(dataset).repeated_train:
        validation = replace(validation, equal_rows=TOGETHER)
    return replace(space, validation=validation)


def as_recorded(space: Space, recorded: Space) -> Space:
    """The space that is named to continue a study, with what the data set has decided when the study began."""
    validation = space.validation
    if recorded.validation.split is not None and validation == Validation():
        _check_reshuffle(space.final.reshuffle, recorded.validation, "the study has those of its data set")
        return replace(space, validation=recorded.validation)
    return replace(space, validation=replace(validation, equal_rows=recorded.validation.equal_rows))


def check_rows(study: Path, before: Mapping[str, Any], rows: int) -> None:
    """Refuses to continue a study whose training rows an earlier version of avtune has split in another way.

    Args:
        study: its folder.
        before: its settings so far; none of a new study.
        rows: that it would train on.

    Raises:
        UserError: it has trained on another number of rows.
    """
    known = before.get("rows")
    if known and known != rows:
        raise UserError(
            f"{study} trains on {known} rows, and its training set is split now so that {rows} are trained on: this "
            "avtune keeps closer to the fraction where clips of a rare class stay together\n"
            "what helps: begin a new study (--name), or continue this one with the avtune that began it"
        )


def _check_reshuffle(reshuffle: bool | None, validation: Validation, why: str) -> None:
    """Raises:
    UserError: the finals ask for validation rows for each seed, where the data set says which ones are used.
    """
    if reshuffle and validation.split is not None:
        raise UserError(
            f"final.reshuffle draws validation rows for each seed, and {why}\n"
            "what helps: --set validation.fraction=0.2 (in a new study), or --set final.reshuffle=false"
        )
