"""Claim: an engine holds one copy of the features, however many static values a search tries: 1,000 short trials, five
hidden widths.

    python -m benchmarks.memory --before COMMIT

One engine of four lanes under Ray trains narrow encoders for an epoch each, on generated features of the size of AVE
and of VEGAS; the driver does all that it does in a search. Resident memory of both as trials end: the process's own,
and what it shares with others (files, and the features in Ray's object store, which all engines of a machine read).
With `--before` the same search runs with the code of a commit first.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from avtune.study.record import Record
from avtune.study.study import Study
from benchmarks import _report

ROOT = Path(__file__).parents[1]
LANES = 4
WIDTHS = (48, 56, 64, 72, 80)
_COLUMNS = [f"{who}: {what}, MB" for who in ("driver", "engine") for what in ("own", "shared", "peak of both")]
LOOKS = (0.1, 0.5, 1.0)
_SPACE = f"""
method: clip
space:
  lr: {{type: float, low: 1e-3, high: 1e-1, log: true}}
  hidden_dim: {{type: choice, values: {list(WIDTHS)}}}
  embedding_dim: 8
  batch_size: 256
search: {{sampler: random}}
early_stopping: {{epochs: 1, grace: 1}}
validation: {{fraction: 0.2}}
"""


@dataclass(frozen=True)
class Size:
    """Clips to train and to test on, and classes; audio features are 128 wide, visual ones 1,024."""

    train: int
    test: int
    classes: int


SIZES = {"AVE": Size(3_314, 829, 15), "VEGAS": Size(22_482, 5_621, 10), "tiny": Size(320, 80, 5)}


def main() -> None:
    parser = _report.arguments("memory", __doc__)
    parser.add_argument("--trials", type=int, default=1_000)
    parser.add_argument("--before", metavar="COMMIT", help="measure the code of this commit too")
    parser.add_argument("--search", choices=SIZES, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.search:
        print(json.dumps(_search(SIZES[given.search], given.trials)))
        return
    names = ["tiny"] if given.quick else ["AVE", "VEGAS"]
    if given.quick:
        given.trials = 20
    with tempfile.TemporaryDirectory() as scratch:
        trees = {"now": ROOT}
        if given.before:
            commit = _git("rev-parse", "--short", given.before).decode().strip()
            trees = {f"before ({commit})": _checked_out(commit, Path(scratch)), **trees}
        sections = [_section(name, given.trials, trees) for name in names]
    print("\n\n".join(sections))
    print(_report.write("memory", "Memory of a driver and an engine", sections, ["ray", "optuna", "torch"], given.out))


def _section(name: str, trials: int, trees: Mapping[str, Path]) -> str:
    size, rows = SIZES[name], []
    for side, tree in trees.items():
        command = [sys.executable, "-m", "benchmarks.memory", "--search", name, "--trials", str(trials)]
        shown = subprocess.run(
            command, stdout=subprocess.PIPE, text=True, check=True, cwd=tree, env=os.environ | {"PYTHONPATH": str(tree)}
        ).stdout
        found = json.loads(shown.splitlines()[-1])
        for look in found["looks"]:
            numbers = [look[who][what] / 1e6 for who in ("driver", "engine") for what in ("own", "shared", "peak")]
            rows.append([side, f"{look['ended']:,}", *(f"{number:.0f}" for number in numbers), ""])
        rows[-1][-1] = f"{found['seconds']:.0f}"
    head = ["code", "trials ended", *_COLUMNS, "seconds in all"]
    features = (128 + 1024) * 4 * size.train / 1e6
    about = f"{size.train:,} + {size.test:,} clips: the features to train and to validate on are {features:.0f} MB."
    return f"## {name} size\n\n{about}\n\n{_report.table(head, rows)}"


def _git(*words: str) -> bytes:
    return subprocess.run(["git", "-C", str(ROOT), *words], stdout=subprocess.PIPE, check=True).stdout


def _checked_out(commit: str, scratch: Path) -> Path:
    """The code of a commit in a folder, with this file in the place of its own."""
    tree = scratch / "before"
    with tarfile.open(fileobj=io.BytesIO(_git("archive", commit))) as archive:
        archive.extractall(tree, filter="data")
    shutil.copy(__file__, tree / "benchmarks" / "memory.py")
    return tree


# -- one search --------------------------------------------------------------------------------------------------------


def _resident(pid: int | str) -> dict[str, int]:
    """Resident bytes of a process: its own, those that it shares or may share, and the most of both at a time."""
    facts = dict(line.partition(":")[::2] for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    names = ("RssAnon", "RssFile", "RssShmem", "VmHWM")
    own, files, shared, peak = (int(facts[name].split()[0]) * 1024 for name in names)
    return {"own": own, "shared": files + shared, "peak": peak}


def _engine() -> dict[str, int]:
    """Of the engine: the process of Ray's below this one that has most memory of its own."""
    children: dict[int, list[int]] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
        except (OSError, ProcessLookupError):
            continue
        children.setdefault(parent, []).append(int(folder.name))
    found, queue = [], [os.getpid()]
    while queue:
        below = children.get(queue.pop(), [])
        queue += below
        for pid in below:
            try:
                if Path(f"/proc/{pid}/cmdline").read_bytes().startswith(b"ray::"):
                    found.append(_resident(pid))
            except (OSError, ProcessLookupError, KeyError):
                continue
    return max(found, key=lambda one: one["own"])


