"""A comparison over data sets as it is handed out: typed values, tables, a page, a picture, and texts."""

from __future__ import annotations

import csv
import io
import math
import os
from collections.abc import Callable, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from avtune.metrics.across import Floats
from avtune.report.text import table as aligned
from avtune.workflows.bench.across import Across
from avtune.workflows.bench.across_paper import latex
from avtune.workflows.bench.across_text import markdown, reading, text, verdict
from avtune.workflows.bench.board import LEVEL
from avtune.workflows.bench.formats import checked_format

if TYPE_CHECKING:
    import pandas as pd

FORMATS = ("latex", "markdown")


class BenchComparison:
    """Methods over the data sets of several benches.

    Args:
        found: see `workflows.bench.across`.
    """

    def __init__(self, found: Across) -> None:
        self._found = found

    @property
    def found(self) -> Across:
        """The same as typed values: `methods`, `map` and `ranks` [data sets, methods], `mean_ranks`, `friedman`,
        `critical`, `differ`, `improvement`, ..."""
        return self._found

    @property
    def table(self) -> pd.DataFrame:
        """One row a method, best mean rank first, as `avtune across --csv` prints them: `place`, `method`, `group`
        (between two that share a letter no difference was found), `mean_rank` with `mean_rank_low` and
        `mean_rank_high` (95 % interval over the seeds), `map_DATASET` and `rank_DATASET` of every data set, and
        `over_METHOD`, its `_low` and `_high`: the probability of improvement over the best method and the reference."""
        import pandas

        return pandas.DataFrame(self.rows())

    @property
    def probability_of_improvement(self) -> pd.DataFrame:
        """[methods, methods], in the order of `table`: the probability that a run of the row's method scores higher
        than one of the column's, mean over the data sets; 0.5 on the diagonal."""
        return self._frame(self._found.improvement)

    @property
    def probability_low(self) -> pd.DataFrame:
        """[methods, methods]: the lower ends of the 95 % intervals over the seeds; NaN where there is one seed."""
        return self._frame(self._found.improvement_interval.low)

    @property
    def probability_high(self) -> pd.DataFrame:
        """[methods, methods]: the upper ends."""
        return self._frame(self._found.improvement_interval.high)

    @property
    def critical_difference(self) -> float:
        """Nemenyi's, at 0.05: how far apart mean ranks must be for a difference to be found."""
        return self._found.critical

    @property
    def friedman_p(self) -> float:
        """p-value of Friedman's test that the methods do not differ, by permutation of the ranks within data sets."""
        return self._found.friedman.p

    @property
    def notes(self) -> tuple[str, ...]:
        """What is left out, what differs between the benches, and problems of the data."""
        return self._found.notes

    def rows(self) -> list[dict[str, Any]]:
        """One mapping a method, a value for each column of `table`; None where there is none."""
        return [self._row(place) for place in range(len(self._found.methods))]

    def to_json(self) -> dict[str, Any]:
        """For scripts; None for what is not known."""
        found, test = self._found, self._found.friedman
        ends = found.improvement_interval
        return {
            "datasets": [
                {"bench": one.name, "dataset": one.dataset, "dataset_digest": one.digest, "label": label,
                 "protocol": one.about["protocol"], "command": one.about["command"]}
                for one, label in zip(found.sources, found.labels, strict=True)
            ],
            "methods": self.rows(),
            "level": LEVEL,
            "friedman": {"chi2": test.chi2, "f": None if math.isinf(test.f) else test.f,
                         "degrees_of_freedom": list(test.degrees), "p": test.p, "least_p": test.least,
                         "rounds": test.rounds},
            "critical_difference": found.critical,
            "groups": [[found.methods[place] for place in group] for group in found.groups],
            "reference": found.reference,
            "probability_of_improvement": {
                "methods": list(found.methods), "values": _lists(found.improvement),
                "low": _lists(ends.low), "high": _lists(ends.high),
            },
            "verdict": verdict(found),
            "reading": reading(found),
            "notes": list(found.notes),
        }  # fmt: skip

    def csv(self) -> str:
        """The rows of `table` with all digits."""
        rows, out = self.rows(), io.StringIO()
        writer = csv.DictWriter(out, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        return out.getvalue()

    def formatted(self, name: str, picture: Path | None = None) -> str:
        """The comparison for a paper: `latex`, or `markdown`.

        Args:
            picture: its diagram, which Markdown shows by its file name alone: both belong into one folder.

        Raises:
            UserError: there is no such format.
        """
        shown_as = None if picture is None else picture.name
        return latex(self._found) if checked_format(name, FORMATS) == "latex" else markdown(self._found, shown_as)

    def write_page(self, path: str | os.PathLike[str]) -> None:
        """See `across_page.write_across_page`."""
        from avtune.workflows.bench.across_page import write_across_page

        write_across_page(self._found, Path(path))

    def write_picture(self, path: str | os.PathLike[str]) -> None:
        """See `across_page.write_across_picture`."""
        from avtune.workflows.bench.across_page import write_across_picture

        write_across_picture(self._found, Path(path))

    def lines(self, lay_out: Callable[[Sequence[str], Sequence[Sequence[str]]], list[str]] = aligned) -> list[str]:
        """The tables for a terminal, and what must be known to read them.

        Args:
            lay_out: makes lines of a header and rows.
        """
        return text(self._found, lay_out)

    def __repr__(self) -> str:
        return "\n".join(self.lines())

    def _repr_html_(self) -> str:
        said = "".join(f"<p>{escape(line)}</p>" for line in verdict(self._found))
        notes = "".join(f"<p>Note: {escape(note)}</p>" for note in self.notes)
        frame: Any = self.table
        return str(frame.to_html(index=False, escape=True, float_format="{:.4g}".format)) + said + notes

    def _row(self, place: int) -> dict[str, Any]:
        found = self._found
        row: dict[str, Any] = {"place": place + 1, "method": found.methods[place], "group": found.letters[place]}
        row["mean_rank"] = float(found.mean_ranks[place])
        row["mean_rank_low"] = _known(found.rank_interval.low[place])
        row["mean_rank_high"] = _known(found.rank_interval.high[place])
        for at, label in enumerate(found.labels):
            row |= {f"map_{label}": float(found.map[at, place]), f"rank_{label}": float(found.ranks[at, place])}
        for rival in found.rivals:
            name, ends = f"over_{found.methods[rival]}", found.improvement_interval
            values = (found.improvement, ends.low, ends.high)
            for end, of in zip(("", "_low", "_high"), values, strict=True):
                row[name + end] = None if rival == place else _known(of[place, rival])
        return row

    def _frame(self, values: Floats) -> pd.DataFrame:
        import pandas

        return pandas.DataFrame(values, index=self._found.methods, columns=self._found.methods)


def _known(value: np.floating[Any]) -> float | None:
    return None if np.isnan(value) else float(value)


def _lists(values: Floats) -> list[list[float | None]]:
    return [[_known(value) for value in row] for row in values]
