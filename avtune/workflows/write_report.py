"""Writes the report of a study: at its end, and now and then while it runs."""

from __future__ import annotations

import time
from collections.abc import Mapping

from avtune.core.errors import UserError
from avtune.core.files import update_text
from avtune.study.best import read_best
from avtune.study.record import Record
from avtune.study.results import read_results
from avtune.study.study import Study

FIRST_SECONDS = 30.0
"""A search writes its report for the first time after so long."""
REST = 100
"""Between two times it waits at least so many times what writing took, so that this takes under 1 % of the driver's
time."""


def write_report(study: Study) -> None:
    """Writes `report.html` from what is known.

    Raises:
        UserError: a file of the study is damaged.
    """
    update_text(study.folder.report_html, report_of(study))


def report_of(study: Study) -> str:
    """The report, from what is known.

    Raises:
        UserError: a file of the study is damaged.
    """
    best = read_best(study.folder)
    if best is not None and not 0 <= best.trial < len(study.records):
        raise UserError(
            f"{study.folder.best_yaml} names trial {best.trial}, which there is not; restore it from a copy"
        )
    from avtune.report.page import page  # here: see `ReportListener`

    return page(study, read_results(study.folder), best)


class ReportListener:
    """Listens to a study and writes its report as trials end, see `REST`.

    A search does not end because its report cannot be made: `log.txt` says so, and the last report, at the search's
    end, raises what is wrong.

    Attributes:
        study: whose report it is; None until it has been opened.
        due: when an end writes it again, in seconds of `time.monotonic`.
    """

    def __init__(self) -> None:
        # Half of what a search imports: now, when the processes of its runner start, and neither before them nor while
        # they wait for orders.
        import avtune.report.page  # noqa: F401

        self.study: Study | None = None
        self.due = time.monotonic() + FIRST_SECONDS

    def started(self, record: Record) -> None:
        pass

    def epoch(self, record: Record, epoch: int, metrics: Mapping[str, float]) -> None:
        pass

    def ended(self, record: Record) -> None:
        if self.study is None or time.monotonic() < self.due:
            return
        start = time.monotonic()
        try:
            write_report(self.study)
        except Exception as error:  # whatever is wrong with a picture, the trials go on
            self.study.folder.note(f"report.html was not written while the search ran: {error!r}", "WARNING")
            self.due = float("inf")
            return
        end = time.monotonic()
        self.due = end + max(FIRST_SECONDS, REST * (end - start))
