"""Damaged datasets, spaces, options, models and studies: always a clear error or a right result. `make fuzz`, or

python -m tests.fuzz --inputs 5000 --seed 0
python -m tests.fuzz --inputs 1 --seed 4711      # one input again
python -m tests.fuzz --inputs 500 --kind layout
"""

from __future__ import annotations

import argparse
import itertools
import os
import shutil
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

from fuzz_inputs import KINDS, ORDER  # noqa: E402
from fuzz_pool import judged  # noqa: E402

from benchmarks import _report  # noqa: E402


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__ and __doc__.splitlines()[0])
    parser.add_argument("--inputs", type=int, default=5000, help="how many (5000)")
    parser.add_argument("--seed", type=int, default=0, help="of the first input; the next has the next (0)")
    parser.add_argument("--kind", choices=sorted(KINDS), help="only inputs of this kind, so many of them (all)")
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)), help="processes (the CPU cores)")
    parser.add_argument("--out", type=Path, help="folder of a dated report")
    given = parser.parse_args()
    root = Path(tempfile.mkdtemp(prefix="avtune_fuzz_"))
    counts: Counter[tuple[str, str]] = Counter()
    problems = []
    start = time.monotonic()
    of_kind = (seed for seed in itertools.count(given.seed) if given.kind in (None, ORDER[seed % len(ORDER)]))
    seeds = list(itertools.islice(of_kind, given.inputs))
    for number, verdict in enumerate(judged(seeds, root, given.jobs), 1):
        counts[verdict["kind"], verdict["outcome"]] += 1
        if verdict["outcome"] == "PROBLEM":
            problems.append(verdict)
            said = f"seed {verdict['seed']}, {verdict['kind']} ({verdict['what']}): {verdict['why']}"
            print(said.encode("ascii", "backslashreplace").decode())
            print(f"  its files: {root / str(verdict['seed'])}", flush=True)
        if number % 500 == 0:
            print(f"{number} inputs, {len(problems)} problems", flush=True)
    sections = _sections(counts, problems, seeds, given.jobs, time.monotonic() - start)
    print("", *sections, sep="\n\n")
    if given.out is not None:
        print(_report.write("fuzz", "Damaged input", sections, ["h5py", "numpy", "safetensors", "torch"], given.out))
    if not problems:
        shutil.rmtree(root)
    return 1 if problems else 0


def _sections(counts, problems, seeds, jobs, seconds):
    outcomes = ("refused", "right", "failed", "PROBLEM")
    kinds = sorted({kind for kind, _ in counts})
    rows = [
        [kind, *(str(counts[kind, one]) for one in outcomes), str(sum(counts[kind, one] for one in outcomes))]
        for kind in kinds
    ]
    rows.append(["all", *(str(sum(counts[kind, one] for kind in kinds)) for one in outcomes), str(counts.total())])
    head = ["kind", "refused (2)", "right (0)", "no winner (1)", "problems", "inputs"]
    return [
        f"Inputs of the seeds {seeds[0]} to {seeds[-1]}, each damaged at random and given to the "
        "command line. A problem is a traceback, a hang, a process that dies, a warning, a message that is unclear or "
        "steers the terminal, a refused command that leaves or changes files, or memory out of proportion. "
        f"{seconds:.0f} s with {jobs} processes.",
        _report.table(head, rows),
        *(
            ["Problems:\n\n" + "\n".join(f"- seed {one['seed']}, {one['kind']}: {one['why']}" for one in problems)]
            if problems
            else []
        ),
    ]


if __name__ == "__main__":
    sys.exit(main())
