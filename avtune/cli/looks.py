"""Looks at the test split of a study: a model that is scored on it, or made ready to be, is counted and said."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from avtune.cli.folders import model_folder

if TYPE_CHECKING:
    from avtune.data.dataset import Dataset
    from avtune.engine.model import Model
    from avtune.study.folder import StudyFolder


def count_look_at(given: argparse.Namespace, model: Model, dataset: Dataset) -> str:
    """Counts a look of `avtune evaluate` or `avtune embed` at the test split of the model's study.

    Counted before anything is shown: a look that is interrupted has been one.

    Returns:
        What is to be said of it; empty where there is nothing.
    """
    from avtune.finals.looks import count_look, is_behind, is_new_look, lost, study_of

    if given.split != "test":
        return ""
    folder = study_of(model, model_folder(given), given.results)
    if folder is None:
        return lost(model, given.results)
    new = folder.settings()["dataset"]["digest"] == dataset.digest and is_new_look(folder, model)
    if not new and not is_behind(folder):
        return ""
    with folder.locked():
        count = count_look(folder, model) if new else 0
        show_looks(folder, given.method)
    if not new:
        return ""
    return f"this look is counted: {count} configurations of {folder.root} have been scored on its test split"


def show_looks(folder: StudyFolder, method: str | None) -> None:
    """Writes the count of looks into the model card, the metrics and the report of a study, where it is another.

    Args:
        folder: of the study, locked by this process.
        method: the user's own method or training function that the study was made with, if any.
    """
    from avtune.finals.looks import show_count
    from avtune.workflows.open_study import open_space, open_study
    from avtune.workflows.write_report import write_report

    if not show_count(folder):
        return
    study = open_study(folder, open_space(folder, method=method))
    study.close()
    write_report(study)
