"""Claim: the memory of the driver does not grow with the work: 64 lanes, 200,000 epochs of next to no work.

    python -m benchmarks.load

Two engines of 32 lanes under Ray train tiny encoders; the driver does all that it does in a search: proposals (random),
the stopping rule, the study's files, TensorBoard, the listeners. What a study has to remember of each trial grows with
the trials and is measured beside it, by opening the finished study in a process of its own.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from avtune.report.board import BoardListener
from avtune.report.tensorboard import StudyBoard
from avtune.search import open_space
from avtune.study.folder import StudyFolder
from avtune.study.study import Record, Study
from benchmarks import _report, _tiny

ENGINES, LANES, EPOCHS = 2, 32, 200
LOOKS = (0.05, 0.25, 0.5, 0.75, 1.0)


def main() -> None:
    parser = _report.arguments("load", __doc__)
    parser.add_argument("--epochs", type=int, default=200_000, help="of all lanes together (200,000)")
    parser.add_argument("--study", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.study:
        print(json.dumps(_opened(given.study)))
        return
    trials = max(ENGINES * LANES, (given.epochs if not given.quick else 640) // (EPOCHS if not given.quick else 10))
    with tempfile.TemporaryDirectory() as scratch:
        rows, seconds = _run(Path(scratch), trials, 10 if given.quick else EPOCHS)
        command = [sys.executable, "-m", "benchmarks.load", "--study", str(Path(scratch) / "study")]
        shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        remembered = json.loads(shown.splitlines()[-1])
    first = rows[0][1]
    table = _report.table(
        ["epochs reported", "driver, MB", "since the first line, MB"],
        [[f"{epochs:,}", f"{size / 1e6:.0f}", f"{(size - first) / 1e6:+.1f}"] for epochs, size in rows],
    )
    section = (
        f"{trials} trials, {rows[-1][0]:,} epochs in {seconds:.0f} s: {rows[-1][0] / seconds:,.0f} epochs a second. "
        f"The finished study alone takes {remembered / 1e6:.1f} MB when it is opened.\n\n{table}"
    )
    print(section)
    print(_report.write("load", "The driver under load", [section], ["ray", "optuna", "torch"], given.out))


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


class _Looks:
    """Notes the memory of this process as epochs are reported; a `study.Listener`."""

    def __init__(self, epochs: int) -> None:
        self.seen = 0
        self.rows: list[tuple[int, int]] = []
        self._at = [round(share * epochs) for share in LOOKS]

    def started(self, record: Record) -> None:
        return None

    def epoch(self, record: Record, epoch: int, metrics: Mapping[str, float]) -> None:
        self.seen += 1
        if self.seen in self._at:
            self.rows.append((self.seen, _resident()))

    def ended(self, record: Record) -> None:
        assert record.state == "COMPLETE", record.reason


def _run(scratch: Path, trials: int, epochs: int) -> tuple[list[tuple[int, int]], float]:
    """(what `_Looks` noted, seconds)."""
    from avtune.runners import tune_lanes
    from avtune.runners._base import Slots

    settings = {
        "search__trials": trials,
        "search__sampler": "random",
        "early_stopping__epochs": epochs,
        "early_stopping__grace": epochs,
    }
    space = _tiny.space(scratch, **settings)
    folder = StudyFolder(scratch / "study")
    facts = {"format": 1, "runner": "lanes", "deterministic": False, "precision": "fp32", "space": space.as_dict()}
    folder.create({**facts, "dataset": {"name": "tiny", "digest": "", "spec": "tiny"}}, {})
    board = StudyBoard(folder.tensorboard, space, objective="val/map")
    looks = _Looks(trials * epochs)
    study = Study(folder, space, listeners=[BoardListener(board, folder.tensorboard), looks])
    start = time.perf_counter()
    with tune_lanes.opened(Slots(ENGINES, 0, 1, LANES), 1 << 20) as run:
        run(study, _tiny.folds())
    seconds = time.perf_counter() - start
    study.close()
    board.close()
    return looks.rows, seconds


def _opened(root: Path) -> int:
    """Bytes that opening the study takes."""
    folder = StudyFolder(root)
    space = open_space(folder)
    before = _resident()
    study = Study(folder, space)
    after = _resident()
    assert study.exhausted
    return after - before


if __name__ == "__main__":
    main()
