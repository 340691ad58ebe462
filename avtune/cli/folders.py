"""The folders that a command line names: a study's and a model's, by name or by path."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from avtune.cli import console
from avtune.cli.remote import bring
from avtune.core.errors import UserError, did_you_mean, first_of

if TYPE_CHECKING:
    from avtune.study.folder import StudyFolder


def study_folder(given: argparse.Namespace) -> StudyFolder:
    """The folder of the study that STUDY names, see `study_called`; brought here where `--results` is a URL."""
    bring(given, given.study)
    return study_called(given.study, given.results)


def study_called(name: str, results: Path) -> StudyFolder:
    """The folder of a study, by its name below --results or by its path.

    Raises:
        UserError: there is none; of a bench, which studies it has.
    """
    from avtune.study.folder import StudyFolder

    for path in (results / name, Path(name)):
        if StudyFolder(path).exists:
            return StudyFolder(path)
    for path in (results / name, Path(name)):
        if (path / "bench.yaml").is_file():
            held = sorted(one.parent.name for one in path.glob("*/study.yaml"))
            hint = f"; name one of its studies: {first_of([f'{name}/{one}' for one in held])}" if held else ""
            raise UserError(f"{name!r} is a bench, not a study{hint}")
    there = [path.parent.name for path in results.glob("*/study.yaml")] if results.is_dir() else []
    where = StudyFolder(results / "any").results
    known = f"\nstudies in {where}: {first_of(there)}" if there else ""
    raise UserError(f"no study is called {name!r} in {where}{did_you_mean(name, there)}{known}")


def model_folder(given: argparse.Namespace) -> Path:
    """The folder that `model` names, by its name below --results or by its path; it may hold no model."""
    return model_called(given.model, given.results)


def model_called(name: str, results: Path) -> Path:
    """The folder of a model by its name below the folder of studies, or by its path; it may hold no model."""
    from avtune.workflows.model_place import model_place

    place, note = model_place(name, results)
    if note:
        console.error(f"note: {note}")
    return place
