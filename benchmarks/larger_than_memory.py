"""Claim: a million clips of 128 + 1,024 features are searched, and 200,000 test clips scored exactly, on a machine with
8 GB of memory.

    python -m benchmarks.larger_than_memory --runner lanes --group
    python -m benchmarks.larger_than_memory --clips 1000000 --scored 200000

A search of a generated file runs from the command to the report (narrow encoders, two trials of one epoch, one seed of
the finals), once in one process and once with an engine under Ray. With `--group` (root, control groups of version 1 or
2) each part runs in a control group of 8 GB, where the pages of files that it reads and writes count, too; without, its
code is told that the machine has 8 GB, whatever it has. Resident memory is read from `/proc` while it runs: a process's
own, and what it shares with others or with files, which the system takes back when memory is wanted. The average
precision of some of the scored queries is computed again by sorting all similarities.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from avtune.core.system import memory, usable_cores
from avtune.core.system import size as as_text
from avtune.metrics.directions import Direction
from benchmarks import _report
from benchmarks._memory_group import MemoryGroup

MACHINE = 8 << 30
DIMS = {"audio": 128, "visual": 1024}
CLASSES, TEST, BLOCK = 10, 10_000, 1 << 14
CHECKED = 20
_LOOK_SECONDS = 0.2
_SPACE = """
method: clip
space:
  lr: {type: float, low: 1e-3, high: 1e-2, log: true}
  hidden_dim: 64
  embedding_dim: 16
  batch_size: 1024
