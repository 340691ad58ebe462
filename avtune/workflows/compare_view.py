"""A comparison of studies as it is handed out: typed values, a table, a page and a TensorBoard folder."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from avtune.report import text
from avtune.workflows.compare import Compared, Comparison, facts_of
from avtune.workflows.compare_text import by_kind, cells, head, reading

if TYPE_CHECKING:
    import pandas as pd

_SHOWN = ["place", "study", "method", "trials", "validation_map", "map", "map_low", "map_high", "default_map", "group"]


class StudyComparison:
    """Several studies side by side.

    Args:
        found: see `workflows.compare`.
    """

    def __init__(self, found: Comparison) -> None:
        self._found = found

    @property
    def studies(self) -> tuple[Compared, ...]:
        """Those on the same data together, best test MAP first, studies without results last. Of each: `name`, `place`
        among those that it is ranked with, `group` (between two that share a letter no difference was found),
        `results`, `trials`, `epochs`, `seconds`."""
        return self._found.studies

    @property
    def notes(self) -> tuple[str, ...]:
        """What is not compared, and why."""
        return self._found.notes

    @property
    def table(self) -> pd.DataFrame:
        """One row a study, as `avtune compare --csv` prints them: `place`, `study`, `group`, `state`, `method`,
        `dataset`, `dataset_digest`, `trials`, `epochs`, device `search_seconds`, `best_val_map` of one seed,
        `validation_map` of the winner over the seeds of the finals, `map` with `map_low` and `map_high` (95 % interval
        over the seeds) and so for the other scores, `default_map`, `untrained_map`, `seeds`, `selected_on`,
        `problems`."""
        import pandas

        return pandas.DataFrame(self.rows()).astype({"place": "Int64", "seeds": "Int64"})

    def rows(self) -> list[dict[str, Any]]:
        """One mapping a study, a value for each column of `table`; None where there is none."""
        return [facts_of(one) for one in self.studies]

    def to_json(self) -> dict[str, Any]:
        """For scripts."""
        return {"studies": self.rows(), "notes": list(self.notes)}

    def write_page(self, path: Path) -> None:
        """See `compare_page.write_compare_page`."""
        from avtune.workflows.compare_page import write_compare_page

        write_compare_page(self._found, path)

    def write_board(self, logdir: Path) -> None:
        """See `report.compare_board.write_compare_board`."""
        from avtune.report.compare_board import Shown, write_compare_board

        named: dict[str, Compared] = {}
        for one in self.studies:
            plain = one.name.replace("/", "_")
            further = (f"{plain}_{count}" for count in itertools.count(2))  # a/x and a_x are two studies
            named[next(name for name in itertools.chain([plain], further) if name not in named)] = one
        write_compare_board(
            logdir, {name: Shown(one.folder, {"study": name, "method": one.method}) for name, one in named.items()}
        )

    def lines(self, drawn: Callable[[Sequence[str], Sequence[Sequence[str]]], list[str]] = text.table) -> list[str]:
        """The tables for a terminal, one for studies that can be ranked together, and how to read them.

        Args:
            drawn: the lines of a table, given its header and its rows.
        """
        lines: list[str] = []
        for title, studies in by_kind(self._found):
            lines += ["", title, *drawn(head(studies), [cells(one) for one in studies])]
        return [*lines[1:], "", *reading(self._found), *(f"note: {note}" for note in self.notes)]

    def __repr__(self) -> str:
        return "\n".join(self.lines())

    def _repr_html_(self) -> str:
        shown: Any = self.table
        notes = "".join(f"<p>Note: {escape(note)}</p>" for note in self.notes)
        columns = [name for name in _SHOWN if name in shown]
        return str(shown[columns].to_html(index=False, escape=True)) + notes