class _Looks:
    """Notes the memory of driver and engine as trials end; a `study.listener.Listener`."""

    def __init__(self, trials: int) -> None:
        self.ended_trials = 0
        self.rows: list[dict[str, Any]] = []
        self._at = [max(1, round(share * trials)) for share in LOOKS]

    def started(self, record: Record) -> None:
        return None

    def epoch(self, record: Record, epoch: int, metrics: Mapping[str, float]) -> None:
        return None

    def ended(self, record: Record) -> None:
        assert record.state == "COMPLETE", record.reason
        self.ended_trials += 1
        if self.ended_trials in self._at:
            self.rows.append({"ended": self.ended_trials, "driver": _resident("self"), "engine": _engine()})


def _search(size: Size, trials: int) -> dict[str, Any]:
    from avtune.data import from_arrays
    from avtune.data.prepare import for_search
    from avtune.methods import METHODS, hypers_of
    from avtune.runners import lanes as lanes_runner
    from avtune.runners._base import Placement
    from avtune.space.files import load
    from avtune.study.folder import StudyFolder

    rng = np.random.default_rng(0)
    arrays: dict[str, np.ndarray] = {}
    for split, rows in (("train", size.train), ("test", size.test)):
        arrays[f"lab_{split}"] = np.arange(rows) % size.classes
        for view, width in (("audio", 128), ("visual", 1024)):
            arrays[f"{view}_{split}"] = rng.standard_normal((rows, width), np.float32)
    dataset = from_arrays(arrays, name="generated", source="generated")
    del arrays
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / "memory.yaml"
        file.write_text(_SPACE)
        space = load(str(file), hypers_of=hypers_of, method_names=METHODS, overrides=[f"search.trials={trials}"])
        folder = StudyFolder(Path(scratch) / "study")
        facts = {"format": 1, "runner": "lanes", "deterministic": False, "precision": "fp32", "space": space.as_dict()}
        folder.create({**facts, "dataset": {"name": "generated", "digest": "", "spec": "generated"}}, {})
        looks = _Looks(trials)
        study = Study(folder, space, listeners=[looks])
        folds = for_search(dataset, fraction=0.2, folds=None, seed=0)
        start = time.perf_counter()
        with lanes_runner.opened(Placement(1, 0, 1, LANES), 1 << 28) as run:
            run(study, folds)
        seconds = time.perf_counter() - start
        study.close()
    return {"looks": looks.rows, "seconds": seconds}


if __name__ == "__main__":
    main()
