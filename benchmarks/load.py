"""Claim: the memory of the driver does not grow with the work: 64 lanes, 200,000 epochs of next to no work.

    python -m benchmarks.load

Two engines of 32 lanes under Ray train tiny encoders; the driver does all that it does in a search: proposals (random),
the stopping rule, the study's files, TensorBoard, the listeners. Two searches, each in a process of its own: one that
gives all its epochs to the 64 trials that fill the lanes, and one of many short trials, which shows what a study
remembers of a trial; that is measured once more by opening the finished study, alone.
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
from typing import Any

from avtune.report.board import BoardListener
from avtune.report.tensorboard import StudyBoard
from avtune.study.folder import StudyFolder
from avtune.study.record import Record
from avtune.study.study import Study
from avtune.workflows.open_study import open_space
from benchmarks import _report, _tiny

ENGINES, LANES = 2, 32
TRIALS = ENGINES * LANES  # of the search with long trials
SHORT = 20  # epochs of a short trial
LOOKS = (0.05, 0.25, 0.5, 0.75, 1.0)


def main() -> None:
    parser = _report.arguments("load", __doc__)
    parser.add_argument("--epochs", type=int, default=200_000, help="of all lanes together, in long trials (200,000)")
    parser.add_argument("--trials", type=int, default=1_000, help=f"of {SHORT} epochs each (1,000)")
    parser.add_argument("--only", choices=("long", "short"), help="one of the two searches")
    parser.add_argument("--search", nargs=3, metavar=("FOLDER", "TRIALS", "EPOCHS"), help=argparse.SUPPRESS)
    parser.add_argument("--study", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.search:
        print(json.dumps(_run(Path(given.search[0]), *map(int, given.search[1:]))))
        return
    if given.study:
        print(json.dumps(_opened(given.study)))
        return
    if given.quick:
        given.epochs, given.trials = 640, 96
    searches = {"long": (TRIALS, given.epochs // TRIALS), "short": (given.trials, SHORT)}
    sections = [
        f"## {name.capitalize()} trials\n\n{_section(*sizes)}"
        for name, sizes in searches.items()
        if given.only in (None, name)
    ]
    print("\n\n".join(sections))
    print(_report.write("load", "The driver under load", sections, ["ray", "optuna", "torch"], given.out))


def _section(trials: int, epochs: int) -> str:
    """A search of so many trials, and what it and its study took."""
    with tempfile.TemporaryDirectory() as scratch:
        rows, seconds = _in_process("--search", scratch, str(trials), str(epochs))
        remembered = _in_process("--study", str(Path(scratch) / "study"))
    first = rows[0]
    table = _report.table(
        ["epochs reported", "trials ended", "driver, MB", "since the first line, MB"],
        [
            [f"{done:,}", f"{ended:,}", f"{size / 1e6:.1f}", f"{(size - first[2]) / 1e6:+.1f}"]
            for done, ended, size in rows
        ],
    )
    return (
        f"{trials:,} trials of {epochs:,} epochs, {trials * epochs:,} epochs in {seconds:.0f} s: "
        f"{trials * epochs / seconds:,.0f} epochs a second. From the first line to the last the driver grew by "
        f"{(rows[-1][2] - first[2]) / (rows[-1][0] - first[0]):.0f} bytes an epoch; "
        f"the finished study alone takes {remembered / 1e6:.1f} MB when it is opened.\n\n{table}"
    )


def _in_process(*arguments: str) -> Any:
    """What this file says when it is run with such arguments."""
    command = [sys.executable, "-m", "benchmarks.load", *arguments]
    shown = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
    return json.loads(shown.splitlines()[-1])


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


class _Looks:
    """Notes the memory of this process as epochs are reported; a `study.listener.Listener`."""

    def __init__(self, epochs: int) -> None:
        self.seen = self.over = 0
        self.rows: list[tuple[int, int, int]] = []
        self._at = [round(share * epochs) for share in LOOKS]

    def started(self, record: Record) -> None:
        return None

    def epoch(self, record: Record, epoch: int, metrics: Mapping[str, float]) -> None:
        self.seen += 1
        if self.seen in self._at:
            self.rows.append((self.seen, self.over, _resident()))

    def ended(self, record: Record) -> None:
        assert record.state == "COMPLETE", record.reason
        self.over += 1


def _run(scratch: Path, trials: int, epochs: int) -> tuple[list[tuple[int, int, int]], float]:
    """(what `_Looks` noted, seconds)."""
    from avtune.runners import lanes as lanes_runner
    from avtune.runners._base import Placement

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
    board = StudyBoard(folder.tensorboard, space)
    looks = _Looks(trials * epochs)
    study = Study(folder, space, listeners=[BoardListener(board, folder.tensorboard), looks])
    start = time.perf_counter()
    with lanes_runner.opened(Placement(ENGINES, 0, 1, LANES), 1 << 20) as run:
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
