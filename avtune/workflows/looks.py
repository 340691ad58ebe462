"""Looks at the test split of a study: a model that is scored on it, or made ready to be, is counted and said."""

from __future__ import annotations

from pathlib import Path

from avtune.data.dataset import Dataset
from avtune.engine.model import Model
from avtune.finals.looks import count_look, is_behind, is_new_look, lost, show_count, study_of
from avtune.study.folder import StudyFolder
from avtune.study.study import Study
from avtune.workflows.bench import rows
from avtune.workflows.open_study import open_space, open_study
from avtune.workflows.write_report import report_of, write_report


def count_look_at(
    model: Model, place: Path, dataset: Dataset, split: str, *, results: Path, method: str | None = None
) -> str:
    """Counts a look at the test split of the model's study.

    Counted before anything is shown: a look that is interrupted has been one.

    Args:
        model: that is scored, or whose embeddings are written.
        place: its folder.
        dataset: that it is scored on; only the study's own counts.
        split: `test` or `train`, of which only the first counts.
        results: the folder of studies and benches, where the model's is looked for.
        method: the user's own method that the study was made with, if any.

    Returns:
        What is to be said of it; empty where there is nothing.
    """
    if split != "test":
        return ""
    folder = study_of(model, place, results)
    if folder is None:
        return lost(model, results)
    new = folder.settings()["dataset"]["digest"] == dataset.digest and is_new_look(folder, model)
    if not new and not is_behind(folder):
        return ""
    with folder.locked("counting a look at its test split"):
        folder.clear_torn()
        open_study(folder, open_space(folder, method=method), before_writing=check_shown).close()
        count = count_look(folder, model) if new else 0
        behind = show_looks(folder, method)
    if not new:
        return behind
    said = f"this look is counted: {count} configurations of {folder.root} have been scored on its test split"
    return f"{said}; {behind}" if behind else said


def check_shown(study: Study) -> None:
    """Refuses a study of which `show_looks` could not tell, before there is a look to tell of.

    Raises:
        UserError: a file of a finished study is damaged.
    """
    if study.folder.metrics.exists():
        report_of(study)


def show_looks(folder: StudyFolder, method: str | None) -> str:
    """Has the model card, the metrics and the report of a finished study tell the count of looks, and all else that is
    known: a command that was killed may have left them behind. So does the leaderboard of the bench that it is in.

    Args:
        folder: of the study, locked by this process.
        method: the user's own method or training function that the study was made with, if any.

    Returns:
        Why a leaderboard could not; else empty.
    """
    if not folder.metrics.is_file():
        return ""
    show_count(folder)
    folder.clear_seeds()
    study = open_study(folder, open_space(folder, method=method))
    study.close()
    write_report(study)
    return rows.renewed(folder)
