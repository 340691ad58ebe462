"""Bench rows: what the finished methods of a bench found, and the leaderboard on disk."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from avtune.core.errors import UserError
from avtune.core.files import update_text
from avtune.core.schema import fitting
from avtune.report.query_ap import clip_ap
from avtune.study.best import read_best
from avtune.study.by_class import read_by_class
from avtune.study.folder import StudyFolder
from avtune.study.results import read_results
from avtune.study.status import read_status
from avtune.workflows.bench.board import Board, Floats, Row, board
from avtune.workflows.bench.folder import BenchFolder, is_current
from avtune.workflows.bench.leaderboard import markdown
from avtune.workflows.bench.leaderboard_csv import comma_separated
from avtune.workflows.bench.leaderboard_page import leaderboard_page

_ENVIRONMENT = {"versions": {str: (str, None)}, "cpu": str, "cores": int, "gpus": [str]}


class BenchRows:
    """The rows of one bench, and its leaderboard on disk.

    Args:
        folder: of the bench.
        settings: what its `bench.yaml` holds.

    Attributes:
        folder: of the bench.
        methods: their names, in the order of the runs.
    """

    def __init__(self, folder: BenchFolder, settings: Mapping[str, Any]) -> None:
        self.folder = folder
        self.methods: list[str] = settings["methods"]
        self._settings = settings
        self._rows: dict[str, Row] = {}
        self._failures: dict[str, str] = {}
        self._p_values: dict[tuple[str, str], float] = {}

    def add(self, method: str) -> Row:
        """Takes the row of a method whose study is finished.

        Raises:
            UserError: a file of the study is damaged, or it was scored on other test clips than the others.
        """
        row = read_row(self.folder.study(method), method)
        _check_dataset(row, self.folder, self._settings)
        if self._rows and len(row.ap) != len(next(iter(self._rows.values())).ap):
            raise UserError(f"{self.folder.study(method).query_ap} is of other test clips than those of other methods")
        self._rows[method] = row
        return row

    def add_failure(self, method: str, reason: str) -> None:
        """Notes why a method has no row."""
        self._failures[method] = reason

    def read_again(self) -> None:
        """Takes all rows as their studies are now: looks at their test splits may have been counted meanwhile.

        Raises:
            UserError: see `add`.
        """
        for method in list(self._rows):
            self.add(method)

    def write(self) -> Board:
        """Writes `leaderboard.md`, `.csv` and `.html` of what is known."""
        done = self._rows.keys() | self._failures.keys()
        waiting = [method for method in self.methods if method not in done]
        found = board(self._settings, list(self._rows.values()), self._failures, waiting, self._p_values)
        for path, content in (
            (self.folder.leaderboard_md, markdown(found)),
            (self.folder.leaderboard_csv, comma_separated(found)),
            (self.folder.leaderboard_html, leaderboard_page(found)),
        ):
            update_text(path, content)
        return found


def read_board(folder: BenchFolder) -> Board:
    """The leaderboard of a bench, made again from its finished studies. Nothing is written; why a method has no row is
    not in its files, such a method is pending.

    Raises:
        UserError: there is no such bench, or a file of it is damaged.
    """
    settings = folder.settings()
    rows, waiting = finished_rows(folder, settings)
    return board(settings, rows, {}, waiting, {})


def renewed(study: StudyFolder) -> str:
    """Has the leaderboard of the bench around a study tell what the study's files say now. One that lacks a result is
    left to the command that continues the bench: why a method has none is told by that command alone.

    Returns:
        Why it could not be done; empty where it was, or there is none.
    """
    folder = BenchFolder(study.root.resolve().parent)
    if not folder.exists or not folder.leaderboard_md.is_file():
        return ""
    try:
        settings = folder.settings()
        rows = BenchRows(folder, settings)
        if any(not is_current(folder, settings, method) for method in rows.methods):
            return ""
        with folder.shared.locked("writing its leaderboard"):
            for method in rows.methods:
                rows.add(method)
            rows.write()
    except UserError as error:
        return f"{folder.leaderboard_md} does not tell it yet, the command of that bench will: {error}"
    return ""


def finished_rows(folder: BenchFolder, settings: Mapping[str, Any]) -> tuple[list[Row], list[str]]:
    """The rows of a bench's finished studies, and the methods that have none.

    Args:
        folder: of the bench.
        settings: what its `bench.yaml` holds.

    Raises:
        UserError: a file of a study is damaged, or of another dataset than the bench.
    """
    done = [method for method in settings["methods"] if is_current(folder, settings, method)]
    rows = [read_row(folder.study(method), method) for method in done]
    for row in rows:
        _check_dataset(row, folder, settings)
    return rows, [method for method in settings["methods"] if method not in done]


def _check_dataset(row: Row, folder: BenchFolder, settings: Mapping[str, Any]) -> None:
    """Raises:
    UserError: a row was scored on another dataset than the bench's, so that its clips cannot be paired with others'.
    """
    found, wanted = row.results.dataset.digest, str(settings["dataset"]["digest"])
    if found != wanted:
        raise UserError(
            f"{folder.study(row.method).metrics} is of another dataset ({found[:12]}) than the bench ({wanted[:12]}); "
            "restore it from a copy"
        )


def read_row(folder: StudyFolder, method: str) -> Row:
    """What a finished study adds to a leaderboard.

    Raises:
        UserError: a file of the study is missing or damaged, or does not belong to the others.
    """
    results, best = read_results(folder), read_best(folder)
    if results is None or best is None:
        raise UserError(f"{folder.root} is not finished, or lacks {folder.metrics} or {folder.best_yaml}")
    environment = _environment(folder.environment_json)
    ap, default_ap = _clip_ap(folder)
    seconds = read_status(folder)["seconds_trained"]
    untrained = results.untrained is not None or folder.embeddings.is_file()  # a training function shows no model
    if results.validation is None or not untrained or (default_ap is not None and results.default is None):
        raise UserError(f"{folder.metrics} lacks a score; restore it from a copy")
    pairs = [(results.test, ap), (results.default, default_ap)]
    scored = [scores.map.mean for scores, of in pairs if scores is not None and of is not None]
    means = [float(of.mean()) for _, of in pairs if of is not None]
    if ap is None or not np.allclose(means, scored):
        raise UserError(f"{folder.query_ap} does not belong to {folder.metrics}; restore both from one copy")
    found = read_by_class(folder)
    measures = None if found is None else found.measures
    repeated = sum(one.is_default is False for one in best.finalists)
    return Row(method, results, best.config, environment, seconds, ap, default_ap, measures, repeated)


def _clip_ap(folder: StudyFolder) -> tuple[Floats | None, Floats | None]:
    """Average precision of every test clip [N], of the retrained winner and of the default configuration; None for what
    the file does not have."""
    try:
        data = folder.query_ap.read_bytes()
        return clip_ap(data, "test"), clip_ap(data, "default")
    except (OSError, ValueError) as error:
        raise UserError(f"{folder.query_ap} cannot be read: {error}; restore it from a copy") from None


def _environment(path: Path) -> dict[str, Any]:
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path} cannot be read: {error}; restore it from a copy") from None
    made: dict[str, Any] = fitting(facts, _ENVIRONMENT, path)
    return made
