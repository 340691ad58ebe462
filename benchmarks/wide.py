"""Claim: searching the choices of training (the `wide` spaces) gives `psd` a higher test MAP at equal trials.

Whole searches with finals, as `avtune search` makes them, which differ in the space alone: the usual one of the data
set, and the wide one made from it. Each has `--seeds` searches with other search seeds, which decide the
configurations, the validation rows and the seeds of finals and retraining; differences are taken seed by seed. A search
is a study below `--work`: the same command goes on there after a kill, and `--minutes` ends it in time.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import avtune
from avtune.data import Dataset
from avtune.methods import METHODS, hypers_of
from avtune.space.files import load as load_space
from avtune.workflows.study_view import StudyView
from benchmarks import _report
from benchmarks import _wide_report as tables
from benchmarks._psd_cells import dataset_named
from benchmarks._searches import within
from benchmarks._wide_report import USUAL, WIDE, Side

DATASETS = ("yt8m_ave15", "yt8m_10s")


@dataclass(frozen=True)
class Cell:
    """One search.

    Attributes:
        dataset: name.
        side: `USUAL` or `WIDE`.
        seed: of the search.
    """

    dataset: str
    side: str
    seed: int

    @property
    def space(self) -> str:
        """The name of its space."""
        usual = self.dataset if self.dataset == "demo" else "ave"
        return usual if self.side == USUAL else f"wide_{usual}"


def main() -> None:
    given = _options()
    bases: dict[str, Dataset] = {}

    def do(cell: Cell) -> None:
        base = bases.setdefault(cell.dataset, dataset_named(cell.dataset))
        study = avtune.search(base, **_arguments(given, cell), runner="inline", gpus=0, cpus=1, quiet=True)
        print(f"{study.name}: test MAP {study.results.test.map.mean:.4f}", flush=True)

    cells = [Cell(name, side, seed) for name in given.datasets for seed in range(given.seeds) for side in (USUAL, WIDE)]
    left = within(given.minutes, cells, lambda cell: tables.is_finished(_study(given, cell)), do)
    found = {name: _sides(given, name) for name in given.datasets}
    print(_write(given, found))
    if left:
        print(f"{left} of {len(cells)} searches are left; the same command goes on", flush=True)


def _options() -> argparse.Namespace:
    parser = _report.arguments("wide", __doc__)
    parser.add_argument("--work", type=Path, default=Path("build/wide"), help="folder of the searches (build/wide)")
    parser.add_argument("--datasets", default=",".join(DATASETS), help=f"({','.join(DATASETS)}; also demo)")
    parser.add_argument("--seeds", type=int, default=3, help="searches of each space (3)")
    parser.add_argument("--trials", type=int, default=64, help="of each search (64)")
    parser.add_argument("--epochs", default="auto", help="of a trial at most, or auto (auto)")
    parser.add_argument("--minutes", type=float, default=1e9, help="begin no search that would end later; 0: report")
    given = parser.parse_args()
    if given.quick:
        given.datasets, given.seeds, given.trials, given.epochs = "demo", 2, 2, "1"
    given.datasets = given.datasets.split(",")
    return given


def _arguments(given: argparse.Namespace, cell: Cell) -> dict[str, Any]:
    values: dict[str, Any] = {"search.seed": cell.seed}
    if given.quick:
        values |= {"space.hidden_dim": 8, "space.embedding_dim": 4, "final.finalists": 1, "final.seeds": 1}
        values |= {} if cell.side == USUAL else {"space.depth": 1, "space.average": False, "space.mixup": False}
        values |= {} if cell.side == USUAL else {"space.average_decay": 0.99, "space.mixup_share": 0.5}
    return {
        "space": cell.space,
        "trials": given.trials,
        "epochs": given.epochs if given.epochs == "auto" else int(given.epochs),
        "set": values,
        "name": _study(given, cell).path.name,
        "results": given.work,
        "reference": False,
    }


def _study(given: argparse.Namespace, cell: Cell) -> StudyView:
    return StudyView(given.work / f"{cell.dataset}-{given.trials}-{given.epochs}-{cell.side}-{cell.seed}")


def _sides(given: argparse.Namespace, name: str) -> dict[str, dict[int, Side]]:
    found: dict[str, dict[int, Side]] = {USUAL: {}, WIDE: {}}
    for side, searches in found.items():
        for seed in range(given.seeds):
            study = _study(given, Cell(name, side, seed))
            if tables.is_finished(study):
                searches[seed] = tables.side_of(study)
    return found


def _write(given: argparse.Namespace, found: Mapping[str, Mapping[str, Mapping[int, Side]]]) -> Path:
    there = {name: sides for name, sides in found.items() if any(sides.values())}
    claims = "\n".join(tables.claim(_title(name), sides) for name, sides in found.items())
    done = sum(len(searches) for sides in found.values() for searches in sides.values())
    wanted = 2 * given.seeds * len(found)
    partial = "" if done == wanted else " **This report is partial**: the column `searches` says how many each row has."
    sections = [f"Claims:\n\n{claims}", f"{done} of {wanted} searches are there.{partial}", _HOW.format(**vars(given))]
    if there:
        picture = f"{datetime.now(UTC):%Y-%m-%d}-wide.svg"
        given.out.mkdir(parents=True, exist_ok=True)
        (given.out / picture).write_text(tables.picture({_title(name): sides for name, sides in there.items()}))
        sections.append(f"![What searching bought, and learning curves of the best trials]({picture})")
    for name, sides in there.items():
        sections.append(f"## {_title(name)}\n\n{tables.table(sides)}")
        sections.append(f"Winners of the wide space:\n\n{tables.winners(sides, _choices(name))}")
    title = "Wide spaces: what searching the choices of training buys"
    return _report.write("wide", title, sections, ["torch", "optuna", "numpy"], given.out)


def _choices(name: str) -> list[str]:
    """The axes that a wide space has and the usual one has not."""
    known = {"hypers_of": hypers_of, "method_names": METHODS}
    usual, wide = (load_space(Cell(name, side, 0).space, **known) for side in (USUAL, WIDE))
    return [axis.name for axis in wide.axes if axis.name not in {one.name for one in usual.axes}]


def _title(name: str) -> str:
    return f"YouTube-8M subset ({name})" if name.startswith("yt8m") else name


_HOW = """Each search: {trials} trials, epochs {epochs}, ASHA, the finals and the retraining of `avtune search`
(the space's own finalists and seeds; the test split scored by the retrained winner and the default
configuration), without the reference row, in this process. Validation MAP chooses; it is of the training
split. Intervals: 95 %, Student t over searches, which differ in their search seeds; `wide minus usual`
is paired by them. Both spaces are searched as their files say: `wide_ave` draws
its first 30 trials at random, or all where there are fewer."""

if __name__ == "__main__":
    main()
