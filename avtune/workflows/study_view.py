"""A study as Python sees it: tables and values read from its files, which are never changed here."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from avtune.core.errors import UserError, did_you_mean, first_of
from avtune.core.hyper import Value
from avtune.core.objective import MAP, VALUE, value_name
from avtune.core.objective import label as value_label
from avtune.report.text import score_text
from avtune.space.axis import WHEN
from avtune.study.best import read_best
from avtune.study.curves import AgainLine, EpochLine, read_curves
from avtune.study.folder import StudyFolder
from avtune.study.results import Results, read_results
from avtune.study.status import read_status

if TYPE_CHECKING:
    import pandas as pd

State = Literal["finished", "running", "stopped"]
_SHOWN = 5  # trials in a repr
_WORDS = {"COMPLETE": "complete", "PRUNED": "stopped early", "FAIL": "failed", "RUNNING": "not ended"}
_TRIALS = ("trial", "state", "epochs", "best_epoch")  # then the value, hyper-parameters, seconds
_FINALISTS = ("trial", "default", "epoch", "{}_mean", "{}_sd", "seeds", "dropped", "failure")


@dataclass(frozen=True)
class BestTrial:
    """A study's best trial.

    Attributes:
        trial: its number.
        epoch: its best epoch, from 1.
        val_map: its validation MAP there, or the value of the study's `objective`; None for a winner that has none.
        config: its hyper-parameters.
        winner: the finalists have been repeated and it has won; before that it is the best of the search so far.
        objective: what the search maximises.
    """

    trial: int
    epoch: int | None
    val_map: float | None
    config: Mapping[str, Value]
    winner: bool
    objective: str = MAP.text


class StudyView:
    """A study's folder. Every property reads the files as they are at that moment.

    Args:
        path: the folder.

    >>> study = StudyView(Path("results/first"))
    >>> list(study.trials)[:6]
    ['trial', 'state', 'epochs', 'best_epoch', 'val_map', 'margin']
    >>> study.best.trial in study.trials["trial"]
    True
    >>> 0 <= study.results.test.map.mean <= 1
    True
    """

    def __init__(self, path: Path) -> None:
        self._given = path
        self._folder = StudyFolder(path.absolute())  # a notebook may change its folder

    @property
    def path(self) -> Path:
        """Its folder: as it was given, or absolute where the current folder has changed since."""
        return self._given if self._given.absolute() == self._folder.root else self._folder.root

    @property
    def name(self) -> str:
        return self._folder.root.resolve().name

    @property
    def state(self) -> State:
        """`finished` (there are results), `running` (a process searches) or `stopped` (the same call continues).

        Raises:
            UserError: the study is there no more.
        """
        if not self._folder.exists:
            raise UserError(f"there is no study at {self._folder.root}; it was removed, renamed or moved")
        if self._folder.search_owner() is not None:
            return "running"
        return "finished" if self._folder.metrics.is_file() else "stopped"

    @property
    def objective(self) -> str:
        """What the search maximises on the validation rows: `map`, `map@r`, ...; the column of it in `trials` is
        `val_` and this."""
        found: str = self._folder.settings()["space"]["search"].get("objective", MAP.text)
        return found

    @property
    def trials(self) -> pd.DataFrame:
        """One row a configuration, in the order of their numbers: `trial`, `state` (RUNNING, COMPLETE, PRUNED, FAIL),
        `epochs` trained, `best_epoch`, `val_map` (0 to 1; `val_map@r` and the like, see `objective`), the
        hyper-parameters by their names, device `seconds`.

        While a search runs it may be some seconds old.

        Raises:
            UserError: the file is damaged.
        """
        pandas, path, value = _pandas(), self._folder.trials_csv, value_name(self.objective)
        if not path.is_file() or not path.stat().st_size:
            return pandas.DataFrame({name: [] for name in (*_TRIALS, value, "seconds")})
        try:
            numbers = {"trial": "int64", "epochs": "int64", "best_epoch": "Int64", value: "float64"}
            # A choice may be called `none` or `NA`: only where there is no number yet is a cell empty, and where a
            # hyper-parameter has none, since its condition does not hold.
            empty = {name: [""] for name in ("best_epoch", value, *self._conditional())}
            kinds = numbers | self._kinds()
            return pandas.read_csv(path, dtype=kinds, keep_default_na=False, na_values=empty)
        except (ValueError, OSError) as error:
            raise UserError(f"{path} cannot be read: {str(error).splitlines()[0]}") from None

    def _conditional(self) -> list[str]:
        """The hyper-parameters that are searched on a condition."""
        searched = self._folder.settings()["space"]["space"]
        return [name for name, axis in searched.items() if isinstance(axis, dict) and WHEN in axis]

    def _kinds(self) -> dict[str, str]:
        """Those columns of hyper-parameters that pandas would take for something else: a word such as `01` for a
        number, and whole numbers of a condition that does not always hold for fractions."""
        kinds: dict[str, str] = {}
        for name, axis in self._folder.settings()["space"]["space"].items():
            if not isinstance(axis, dict):
                continue
            values = axis.get("values", [])
            if values and all(isinstance(one, str) for one in values):
                kinds[name] = "str"
            whole = axis.get("type") == "int" or (values and all(type(one) is int for one in values))
            if whole and WHEN in axis:
                kinds[name] = "Int64"
        return kinds

    @property
    def curves(self) -> pd.DataFrame:
        """One row an epoch that counts: `trial`, `epoch` (from 1), `val_map`, `loss` and its terms, `seconds`, and what
        else the method reports.

        Raises:
            UserError: the file is damaged.
        """
        epochs: dict[int, list[Mapping[str, Any]]] = {}
        lines, _ = read_curves(self._folder.curves, repair=False)
        for line in lines:
            known = epochs.setdefault(line.trial, [])
            if isinstance(line, AgainLine):
                known.clear()
            elif isinstance(line, EpochLine):
                known.append(line.said)
            else:  # an end, which may name an earlier epoch as the last that counts
                del known[line.epochs :]
        rows = [row for _, of_trial in sorted(epochs.items()) for row in of_trial]
        return _pandas().DataFrame(rows, columns=None if rows else ["trial", "epoch", "val_map"])

    @property
    def best(self) -> BestTrial | None:
        """The winner; before there is one, the trial with the highest validation MAP so far; None before the first
        epoch.

        Raises:
            UserError: a file is damaged.
        """
        facts = read_best(self._folder)
        if facts is not None:
            return BestTrial(facts.trial, facts.epoch, facts.val_map, facts.config, True, facts.objective)
        trials, objective = self.trials, self.objective
        value = value_name(objective)
        known = trials[(trials["state"] != "FAIL") & trials[value].notna()]
        if known.empty:
            return None
        row = trials.loc[known[value].idxmax()].to_dict()
        config = {name: row[name] for name in _hypers(trials) if not _pandas().isna(row[name])}
        return BestTrial(int(row["trial"]), int(row["best_epoch"]), row[value], config, False, objective)

    @property
    def finalists(self) -> pd.DataFrame:
        """The configurations that were repeated over seeds, best first; empty before that. `trial` (a number, or
        `default`), `default` (it is the method's default configuration), `epoch`, `val_map_mean`, `val_map_sd`
        (`val_objective_mean` and `val_objective_sd` where the search maximises another score),
        `seeds` (validation MAP of each), `dropped` (it could not win any more and got no further seeds), `failure`.

        Raises:
            UserError: the file is damaged.
        """
        facts = read_best(self._folder)
        value = "val_map" if self.objective == MAP.text else VALUE
        names = [name.format(value) for name in _FINALISTS]
        rows = [] if facts is None else facts.to_json()["finalists"]
        return _pandas().DataFrame([{name: row.get(name) for name in names} for row in rows], columns=names)

    @property
    def results(self) -> Results:
        """What the retrained winner scored, as in `final/metrics.json`: `results.test.map.mean`, `.ci95`, `.seeds`.

        Raises:
            UserError: the study is not finished, or the file is damaged.
        """
        found = read_results(self._folder)
        if found is None:
            raise UserError(f"{self.path} has no results: the study is {self.state}; the same call continues it")
        return found

    def __repr__(self) -> str:
        try:
            lines, top = self._lines(), self._top()
        except UserError as error:
            return f"<StudyView {self.path}: {error}>"
        return "\n".join([*lines, *([] if top is None else ["", top.to_string(index=False)])])

    def _repr_html_(self) -> str:
        try:
            lines, top = self._lines(), self._top()
        except UserError as error:
            return f"<p>{escape(str(self.path))}: {escape(str(error))}</p>"
        head = "<br>".join(map(escape, lines))
        return f"<p>{head}</p>" + ("" if top is None else top.to_html(index=False, escape=True))

    def _lines(self) -> list[str]:
        status = read_status(self._folder)
        counts = ", ".join(f"{count} {_WORDS[state]}" for state, count in status["states"].items() if count)
        lines = [
            f"study {self.name}: {self.state}, in {self.path}",
            f"{status['method']} on {status['dataset']}, {status['trials']} trials" + (f": {counts}" if counts else ""),
        ]
        if (best := self.best) is not None:
            name = value_label(best.objective, "validation")
            value = "" if best.val_map is None else f", {name} {best.val_map:.4f} at epoch {best.epoch}"
            lines.append(f"{'winner' if best.winner else 'best so far'}: trial {best.trial}{value}")
        if (found := read_results(self._folder)) is not None:
            label = "" if found.label is None else f", {found.label}"
            lines.append(f"test MAP {score_text(found.test.map)}{label}")
        return lines

    def _top(self) -> pd.DataFrame | None:
        """The best trials, with the hyper-parameters that differ between trials."""
        trials = self.trials
        if trials.empty:
            return None
        fixed = [name for name in _hypers(trials) if trials[name].nunique() < 2]
        return trials.drop(columns=fixed).nlargest(_SHOWN, value_name(self.objective))


def existing(study: str, results: Path) -> Path:
    """The folder of a study by its name below `results`, or by its path.

    Raises:
        UserError: there is none.
    """
    for path in (results / study, Path(study)):
        if StudyFolder(path).exists:
            return path
    there: list[str] = []
    with contextlib.suppress(OSError):
        there = sorted(path.parent.name for path in results.glob("*/study.yaml"))
    known = f"\nstudies in {results}: {first_of(there)}" if there else ""
    raise UserError(f"no study is called {study!r} in {results}{did_you_mean(study, there)}{known}")


def _hypers(trials: pd.DataFrame) -> list[str]:
    """Those columns that are hyper-parameters."""
    return list(trials.columns)[len(_TRIALS) + 1 : -1]


def _pandas() -> Any:
    """Imported by the first table: it takes a second, and a process that shows none needs none."""
    import pandas

    return pandas