search: {sampler: random, trials: 2}
early_stopping: {epochs: 1, grace: 1}
validation: {fraction: 0.01}
final: {finalists: 1, seeds: 1, reference: none}
"""


def main() -> None:
    parser = _report.arguments("larger_than_memory", __doc__)
    parser.add_argument("--clips", type=int, default=1_000_000, help="of the file that is searched (1000000)")
    parser.add_argument("--scored", type=int, default=200_000, help="test clips that are scored (200000)")
    parser.add_argument("--queries", type=int, help="queries of each direction among them (all)")
    parser.add_argument("--runner", action="append", choices=["inline", "lanes"], help="of the search (both)")
    parser.add_argument("--group", action="store_true", help="in a control group of 8 GB (needs root)")
    parser.add_argument("--child", nargs="+", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        _CHILDREN[given.child[0]](*given.child[1:])
        return
    if given.quick:
        given.clips, given.scored = 3_000, 2_000
    sections = []
    with tempfile.TemporaryDirectory() as scratch:
        if given.clips:
            runners = given.runner or ["inline", "lanes"]
            sections.append(_searches(given.clips, runners, Path(scratch), given.group))
        if given.scored:
            sections.append(_scoring(given.scored, given.queries or given.scored, given.group))
    print("\n\n".join(sections))
    packages = ["torch", "numpy", "h5py", "ray"]
    print(_report.write("larger_than_memory", "Data sets larger than memory", sections, packages, given.out))


def _searches(clips: int, runners: list[str], scratch: Path, in_group: bool) -> str:
    test = min(TEST, clips // 5)
    file = scratch / "generated.h5"
    seconds = _timed(lambda: _generate(file, clips - test, test))
    _leave_memory(file)
    space = scratch / "space.yaml"
    space.write_text(_SPACE)
    rows = []
    for runner in runners:
        watch = _Watch(["search", str(file), str(space), str(scratch / runner), runner], in_group)
        for who, (own, shared) in watch.peaks.items():
            rows.append([runner, who, _mb(own), _mb(shared), "", ""])
        rows[-1][-2:] = [f"{watch.seconds:.0f}", watch.group]
    size = file.stat().st_size
    about = (
        f"{clips - test:,} training clips, of which 1 % are validated on, and {test:,} test clips; the file has "
        f"{size / 1e9:.2f} GB and was written in {seconds:.0f} s. {_limit(in_group)}"
    )
    head = ["runner", "process", "own, MB at most", "shared, MB at most", "seconds in all", "control group"]
    return f"## Searching {clips:,} clips\n\n{about}\n\n{_report.table(head, rows)}"


def _scoring(clips: int, queries: int, in_group: bool) -> str:
    watch = _Watch(["score", str(clips), str(queries)], in_group)
    found = json.loads(watch.printed.splitlines()[-1])
    ((own, shared),) = watch.peaks.values()
    head = ["clips", "queries", "before, MB", "own, MB at most", "shared, MB at most", "seconds", "MAP", "difference"]
    row = [f"{clips:,}", f"{2 * queries:,}", _mb(found["before"]), _mb(own), _mb(shared)]
    row += [f"{found['seconds']:.0f}", f"{found['map']:.4f}", f"{found['difference']:.0e}"]
    about = (
        f"Exact MAP by both definitions, float64 cosines of 64-d embeddings, {CLASSES} classes, in both directions, on "
        f"{usable_cores()} threads. Difference: the largest one of the average precision of {CHECKED} queries of each "
        f"direction from that of all their similarities sorted. {_limit(in_group)}"
        + f" That counted {watch.group}."
        * in_group
        + f" {queries:,} random queries of each direction were scored: the others take as long each, "
        "and less than 50 bytes." * (queries < clips)
    )
    return f"## Scoring {clips:,} test clips\n\n{about}\n\n{_report.table(head, [row])}"


def _limit(in_group: bool) -> str:
    if in_group:
        return f"Each part ran in a control group of {as_text(MACHINE)} of memory, and was told nothing."
    left = memory()
    return f"The search was told of {as_text(MACHINE)}; its processes had {as_text(left.amount)}, {left.why}."


def _mb(number: int) -> str:
    return f"{number / 1e6:.0f}"


def _timed(call: Callable[[], None]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def _generate(path: Path, train: int, test: int) -> None:
    """Six keys, as plain values; a clip is its class's centre and noise."""
    rng = np.random.default_rng(0)
    centres = {view: rng.standard_normal((CLASSES, width), np.float32) for view, width in DIMS.items()}
    with h5py.File(path, "w") as file:
        for split, clips in (("train", train), ("test", test)):
            labels = np.arange(clips) % CLASSES
            file[f"lab_{split}"] = labels
            for view, width in DIMS.items():
                made = file.create_dataset(f"{view}_{split}", (clips, width), np.float32)
                for start in range(0, clips, BLOCK):
                    of = labels[start : start + BLOCK]
                    made[start : start + len(of)] = centres[view][of] + 3 * rng.standard_normal(
                        (len(of), width), np.float32
                    )


