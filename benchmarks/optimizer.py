"""What torch's fused AdamW kernel saves on a CPU against the same update as separate operations.

    python -m benchmarks.optimizer --rounds 20

Both sides are `avtune.engine.optimizer.AdamW` on the weights of one lane of 512 units (a matrix of 1024 x 1024 stands
for them) and of four lanes, on one thread. They take turns; the times are those of the fastest round, on which other
work of the machine had the least effect. Memory is kept by the C library as in an engine (`KEEP_MEMORY`): without, the
separate operations would take several times as long, for the pages of their temporary tensors.
"""

from __future__ import annotations

import os
import sys
import time

import torch

from avtune.engine.optimizer import AdamW
from avtune.runners.ray.session import KEEP_MEMORY
from benchmarks import _report


def main() -> None:
    parser = _report.arguments("optimizer", __doc__)
    parser.add_argument("--rounds", type=int, default=20)
    given = parser.parse_args()
    name, value = KEEP_MEMORY
    if os.environ.get(name) != value:  # the C library reads it when a process starts
        command = [sys.executable, "-m", "benchmarks.optimizer", *sys.argv[1:]]
        os.execve(sys.executable, command, os.environ | {name: value})
    torch.set_num_threads(1)
    width, rounds = (64, 2) if given.quick else (1024, given.rounds)
    rows = []
    for lanes in (1, 4):
        seconds = _seconds(lanes, width, rounds)
        fused, separate = (1000 * min(seconds[kernel]) for kernel in (True, False))
        rows.append([str(lanes), f"{fused:.2f}", f"{separate:.2f}", f"{separate / fused:.1f}x"])
    head = ["lanes", "kernel, ms", "separate operations, ms", "kernel is faster"]
    text = f"{width}² weights a lane, one thread, fastest of {rounds} rounds.\n\n" + _report.table(head, rows)
    print(_report.write("optimizer", "An update of AdamW on a CPU", [text], ["torch"], given.out))


def _seconds(lanes: int, width: int, rounds: int) -> dict[bool, list[float]]:
    """Seconds of an update of so many lanes, with the kernel and without."""
    params = {"w": torch.randn(lanes, width, width)}
    grads, moments = {"w": torch.randn(lanes, width, width)}, AdamW.init(params)
    rates = torch.full((lanes,), 1e-4), torch.full((lanes,), 1e-2)
    sides = {kernel: AdamW(kernel=kernel) for kernel in (True, False)}
    seconds: dict[bool, list[float]] = {kernel: [] for kernel in sides}
    for step in range(1, rounds + 2):
        for kernel, side in sides.items():
            start = time.perf_counter()
            side.step(params, grads, moments, torch.full((lanes,), step), *rates)
            if step > 1:  # the first warms up
                seconds[kernel].append(time.perf_counter() - start)
    return seconds


if __name__ == "__main__":
    main()
