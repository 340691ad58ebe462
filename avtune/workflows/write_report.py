"""Writes the report of a study."""

from __future__ import annotations

from avtune.core.errors import UserError
from avtune.core.files import write_text
from avtune.report.page import page
from avtune.study.best import read_best
from avtune.study.results import read_results
from avtune.study.study import Study


def write_report(study: Study) -> None:
    """Writes `report.html` from what is known."""
    best = read_best(study.folder)
    if best is not None and not 0 <= best.trial < len(study.records):
        raise UserError(
            f"{study.folder.best_yaml} names trial {best.trial}, which there is not; restore it from a copy"
        )
    write_text(study.folder.report_html, page(study, read_results(study.folder), best))
