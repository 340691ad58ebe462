"""What each change to Ray's insides saves that avtune makes for the sake of time (`avtune/runners/ray/private.py`).

    python -m benchmarks.ray_start --rounds 5

A run with the runner `lanes` of one trial of one epoch, on 64 clips that are split as a search splits them: next to all
of its time is Ray's start and end. Each side runs in a process of its own, and the sides take turns. The clock runs
from before Ray starts until it has gone.

- all: as avtune starts Ray;
- all processes: with the dashboard's, the autoscaler's and the log monitor's processes (`few_processes` left out);
- own workers: Tune's trials have worker processes of their own (`any_worker` left out);
- once a second: Ray looks once a second whether its node is there (`seen_at_once` left out);
- next imports later: what splits rows is imported when Ray has started (`session.NEXT` left out).
"""

from __future__ import annotations

import argparse
import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Mapping
from statistics import median

from avtune.core.trained_on import TrainedOn
from avtune.core.trial import Trial
from benchmarks import _report

LEFT_OUT = {
    "all": "",
    "all processes": "few_processes",
    "own workers": "any_worker",
    "once a second": "seen_at_once",
    "next imports later": "NEXT",
}


def main() -> None:
    parser = _report.arguments("ray_start", __doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--sides", default=";".join(LEFT_OUT), help="which, separated by semicolons; `all` among them")
    parser.add_argument("--side", choices=list(LEFT_OUT), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.side:
        print(json.dumps(_seconds(LEFT_OUT[given.side])))
        return
    rounds = 1 if given.quick else given.rounds
    seconds: dict[str, list[float]] = {side: [] for side in given.sides.split(";")}
    for _ in range(rounds):
        for side in seconds:
            command = [sys.executable, "-m", "benchmarks.ray_start", "--side", side]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            seconds[side].append(json.loads(done.stdout.strip().splitlines()[-1]))
    rows = []
    for side, found in seconds.items():
        more = median(other - ours for other, ours in zip(found, seconds["all"], strict=True))
        taken = f"{median(found):.1f} ({min(found):.1f} to {max(found):.1f})"
        rows.append([side, LEFT_OUT[side] or "nothing", taken, f"{more:+.1f}" if LEFT_OUT[side] else "–"])
    head = ["side", "left out", "start to end, s", "more than all, s"]
    text = f"Medians of {rounds} rounds (smallest to largest); differences round by round.\n\n"
    print(_report.write("ray_start", "Starting Ray", [text + _report.table(head, rows)], ["ray", "torch"], given.out))


class _Source:
    """Gives out trials that train to their ends."""

    independent = 0

    def __init__(self, trials: list[Trial]) -> None:
        self._waiting, self._running = trials, 0

    def ask(self) -> Trial | None:
        if not self._waiting:
            return None
        self._running += 1
        return self._waiting.pop()

    def trained_on(self, number: int, where: TrainedOn) -> None:
        return None

    def report(self, number: int, epoch: int, metrics: Mapping[str, float]) -> bool:
        return True

    def should_stop(self, number: int) -> bool:
        return False

    def tell(self, number: int, failure: str | None = None, details: str = "") -> None:
        assert failure is None, failure
        self._running -= 1

    def note(self, text: str, *, shown: bool = False) -> None:
        return None

    @property
    def exhausted(self) -> bool:
        return not self._waiting and not self._running


def _seconds(left_out: str) -> float:
    """Seconds of the run in this process, without one of the changes."""
    import numpy as np

    from avtune.data.dataset import Split
    from avtune.data.prepare import Prepared
    from avtune.data.split import validation_folds
    from avtune.runners import lanes
    from avtune.runners._base import Placement
    from avtune.runners.ray import private, session

    if left_out == "NEXT":
        session.NEXT = ()
    elif left_out:
        setattr(private, left_out, contextlib.nullcontext)
    draw = np.random.default_rng(0)
    features = [draw.normal(size=(64, 8)).astype(np.float32) for _ in range(2)]
    rows = Split(*features, np.arange(64) % 4)
    source = _Source([Trial(0, "triplet", {"hidden_dim": 8, "embedding_dim": 4, "batch_size": 48}, 0, 1)])
    start = time.perf_counter()
    with lanes.opened(Placement(2, 0, 1), 1 << 20) as run:
        (fold,) = validation_folds(rows.labels, fraction=0.25, seed=0)
        run(source, [Prepared(rows.take(fold.fit), rows.take(fold.validation), 4)])
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