def _leave_memory(path: Path) -> None:
    """Has the system give up the pages of a file: a control group counts only those that it reads itself."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


class _Watch:
    """Runs a part in a process of its own and looks at the memory of all processes below.

    Attributes:
        peaks: (own, shared) bytes at most by what the process is.
        seconds: until it ended.
        printed: what it printed.
        group: what its control group counted; empty without one.
    """

    def __init__(self, part: list[str], in_group: bool) -> None:
        self.peaks: dict[str, tuple[int, int]] = {}
        command = [sys.executable, "-m", "benchmarks.larger_than_memory", "--child", *part]
        with MemoryGroup(MACHINE) if in_group else nullcontext() as group:
            if group is not None:
                command = [*group.command, *command]
            self._run(command, {"AVTUNE_TOLD": "" if in_group else str(MACHINE)})
            self.group = "" if group is None else group.text

    def _run(self, command: list[str], more: dict[str, str]) -> None:
        start = time.perf_counter()
        child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, **more})
        ended = threading.Event()
        looks = threading.Thread(target=self._look, args=(child.pid, ended))
        looks.start()
        self.printed, _ = child.communicate()
        ended.set()
        looks.join()
        self.seconds = time.perf_counter() - start
        assert child.returncode == 0, self.printed

    def _look(self, pid: int, ended: threading.Event) -> None:
        while not ended.wait(_LOOK_SECONDS):
            for one in _below(pid):
                try:
                    words = Path(f"/proc/{one}/cmdline").read_bytes()
                    own, *shared = resident(one)
                except (OSError, KeyError):  # it has ended
                    continue
                who = "driver" if one == pid else "engine" if words.startswith(b"ray::ImplicitFunc") else ""
                if who:
                    before = self.peaks.get(who, (0, 0))
                    self.peaks[who] = max(before[0], own), max(before[1], sum(shared))


def resident(pid: int | str) -> tuple[int, int, int]:
    """Bytes of a process: its own, those of files, those of shared memory."""
    facts = dict(line.partition(":")[::2] for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    own, files, shared = (1024 * int(facts[name].split()[0]) for name in ("RssAnon", "RssFile", "RssShmem"))
    return own, files, shared


def _below(pid: int) -> list[int]:
    """A process and all that it has started."""
    parents: dict[int, list[int]] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parents.setdefault(int((folder / "stat").read_text().rpartition(")")[2].split()[1]), []).append(
                int(folder.name)
            )
        except (OSError, ProcessLookupError):
            continue
    found = [pid]
    for one in found:
        found += parents.get(one, [])
    return found


# -- in processes of their own -----------------------------------------------------------------------------------------


def _search(file: str, space: str, results: str, runner: str) -> None:
    from avtune.cli.main import main as command
    from avtune.data import on_disk

    if told := os.environ["AVTUNE_TOLD"]:
        on_disk.available_memory = lambda: min(int(told), memory().amount)
    if Path(file).stat().st_size < 1 << 26:  # a quick run
        on_disk.SMALL, on_disk.SHARE = 0, MACHINE
    given = ["search", file, "--space", space, "--results", results, "--runner", runner, "--name", "large"]
    more = ["--lanes", "1", "--cpus", "1"] if runner == "lanes" else []
    status = command([*given, *more])
    assert status == 0, status


def _score(clips: str, queries: str) -> None:
    from avtune.metrics.average_precision import scores_of
    from avtune.metrics.directions import Directions, paired

    rng, count = np.random.default_rng(0), int(clips)
    labels = np.arange(count) % CLASSES
    centres = rng.standard_normal((CLASSES, 64), np.float32)
    views = [centres[labels] + 2 * rng.standard_normal((count, 64), np.float32) for _ in DIMS]
    asked = rng.permutation(count)[: int(queries)]
    before, *_ = resident("self")
    start = time.perf_counter()
    scores = scores_of(Directions(*(_of(one, asked) for one in paired(*views, labels, exact=True))))
    seconds = time.perf_counter() - start
    apart = [
        abs(ap[query] - _slow(views[first][asked[query]], views[1 - first], labels == labels[asked[query]]))
        for first, ap in enumerate((scores.ap_a2v, scores.ap_v2a))
        for query in range(min(CHECKED, int(queries)))
    ]
    found: dict[str, Any] = {"map": scores.map, "seconds": seconds, "before": before, "difference": max(apart)}
    print(json.dumps(found))


def _of(direction: Direction, asked: np.ndarray) -> Direction:
    """Some of the queries of a direction."""
    return Direction(
        lambda rows: direction.similarity(asked[rows]), direction.query_labels[asked], direction.gallery_labels
    )


def _slow(query: np.ndarray, gallery: np.ndarray, relevant: np.ndarray) -> float:
    """Average precision of a query without ties: all similarities sorted."""
    query, gallery = query.astype(np.float64), gallery.astype(np.float64)
    near = gallery @ query / np.linalg.norm(gallery, axis=1) / np.linalg.norm(query)
    hits = relevant[np.argsort(-near)]
    ranks = np.flatnonzero(hits) + 1
    return float(np.mean(np.arange(1, len(ranks) + 1) / ranks))


_CHILDREN: dict[str, Callable[..., None]] = {"search": _search, "score": _score}

if __name__ == "__main__":
    os.environ.setdefault("PYTHONPATH", str(Path(__file__).parents[1]))
    main()
