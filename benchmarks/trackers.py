"""Claim: a tracker that is dead, or never answers, slows no search: neither its end nor the driver's processor time.

The same search of the demo, one trial at a time in this process, without a tracker and with `--track mlflow:` to an
address where nobody listens, and to one where connections are taken and nothing is ever said. The sides take turns,
after a search that does not count. Wall seconds are those to the results on disk; after them a search waits for its
tracker (`tracking.WAIT`, 20 s at most), which is left out here. Processor seconds are those of the search's own
process; the tracker's is another. In MLflow's place is a package of a few lines, which connects to the address and
waits for an answer, so that it is at its work from the first seconds on; with `--real` it is MLflow itself, whose
import alone takes longer than a short search.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import socket
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from unittest import mock

import avtune
from avtune.workflows import tracking
from benchmarks import _report

SIDES = ("no tracker", "nobody listens", "never answers")
STAND_IN = """
import socket
from urllib.parse import urlparse

class MlflowClient:
    def __init__(self, tracking_uri):
        where = urlparse(tracking_uri)
        with socket.create_connection((where.hostname, where.port)) as asked:
            asked.sendall(b"GET / HTTP/1.0\\r\\n\\r\\n")
            asked.recv(1)
"""
ENTITIES = "class Metric: pass\nclass Param: pass\nclass RunTag: pass\n"


@dataclass(frozen=True)
class Search:
    """One search: wall and processor seconds, how often its tracker said that it could not send, connections that were
    made to the silent address meanwhile."""

    wall: float
    processor: float
    failures: int
    connections: int


def main() -> None:
    parser = _report.arguments("trackers", __doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--trials", type=int, default=6)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--real", action="store_true", help="track with MLflow, which must be installed")
    given = parser.parse_args()
    if given.quick:
        given.rounds, given.trials, given.epochs = 1, 1, 1
    found: dict[str, list[Search]] = {side: [] for side in SIDES}
    with (
        tempfile.TemporaryDirectory() as scratch,
        _mlflow(Path(scratch), real=given.real) as called,
        _silent() as silent,
    ):
        _search(given, Path(scratch), "warm-up", SIDES[0], silent)
        for number in range(given.rounds):
            for side in SIDES:
                found[side].append(_search(given, Path(scratch), f"{number}-{SIDES.index(side)}", side, silent))
                print(f"round {number}, {side}: {found[side][-1]}", flush=True)
    print(_report.write("trackers", "Trackers that fail", _sections(found, given, called), _USED, given.out))


_USED = ["mlflow", "optuna", "torch"]


class _Silent:
    """A socket that takes connections and says nothing."""

    def __init__(self) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0), backlog=64)
        self._socket.setblocking(False)
        self._taken: list[socket.socket] = []
        self.port = self._socket.getsockname()[1]

    def taken(self) -> int:
        """Connections since the last call; they stay open."""
        before = len(self._taken)
        with contextlib.suppress(BlockingIOError):
            while True:
                self._taken.append(self._socket.accept()[0])
        return len(self._taken) - before

    def close(self) -> None:
        for one in (*self._taken, self._socket):
            one.close()


@contextlib.contextmanager
def _silent() -> Iterator[_Silent]:
    made = _Silent()
    try:
        yield made
    finally:
        made.close()


@contextlib.contextmanager
def _mlflow(scratch: Path, *, real: bool) -> Iterator[str]:
    """What is tracked with, in words: MLflow, or the package above, for this process and its children."""
    if real:
        yield "MLflow"
        return
    (scratch / "site" / "mlflow").mkdir(parents=True)
    (scratch / "site" / "mlflow" / "__init__.py").write_text(STAND_IN)
    (scratch / "site" / "mlflow" / "entities.py").write_text(ENTITIES)
    paths = [str(scratch / "site"), *filter(None, [os.environ.get("PYTHONPATH")])]
    with (
        mock.patch.dict(os.environ, PYTHONPATH=os.pathsep.join(paths)),
        mock.patch.object(sys, "path", paths[:1] + sys.path),
    ):
        yield "a package in MLflow's place"


class _Timed(tracking.Trackers):
    """Notes when a search has its results, and does not wait for the tracker then."""

    ended: tuple[float, float] = (0.0, 0.0)

    def __exit__(self, *words: object) -> None:
        _Timed.ended = time.perf_counter(), time.process_time()
        super().__exit__(*words)  # type: ignore[arg-type]


def _search(given: argparse.Namespace, scratch: Path, name: str, side: str, silent: _Silent) -> Search:
    """One search, from its call to its results."""
    track = None
    if side != SIDES[0]:
        track = f"mlflow:http://127.0.0.1:{_closed_port() if side == SIDES[1] else silent.port}"
    silent.taken()
    with mock.patch("avtune.workflows.search.Trackers", _Timed), mock.patch.object(tracking, "WAIT", 0.0):
        began = time.perf_counter(), time.process_time()
        study = avtune.search(
            "demo",
            trials=given.trials,
            epochs=given.epochs,
            set={"final.finalists": 1, "final.seeds": 1, "search.sampler": "random"},
            reference=False,
            runner="inline",
            gpus=0,
            cpus=1,  # more threads wait for each other in a loop, and the longer the busier the machine is
            track=track,
            results=scratch / "results",
            name=name,
            quiet=True,
        )
    assert study.state == "finished"
    log = study.path / "tracking" / "mlflow.log"
    failures = log.read_text().count("did not take what is new") if log.is_file() else 0
    wall, processor = (end - start for end, start in zip(_Timed.ended, began, strict=True))
    return Search(wall, processor, failures, silent.taken())


def _closed_port() -> int:
    """A port on which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as one:
        return int(one.getsockname()[1])


def _sections(found: dict[str, list[Search]], given: argparse.Namespace, called: str) -> list[str]:
    rows, claims = [], []
    base = found[SIDES[0]]
    for side, searches in found.items():
        walls, processors = [one.wall for one in searches], [one.processor for one in searches]
        more = [one.wall - other.wall for one, other in zip(searches, base, strict=True)]
        more_processor = [one.processor - other.processor for one, other in zip(searches, base, strict=True)]
        tried = f"{sum(one.failures for one in searches)}, {sum(one.connections for one in searches)}"
        apart = ["–", "–", "–"] if side == SIDES[0] else [_spread(more, "+"), _spread(more_processor, "+"), tried]
        rows.append([side, _spread(walls), _spread(processors), *apart])
        if side != SIDES[0]:
            apart_by = _report.apart(processors, [one.processor for one in base])
            whole = median(one.processor for one in base)
            claims.append(f"- {side}: {apart_by} s of processor time more than {whole:.2f} s")
    head = ["", "wall, s", "processor, s", "wall more, s", "processor more, s", "failures, connections"]
    about = (
        f"{given.rounds} rounds of the demo with {given.trials} trials of {given.epochs} epochs, one finalist; tracked "
        f"with {called}. Medians (least to most); differences round by round. The last column is what the tracker's "
        "process met in all rounds: attempts that failed, and connections to the silent address. Wall seconds on a "
        "machine that does other work vary by more than a tracker could add."
    )
    return [
        "Claim (mean of the differences, round by round, with its 95 % interval):\n\n" + "\n".join(claims),
        about,
        _report.table(head, rows),
    ]


def _spread(values: list[float], sign: str = "") -> str:
    middle, least, most = (format(one, f"{sign}.2f") for one in (median(values), min(values), max(values)))
    return f"{middle} ({least} to {most})"


if __name__ == "__main__":
    main()
