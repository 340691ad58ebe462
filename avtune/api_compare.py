"""The part of the Python interface that sets studies side by side: `avtune.compare`; see `avtune.api`."""

from __future__ import annotations

from pathlib import Path

from avtune.core.errors import UserError
from avtune.study.folder import StudyFolder
from avtune.workflows.compare import compare as run_compare
from avtune.workflows.compare_view import StudyComparison
from avtune.workflows.python_data import Place, path_text
from avtune.workflows.python_errors import python_errors
from avtune.workflows.study_view import StudyView, existing


def compare(
    *studies: StudyView | Place,
    page: Place | None = None,
    tensorboard: Place | None = None,
    results: Place = "results",
) -> StudyComparison:
    """Studies side by side, ranked where they were scored on the same data, with a test of every difference.

    The test is paired over the test clips, with Holm's correction over the pairs of studies. No study is changed, and
    no test split is looked at again.

    Args:
        studies: two or more: studies, their folders, or their names below `results`.
        page: also write a page with tables and charts there, `compare.html` for example.
        tensorboard: also write one TensorBoard folder of them all there.
        results: the folder of studies.

    Returns:
        `.table`, a DataFrame with a row a study, best first; `.studies`, the same as typed values; `.notes` on what is
        not compared, and why.

    Raises:
        UserError: there is no such study, one is given twice or damaged, or what is to be written cannot be.

    >>> compare("results/first", "results/first")
    Traceback (most recent call last):
    avtune.core.errors.UserError: results/first is given twice; name each study once
    """
    with python_errors():
        if len(studies) < 2:
            raise UserError("compare takes two studies or more, for example avtune.compare('first', 'second')")
        place = Path(path_text(results, "results"))
        found = StudyComparison(run_compare([_folder(one, place) for one in studies]))
        if page is not None:
            found.write_page(Path(path_text(page, "page")))
        if tensorboard is not None:
            found.write_board(Path(path_text(tensorboard, "tensorboard")))
        return found


def _folder(study: StudyView | Place, results: Path) -> StudyFolder:
    return StudyFolder(study.path if isinstance(study, StudyView) else existing(path_text(study, "study"), results))
