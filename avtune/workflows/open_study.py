"""Opens a study that exists: its space, how long its trials train, and its state, all from its folder."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import yaml

from avtune.core.errors import UserError
from avtune.core.run_key import search_basis
from avtune.data.dataset import Dataset
from avtune.engine import user_code
from avtune.methods import get
from avtune.space.parse import parse
from avtune.space.space import Space
from avtune.study.ending import Stopped
from avtune.study.folder import StudyFolder, like_of
from avtune.study.horizon import Horizon
from avtune.study.study import Study

FORMAT = 1
"""The `format` of `study.yaml` that is written and read."""


def open_study(
    folder: StudyFolder,
    space: Space,
    dataset: Dataset | None = None,
    before_writing: Callable[[Study], None] = lambda study: None,
) -> Study:
    """The study of a folder as its files say, without listeners. Close it after use.

    Args:
        folder: of the study; its `study.yaml` says mode, precision and training rows.
        space: see `open_space`.
        dataset: the one of the study; only a study whose runs are to be named needs it, see `basis_of`.
        before_writing: see `Study`.

    Raises:
        UserError: a file of the study is damaged.
    """
    settings = folder.settings()
    return Study(
        folder,
        space,
        deterministic=bool(settings["deterministic"]),
        precision=str(settings["precision"]),
        horizon=horizon_of(space, settings.get("rows", 0)),
        basis="" if dataset is None else basis_of(space, dataset),
        finals_basis=None if dataset is None else basis_of(space.of_finals(), dataset),
        start=settings.get("start", ()),
        like=like_of(settings),
        stopped=Stopped.of(settings),
        before_writing=before_writing,
    )


def horizon_of(space: Space, rows: int) -> Horizon:
    """How long the trials of a space train.

    Args:
        rows: training rows of a run; 0 where no study recorded them, whose horizon is a number of epochs.
    """
    if user_code.function(space.method) is not None:
        return Horizon(space, rows)
    return Horizon(space, rows, get(space.method).lays_out)


def basis_of(space: Space, dataset: Dataset) -> str:
    """The `Trial.basis` of a search's trials; of its finalists with `Space.of_finals`."""
    how, code = space.validation, user_code.code_of(space.method)
    return search_basis(dataset.digest, how.fraction, how.folds, space.search.seed, code, *space.decides)


def open_space(folder: StudyFolder, overrides: Sequence[str] = (), method: str | None = None) -> Space:
    """The space of an existing study, with further overrides.

    Args:
        overrides: `key=value` each, as `--set` takes them.
        method: the method that the command line names, None for none.

    Raises:
        UserError: `study.yaml` is damaged or of a newer format, an override is not legal, or the study is one of
            another method, or of the user's own code that the command line does not name.
    """
    settings = folder.settings()
    if settings.get("format") != FORMAT:
        raise UserError(f"{folder.study_yaml} has format {settings.get('format')!r}; this avtune reads format {FORMAT}")
    return parse(
        yaml.safe_dump(settings.get("space"), sort_keys=False),
        file=str(folder.study_yaml),
        hypers_of=user_code.hypers_of,
        method_names=user_code.names(),
        overrides=overrides,
        method=method,
    )
