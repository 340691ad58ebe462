"""Claim: `avtune plan` predicts the seconds of a search within 20 % and its epochs within 5 %.

Whole searches run as the command line runs them, with other seeds, and `avtune plan` says what they would take, before
the first of them and without having seen any: its curves are those of benchmarks/curves, its costs those of a named
device in proportion to the speed of a product here. Another `--curves` names a study. The searches have no plain
reference beside the winner, which the plan does not count. The report is written anew after every search, and no search
begins that would not end within `--minutes`, by the longest one so far. Seconds say something where the machine does
nothing else; epochs everywhere.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import mean

from benchmarks import _report
from benchmarks.horizon import Outcome, outcome_of

SECONDS, EPOCHS = 0.2, 0.05


def main() -> None:
    parser = _report.arguments("plan", __doc__)
    parser.add_argument("--data", default="demo", help="a dataset, as `avtune search` takes it (demo)")
    parser.add_argument("--seeds", type=int, default=3, help="searches (3)")
    parser.add_argument("--minutes", type=float, default=10, help="in which the searches end, but for the first (10)")
    parser.add_argument("--set", action="append", default=[], help="override a value of the space, of both")
    parser.add_argument("--curves", help="as `avtune plan` takes it")
    given = parser.parse_args()
    if given.quick:
        given.seeds, given.set = 1, ["search.trials=3", "early_stopping.epochs=2", "final.finalists=1", "final.seeds=1"]
    words = [word for assignment in given.set for word in ("--set", assignment)]
    with tempfile.TemporaryDirectory() as scratch:
        curves = ["--curves", given.curves] if given.curves else []
        start = time.perf_counter()
        said = json.loads(_avtune("plan", given.data, "--gpus", "0", "--json", *words, *curves))
        seconds = time.perf_counter() - start
        found: list[Outcome] = []
        for seed in range(given.seeds):
            spent = time.perf_counter() - start
            if found and spent + max(one.wall for one in found) > 60 * given.minutes:
                print(f"{len(found)} of {given.seeds} searches fit into {given.minutes:g} minutes", flush=True)
                break
            found.append(_search(given, words, seed, Path(scratch)))
            path = _write(given, _sections(said, found, seconds))
    print(path)


def _write(given: argparse.Namespace, sections: list[str]) -> Path:
    title = f"What a search takes, and what was expected: {given.data}"
    return _report.write(f"plan-{Path(given.data).stem}", title, sections, _USED, given.out)


_USED = ["ray", "optuna", "torch", "scikit-learn", "numpy"]


def _avtune(*words: str) -> str:
    done = subprocess.run([sys.executable, "-m", "avtune", *words], check=True, stdout=subprocess.PIPE, text=True)
    return done.stdout


def _search(given: argparse.Namespace, words: list[str], seed: int, scratch: Path) -> Outcome:
    name = f"seed-{seed}"
    start = time.perf_counter()
    more = ["--set", f"search.seed={seed}", "--gpus", "0", "--name", name, "--results", str(scratch), "--no-reference"]
    _avtune("search", given.data, *words, *more)
    outcome = outcome_of(scratch / name, time.perf_counter() - start)
    print(f"seed {seed}: {outcome}", flush=True)
    return outcome


def _sections(said: dict[str, dict[str, dict[str, float]]], found: list[Outcome], seconds: float) -> list[str]:
    rows = []
    finals = {
        name: said["epochs"]["finals"][name] + said["epochs"]["retraining"][name]
        for name in ("expected", "low", "high")
    }
    parts = {
        "seconds of the whole command": (said["seconds"]["whole command"], [one.wall for one in found]),
        "device seconds": (said["device_seconds"], [one.cost for one in found]),
        "epochs of the search": (said["epochs"]["search"], [float(one.search_epochs) for one in found]),
        "epochs of finals and retraining": (finals, [float(one.final_epochs) for one in found]),
    }
    for name, (expected, measured) in parts.items():
        apart = expected["expected"] / mean(measured) - 1
        cells = [f"{expected[end]:.0f}" for end in ("expected", "low", "high")]
        rows.append(
            [name, *cells, f"{mean(measured):.0f}", ", ".join(f"{one:.0f}" for one in measured), f"{apart:+.0%}"]
        )
    wall, epochs = (parts[name] for name in ("seconds of the whole command", "epochs of the search"))
    claims = [
        f"- seconds of the whole command within {SECONDS:.0%}: {_apart(*wall):+.0%}",
        f"- epochs of the search within {EPOCHS:.0%}: {_apart(*epochs):+.0%}",
        f"- the plan in under 10 s: {seconds:.1f} s",
    ]
    head = ["", "expected", "from", "to", "measured, mean", "measured, each", "expected over measured"]
    assumed = "\n".join(f"- {line}" for line in said["assumed"])
    return [
        "Claims:\n\n" + "\n".join(claims),
        _report.table(head, rows),
        f"`avtune plan` says that it rests on:\n\n{assumed}",
    ]


def _apart(expected: dict[str, float], measured: list[float]) -> float:
    return expected["expected"] / mean(measured) - 1


if __name__ == "__main__":
    main()
