"""Checks a bench: the study of every method, and the leaderboard made again from them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from avtune.data.dataset import Dataset
from avtune.report.text import escaped
from avtune.workflows.bench.board import board
from avtune.workflows.bench.folder import BenchFolder, is_current
from avtune.workflows.bench.leaderboard import VERSION as WORDS
from avtune.workflows.bench.leaderboard import markdown
from avtune.workflows.bench.leaderboard_csv import VERSION, comma_separated
from avtune.workflows.bench.rows import read_row
from avtune.workflows.verify import verify_study
from avtune.workflows.verify_model import Check, check, skipped

_RENAMED = (("A to V", "audio->visual"), ("V to A", "visual->audio"), ("the other modality", "the other view"))
"""What leaderboards of earlier versions say in other words."""


def verify_bench(folder: BenchFolder, dataset: Dataset, *, retrain: bool = False) -> list[Check]:
    """Checks every study of a bench and its leaderboard; arguments and errors as of `verify_study`."""
    checks: list[Check] = []
    settings = folder.settings()
    methods = settings["methods"]
    unfinished = [method for method in methods if not is_current(folder, settings, method)]
    for method in methods:
        study = folder.study(method)
        if study.exists:
            checks += [
                replace(one, file=f"{study.root.name}/{one.file}")
                for one in verify_study(study, dataset, retrain=retrain)
            ]
    if unfinished:
        why = f"{', '.join(unfinished)} {'has' if len(unfinished) == 1 else 'have'} no result"
        return [*checks, skipped("leaderboard.md", "table", why)]
    return [*checks, *_leaderboard(folder, methods)]


def _leaderboard(folder: BenchFolder, methods: list[str]) -> list[Check]:
    """Compares the files of the leaderboard with their content made again from the studies."""
    made: dict[Path, list[str]] = {}  # as this version writes them, and as earlier ones did

    def table(path: Path) -> str:
        if not made:
            rows = [read_row(folder.study(method), method) for method in methods]
            known: dict[tuple[str, str], float] = {}
            now, before = (board(folder.settings(), rows, {}, [], known, seeds=seeds) for seeds in (True, False))
            made[folder.leaderboard_md] = [markdown(before, version=one) for one in range(1, WORDS)]
            made[folder.leaderboard_md] += [markdown(now)]
            made[folder.leaderboard_csv] = [comma_separated(before, version=one) for one in range(1, VERSION + 1)]
            made[folder.leaderboard_csv] += [comma_separated(now)]
        told = path.read_text(encoding="utf-8") if path.is_file() else ""
        for old, new in _RENAMED:
            told = told.replace(old, new if path == folder.leaderboard_csv else escaped(new))
        return "" if told in made[path] else "it is another than the one made again"

    files = (folder.leaderboard_md, folder.leaderboard_csv)
    return [check(path.name, "made again from the studies", lambda path=path: table(path)) for path in files]  # type: ignore[misc]
