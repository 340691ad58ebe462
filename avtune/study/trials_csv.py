"""`trials.csv`: one row a trial, written again while the study grows."""

from __future__ import annotations

import csv
import io
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from avtune.core.files import update_text
from avtune.study.record import Record

_EVERY_SECONDS = 5.0
_REST = 50  # and at least so many times what writing it took: it grows with the study


class TrialsCsv:
    """Listens to a study and writes its table as trials end, at most every few seconds, and when it is told to.

    Args:
        path: the file, which is replaced as a whole.
        records: those of the study, which grow with it.
        hypers: the columns of hyper-parameters; None for those of the first trial. The cell of one whose condition does
            not hold is empty.
        value: the name of what is maximised.
    """

    def __init__(
        self, path: Path, records: Sequence[Record], hypers: Sequence[str] | None = None, value: str = "val_map"
    ) -> None:
        self._path = path
        self._value = value
        self._records = records
        self._hypers = hypers
        self.due = 0.0
        """When an end writes it again, in seconds of `time.monotonic`."""

    def started(self, record: Record) -> None:
        pass

    def epoch(self, record: Record, epoch: int, metrics: Mapping[str, float]) -> None:
        pass

    def ended(self, record: Record) -> None:
        if time.monotonic() >= self.due:
            self.write()

    def write(self) -> None:
        """Writes the table as it is now.

        Raises:
            StorageError: it cannot be written; the file is as it was.
        """
        start = time.monotonic()
        update_text(self._path, self._text())
        end = time.monotonic()
        self.due = end + max(_EVERY_SECONDS, _REST * (end - start))

    def _text(self) -> str:
        hypers: list[str] = []
        if self._records:
            hypers = list(self._records[0].trial.config if self._hypers is None else self._hypers)
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(["trial", "state", "epochs", "best_epoch", self._value, *hypers, "seconds"])
        for record in self._records:
            best = record.best_value
            writer.writerow(
                [
                    record.number,
                    record.state,
                    record.values.last,
                    record.best_epoch if record.best_epoch is not None else "",
                    f"{best:.6f}" if best is not None else "",
                    *(record.trial.config.get(name, "") for name in hypers),
                    f"{record.seconds:.3f}",
                ]
            )
        return out.getvalue()
