"""A bench as Python sees it: its leaderboard as a table and as typed values, and the study of each method."""

from __future__ import annotations

import io
from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from avtune.core.errors import UserError, did_you_mean, first_of
from avtune.workflows.bench.board import Board
from avtune.workflows.bench.folder import BenchFolder
from avtune.workflows.bench.formats import formatted
from avtune.workflows.bench.leaderboard import text
from avtune.workflows.bench.leaderboard_csv import comma_separated
from avtune.workflows.bench.rows import read_board
from avtune.workflows.study_view import StudyView

if TYPE_CHECKING:
    import pandas as pd

_TEXT = ("method", "group", "epochs", "dataset", "dataset_digest", "problems", "selected_on")
_SHOWN = ["rank", "method", "map", "map_low", "map_high", "default_map", "untrained_map", "group"]


class BenchView:
    """A bench's folder, and its leaderboard.

    Args:
        path: the folder.
        found: the leaderboard, where it is known; else it is made from the studies when it is asked for.
    """

    def __init__(self, path: Path, found: Board | None = None) -> None:
        self._folder = BenchFolder(path)
        self._board = found

    @property
    def path(self) -> Path:
        return self._folder.root

    @property
    def name(self) -> str:
        return self._folder.root.resolve().name

    @property
    def board(self) -> Board:
        """The leaderboard, typed: `rows` (best first), `letters`, `p_values`, `detectable`, `gain_p`.

        Raises:
            UserError: a file of the bench is damaged.
        """
        if self._board is None:
            self._board = read_board(self._folder)
        return self._board

    @property
    def table(self) -> pd.DataFrame:
        """One row a method, best mean test MAP first, as in `leaderboard.csv`: `rank`, `method`, `group` (rows that
        share a letter: no difference was found between them), `map`, `map_low`, `map_high` (95 % interval over the
        seeds) and so for the other scores, for `default_map` and `untrained_map`, `gain` over the default
        configuration with `gain_p`, `search_seconds` of the devices, what was run, and `selected_on`: `validation`, or
        `test` under the protocol `published`.

        Raises:
            UserError: a file of the bench is damaged.
        """
        import pandas

        columns = comma_separated(self.board).splitlines()[0].split(",")
        empty = {name: [""] for name in columns if name not in _TEXT}  # only a number may be missing
        return pandas.read_csv(
            io.StringIO(comma_separated(self.board)),
            dtype=dict.fromkeys(_TEXT, str),
            keep_default_na=False,
            na_values=empty,
        )

    @property
    def p_values(self) -> pd.DataFrame:
        """[methods, methods], in the order of `table`: the p-value of each pair of rows after Holm's correction (paired
        randomisation test over the test clips); 1 on the diagonal."""
        import pandas

        names = [row.method for row in self.board.rows]
        return pandas.DataFrame(self.board.p_values, index=names, columns=names)

    @property
    def failures(self) -> Mapping[str, str]:
        """Why a method that was tried has no row, by its name; of a bench that was loaded, see its `log.txt`."""
        return self.board.failures

    def formatted(self, name: str) -> str:
        """The leaderboard for a paper: `latex`, `markdown`, `csv`, or `json` (rows in the shape of MTEB's results).

        Raises:
            UserError: there is no such format, no finished method, or a file of the bench is damaged.
        """
        return formatted(self.board, name)

    def study(self, method: str) -> StudyView:
        """The study of a method.

        Raises:
            UserError: the bench has none.
        """
        methods = self._folder.settings()["methods"]
        if method not in methods or not self._folder.study(method).exists:
            raise UserError(f"{self.path} has no study of {method!r}{did_you_mean(str(method), methods)}")
        return StudyView(self._folder.study(method).root)

    def __repr__(self) -> str:
        try:
            return "\n".join([f"bench {self.name}, in {self.path}", *text(self.board)])
        except UserError as error:
            return f"<BenchView {self.path}: {error}>"

    def _repr_html_(self) -> str:
        try:
            shown: Any = self.table[_SHOWN]
            left_out = "".join(f"<br>{escape(name)}: {escape(why)}" for name, why in self.failures.items())
        except UserError as error:
            return f"<p>{escape(str(self.path))}: {escape(str(error))}</p>"
        head = f"<p>bench {escape(self.name)}, in {escape(str(self.path))}{left_out}</p>"
        return head + str(shown.to_html(index=False, escape=True))


def existing_bench(bench: str, results: Path) -> Path:
    """The folder of a bench by its name below `results`, or by its path.

    Raises:
        UserError: there is none.
    """
    for path in (results / bench, Path(bench)):
        if BenchFolder(path).exists:
            return path
    there = sorted(path.parent.name for path in results.glob("*/bench.yaml")) if results.is_dir() else []
    known = f"\nbenches in {results}: {first_of(there)}" if there else ""
    raise UserError(f"no bench is called {bench!r} in {results}{did_you_mean(bench, there)}{known}")
