"""Claim: a validation split of its own for each trial does not lower the test MAP of a search, and takes little time.

Whole searches with finals, as `avtune search` makes them, which differ in their validation rows alone: the same for all
trials and seeds, the same for the trials and others for each seed of the finals (`final.reshuffle`), or others for each
trial and each seed (`validation.reshuffle`). Each has `--seeds` searches with other search seeds; differences are taken
seed by seed. Beside test MAP: by how much the best value of the search lies above the mean of the finals' fresh seeds,
which is what choosing the best of many by one split flatters, and the seconds of an epoch of four lanes with either.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

import avtune
from avtune.core.trial import Trial
from avtune.data import Dataset
from avtune.data.prepare import Prepared, for_search
from avtune.engine.lane_trainer import LaneTrainer
from avtune.engine.precision import fast_precision
from avtune.methods import METHODS, defaults, static_values
from avtune.metrics.significance import mean_interval
from avtune.workflows.study_view import StudyView
from benchmarks import _report
from benchmarks._searches import within
from benchmarks._wide_report import is_finished

ONE, FINALS, OWN = "one split", "finals reshuffled", "all reshuffled"
SETS: dict[str, dict[str, Any]] = {ONE: {}, FINALS: {"final.reshuffle": True}, OWN: {"validation.reshuffle": True}}
_LANES = 4


@dataclass(frozen=True)
class Cell:
    """One search."""

    dataset: str
    side: str
    seed: int


def main() -> None:
    given = _options()
    cells = [Cell(name, side, seed) for name in given.datasets for seed in range(given.seeds) for side in SETS]

    def do(cell: Cell) -> None:
        study = avtune.search(cell.dataset, **_arguments(given, cell), runner="inline", gpus=0, cpus=1, quiet=True)
        print(f"{study.name}: test MAP {study.results.test.map.mean:.4f}", flush=True)

    left = within(given.minutes, cells, lambda cell: is_finished(_study(given, cell)), do)
    print(_write(given))
    if left:
        print(f"{left} of {len(cells)} searches are left; the same command goes on", flush=True)


def _options() -> argparse.Namespace:
    parser = _report.arguments("reshuffle", __doc__)
    parser.add_argument("--work", type=Path, default=Path("build/reshuffle"), help="the searches (build/reshuffle)")
    parser.add_argument("--datasets", default="demo", help="names or files (demo)")
    parser.add_argument("--seeds", type=int, default=5, help="searches of each side (5)")
    parser.add_argument("--trials", type=int, default=32, help="of each search (32)")
    parser.add_argument("--epochs", type=int, default=27, help="of a trial at most (27)")
    parser.add_argument("--minutes", type=float, default=1e9, help="begin no search that would end later; 0: report")
    given = parser.parse_args()
    if given.quick:
        given.seeds, given.trials, given.epochs = 2, 2, 1
    given.datasets = given.datasets.split(",")
    return given


def _arguments(given: argparse.Namespace, cell: Cell) -> dict[str, Any]:
    values = {"search.seed": cell.seed, **SETS[cell.side]}
    if given.quick:
        values |= {"space.hidden_dim": 8, "space.embedding_dim": 4, "final.finalists": 1, "final.seeds": 1}
    name = _study(given, cell).path.name
    return {
        "trials": given.trials,
        "epochs": given.epochs,
        "set": values,
        "name": name,
        "results": given.work,
        "reference": False,
    }


def _study(given: argparse.Namespace, cell: Cell) -> StudyView:
    side = cell.side.replace(" ", "_")
    return StudyView(given.work / f"{Path(cell.dataset).stem}-{given.trials}-{given.epochs}-{side}-{cell.seed}")


def _write(given: argparse.Namespace) -> Path:
    torch.set_num_threads(1)  # as an engine on a CPU has
    sections = [_HOW.format(**vars(given))]
    for name in given.datasets:
        found = {
            side: {
                seed: study
                for seed in range(given.seeds)
                if is_finished(study := _study(given, Cell(name, side, seed)))
            }
            for side in SETS
        }
        dataset = avtune.load_dataset(name)
        title = f"YouTube-8M subset ({dataset.name})" if dataset.name.startswith("yt8m") else dataset.name
        sections.append(f"## {title}\n\n{_table(found)}\n\n{_cost(dataset, quick=given.quick)}")
    title = "Validation rows of its own for each trial"
    return _report.write("reshuffle", title, sections, ["torch", "optuna", "numpy", "scikit-learn"], given.out)


def _table(found: dict[str, dict[int, StudyView]]) -> str:
    head = ["validation rows", "searches", "test MAP", "minus one split", "best of the search minus finals"]
    tests = {
        side: {seed: one.results.test.map.mean for seed, one in studies.items()} for side, studies in found.items()
    }
    rows = []
    for side, studies in found.items():
        known = tests[ONE]
        apart = [value - known[seed] for seed, value in tests[side].items() if seed in known and side != ONE]
        gaps = [_flattered(study) for study in studies.values()]
        values = (_mean(list(tests[side].values()), ""), _mean(apart, "+"), _mean(gaps, "+"))
        rows.append([side, str(len(studies)), *values])
    return f"{_claim(tests)}\n\n{_report.table(head, rows)}"


def _claim(tests: Mapping[str, Mapping[int, float]]) -> str:
    """The claim beside what was found."""
    apart = [value - tests[ONE][seed] for seed, value in tests[OWN].items() if seed in tests[ONE]]
    if len(apart) < 2:
        return "Claim: not tested; an interval takes two searches of each side."
    middle, half = mean_interval(apart)
    assert half is not None
    lower = "does" if middle < -half else "does not"
    return (
        f"Claim: a split for each trial {lower} lower test MAP by more than the interval ({middle:+.4f} ± {half:.4f}, "
        f"{len(apart)} searches)."
    )


def _flattered(study: StudyView) -> float:
    """Best validation MAP of a trial minus the mean of that trial over the seeds of the finals."""
    trials, finalists = study.trials, study.finalists
    best = trials.loc[trials["val_map"].idxmax()]
    row = finalists[finalists["trial"].astype(str) == str(int(best["trial"]))]
    return float(best["val_map"]) - float(row["val_map_mean"].iloc[0])


def _mean(values: Sequence[float], sign: str) -> str:
    """Mean with its interval; a dash where there is nothing."""
    if not values:
        return "–"
    middle, half = mean_interval(values)
    return f"{middle:{sign}.4f}" + ("" if half is None else f" ± {half:.4f}")


def _cost(dataset: Dataset, *, quick: bool) -> str:
    """The seconds of an epoch with either; epochs take turns, so that both have the same machine."""
    rows: dict[str, Any] = {"fraction": 0.2, "folds": None, "seed": 0, "equal_rows": True}
    one, own = (_lanes(for_search(dataset, **rows, reshuffle=reshuffle)[0]) for reshuffle in (False, True))
    seconds = [[_epoch(lanes) for lanes in (one, own)] for _ in range(2 if quick else 20)]
    usual, reshuffled = np.median(seconds[1:], axis=0)
    return (
        f"An epoch of {_LANES} lanes with `psd`'s default configuration, validation included, takes {usual:.3f} s "
        f"with one split and {reshuffled:.3f} s with a split for each lane, {reshuffled / usual - 1:+.0%} (one core, "
        "medians of epochs that take turns)."
    )


def _lanes(data: Prepared) -> LaneTrainer:
    config = defaults(METHODS["psd"])
    made = LaneTrainer("psd", static_values(METHODS["psd"], config), data, capacity=_LANES, precision=fast_precision(0))
    for number in range(_LANES):
        made.admit(Trial(number, "psd", config, number, 100))
    return made


def _epoch(lanes: LaneTrainer) -> float:
    begun = time.perf_counter()
    lanes.train_epoch()
    return time.perf_counter() - begun


_HOW = """## How

`psd`, {trials} trials a search, {epochs} epochs at most, one trial at a time in this process, finals by the usual
rules. The search seed decides configurations, validation rows and all further seeds; rows with the same seed try the
same first configurations. Intervals: 95 %, Student t over the searches. The last column of a table is what the best
validation MAP of the search promises beyond what fresh seeds of the finals give for the same trial."""


if __name__ == "__main__":
    main()
