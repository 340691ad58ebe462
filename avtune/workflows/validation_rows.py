"""Which rows a new study validates on, where its space leaves that to the data set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from avtune.core.errors import UserError
from avtune.data.dataset import Dataset
from avtune.data.findings import examine
from avtune.space.settings import GIVEN, TOGETHER, Validation
from avtune.space.space import Space


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
    if validation.split is None and examine(dataset).repeated_train:
        validation = replace(validation, equal_rows=TOGETHER)
    return replace(space, validation=validation)


def as_recorded(space: Space, recorded: Space) -> Space:
    """The space that is named to continue a study, with what the data set has decided when the study began."""
    validation = space.validation
    if recorded.validation.split is not None and validation == Validation():
        return replace(space, validation=recorded.validation)
    return replace(space, validation=replace(validation, equal_rows=recorded.validation.equal_rows))
