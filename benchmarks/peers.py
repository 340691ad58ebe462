"""The whole command, finals and test score included, against what a competent user writes with other tools.

    python -m benchmarks.peers --data FILE

Every side searches the same space on rows split in the same way, tries the same number of configurations for the same
epochs at most, repeats the best three over five seeds, retrains the best of them on the whole training set over five
seeds and scores these on the test split. All train with avtune's own training function but ModelBatch, whose models are
stacked by `torch.vmap`. Each side runs in a process of its own, and the sides take turns, once for every seed of the
search. The clock runs from the start of the process to its end, imports included.

- avtune: `avtune search` as it is; `full`: every finalist has all seeds, as the others have it; `fp32`: without
  bfloat16, with finals of either kind. These also repeat, retrain and score the default configuration, which the others
  do not; `same finals`: in fp32 without it (`--no-default`), with a race. That side is the one that claims are of.
- optuna: `study.optimize(n_jobs=cores)` in threads; `optuna processes`: processes that share a journal.
- ray: `Tuner` with OptunaSearch and ASHA, one process a trial; `ray reuse`: with `reuse_actors`.
- syne tune: its local backend with BOHB. modelbatch: with its Optuna integration, on spaces of `psd` alone.

Time to quality: avtune is also run with fewer configurations (`--budgets`). What counts is the fewest with which its
mean test MAP is not below the median of the peers', and how long these take.

All seeds of all sides take many hours. With `--kept FILE` every run is kept as it ends, and the same command goes on
with those that are missing; a run of another machine, or with other versions, does not count.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from statistics import mean, median

from benchmarks import _report
from benchmarks._peer_kept import Kept, measured_when
from benchmarks._peer_task import Task

OURS = {
    "avtune": ["--finals", "race"],
    "avtune full": ["--finals", "full"],
    "avtune fp32": ["--finals", "race", "--precision", "fp32"],
    "avtune fp32 full": ["--finals", "full", "--precision", "fp32"],
    "avtune same finals": ["--finals", "race", "--precision", "fp32", "--no-default"],
}
PEERS = ("optuna", "optuna processes", "ray", "ray reuse", "syne tune", "modelbatch")
COMPARED = "avtune same finals"
# How many times faster than a peer its whole command is, by dataset, with 64 trials on two cores.
CLAIMED = {
    "demo": {"optuna": 3.0, "ray": 8.0, "modelbatch": 2.0},
    "yt8m_ave15": {"optuna": 2.5, "ray": 6.0, "modelbatch": 2.0},
}
QUALITY = 4.0
"""How many times faster avtune is at the quality that the peers have in the end."""
Found = dict[str, float]
Results = Mapping[str, Sequence[Found]]


def main() -> None:
    given = _options()
    if given.side:
        print(json.dumps(_peer(given.side)(Task(**json.loads(given.task)))))
        return
    asked = given.sides.split(",")
    missing = {side: why for side in asked if (why := _why_not(side, _task(given, 0, given.trials)))}
    sides = [side for side in asked if side not in missing]
    budgets = [int(one) for one in given.budgets.split(",") if one]
    results: dict[str, list[Found]] = {side: [] for side in sides}
    results |= {_budget(trials): [] for trials in budgets}
    kept = Kept(given.kept, _report.machine(_PACKAGES))
    for seed in range(given.seeds):
        for side in sides:
            results[side].append(_told(kept, side, _task(given, seed, given.trials)))
        for trials in budgets:
            results[_budget(trials)].append(_told(kept, _budget(trials), _task(given, seed, trials)))
    left_out = "\n".join(f"- Left out: {side}, {why}" for side, why in missing.items()) or "- No side is left out."
    about = f"- {measured_when(kept.used)}\n{left_out}"
    sections = [claims(given, results), about, table(results), quality(results, budgets)]
    name = f"peers-{Path(given.data).stem}"
    print(_report.write(name, "The whole command against its peers", sections, _PACKAGES, given.out))


NEEDS = {"syne tune": "syne_tune", "modelbatch": "modelbatch"}
"""The packages of peers that avtune does not need itself: the dependency group `peers`."""
_PACKAGES = ["torch", "ray", "optuna", "syne-tune", "modelbatch", "numpy"]


def _options() -> argparse.Namespace:
    parser = _report.arguments("peers", __doc__)
    parser.add_argument("--data", default="demo", help="a dataset, as `avtune search` takes it")
    parser.add_argument("--space", help="a space (default: demo for the demo, else ave)")
    parser.add_argument("--trials", type=int, default=64)
    parser.add_argument("--epochs", type=int, help="most epochs of a trial, on every side (18 for the demo, else 27)")
    parser.add_argument("--seeds", type=int, default=5, help="searches of each side")
    parser.add_argument("--sides", default=",".join([*OURS, *PEERS]), help="which, separated by commas")
    parser.add_argument("--kept", type=Path, help="a file that keeps every run, to go on with")
    parser.add_argument("--budgets", default="8,16,32", help="configurations of further searches of avtune's")
    parser.add_argument("--side", choices=PEERS, help=argparse.SUPPRESS)
    parser.add_argument("--task", help=argparse.SUPPRESS)
    given = parser.parse_args()
    unknown = set(given.sides.split(",")) - {*OURS, *PEERS}
    if unknown:
        parser.error(f"no side is called {', '.join(sorted(unknown))}; sides: {', '.join([*OURS, *PEERS])}")
    given.space = given.space or ("demo" if given.data == "demo" else "ave")
    given.epochs = given.epochs or (18 if given.data == "demo" else 27)
    given.final_seeds = 5
    if given.quick:
        given.trials, given.seeds, given.epochs, given.final_seeds, given.budgets = 4, 1, 3, 2, "3"
    return given


def _task(given: argparse.Namespace, seed: int, trials: int) -> Task:
    return Task(given.data, given.space, trials, given.epochs, seed, finalists=3, seeds=given.final_seeds)


def _why_not(side: str, task: Task) -> str:
    """Why a side cannot take part; empty where it can."""
    package = NEEDS.get(side)
    if package is not None and importlib.util.find_spec(package) is None:
        return "which is not installed"
    if side == "modelbatch" and task.the_space.method != "psd":
        return f"which is written for psd, while {task.space} is a space of {task.the_space.method}"
    return ""


def _budget(trials: int) -> str:
    return f"{COMPARED}, {trials} trials"


def _told(kept: Kept, side: str, task: Task) -> Found:
    """What a side finds, from a run that was kept or a new one."""
    found = kept.find(side, task)
    if found is None:
        told = {"date": f"{datetime.now(UTC):%Y-%m-%d %H:%M}", "commit": _report.commit()}
        told["load"] = f"{os.getloadavg()[0]:.1f}"
        found = _ours(side, task) if side not in PEERS else _theirs(side, task)
        kept.add(side, task, found, told)
        print(f"seed {task.seed}, {side}: {found}", flush=True)
    return found


def _theirs(side: str, task: Task) -> Found:
    command = [sys.executable, "-m", "benchmarks.peers", "--side", side, "--task", json.dumps(asdict(task))]
    said, wall = _timed(side, command)
    found: Found = json.loads(said.strip().splitlines()[-1])
    return found | {"wall": wall}


def _ours(side: str, task: Task) -> Found:
    """`avtune search` with the task's settings."""
    settings = [f"search.seed={task.seed}", f"final.finalists={task.finalists}", f"final.seeds={task.seeds}"]
    words = [word for one in settings for word in ("--set", one)]
    words += ["--trials", str(task.trials), "--epochs", str(task.epochs), "--space", task.space]
    words += ["--no-reference", *OURS.get(side, OURS[COMPARED])]
    with tempfile.TemporaryDirectory() as results:
        command = [sys.executable, "-m", "avtune", "search", task.data, *words, "--results", results, "--name", "one"]
        _, wall = _timed(side, command)
        import avtune

        study = avtune.load_study("one", results=results)
        assert study.results is not None
        trials = study.trials
        return {
            "best": float(trials["val_map"].max()),
            "test": study.results.test.map.mean,
            "epochs": float(trials["epochs"].sum()),
            "wall": wall,
        }


def _timed(side: str, command: list[str]) -> tuple[str, float]:
    """What a command prints, and the seconds that it took."""
    with tempfile.TemporaryDirectory() as scratch:
        start = time.perf_counter()
        done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"SYNETUNE_FOLDER": scratch})
        wall = round(time.perf_counter() - start, 2)
    if done.returncode:
        raise SystemExit(f"{side} failed:\n{done.stderr[-3000:]}")
    return done.stdout, wall


def _peer(side: str) -> Callable[[Task], Found]:
    if side == "modelbatch":
        from benchmarks._peer_modelbatch import modelbatch

        return modelbatch
    from benchmarks import _peer_sides

    found: Callable[[Task], Found] = {
        "optuna": _peer_sides.optuna_threads,
        "optuna processes": _peer_sides.optuna_processes,
        "ray": _peer_sides.ray_tune,
        "ray reuse": _peer_sides.ray_reuse,
        "syne tune": _peer_sides.syne_tune,
    }[side]
    return found


# -- the report --------------------------------------------------------------------------------------------------------


def table(results: Results) -> str:
    """All sides: seconds, epochs of the search, best validation MAP and test MAP."""
    peers = [peer for peer in PEERS if peer in results]
    rows = []
    for side, runs in results.items():
        walls = [run["wall"] for run in runs]
        row = [side, f"{median(walls):.1f} ({min(walls):.1f} to {max(walls):.1f})"]
        row += [f"{mean(run['epochs'] for run in runs):.0f}", f"{mean(run['best'] for run in runs):.4f}"]
        row.append(_with_interval([run["test"] for run in runs]))
        rows.append([*row, *(f"{ratio(results[peer], runs):.2f}x" for peer in peers)])
    head = ["side", "wall s", "epochs of the search", "best validation MAP", "test MAP"]
    head += [f"faster than {peer}" for peer in peers]
    about = (
        "Medians over the seeds of the search (smallest to largest); ratios are medians over the seeds. Test MAP: mean "
        "over the searches, each the mean over its retrained seeds, with the 95 % interval over searches (Student t)."
    )
    return f"{about}\n\n{_report.table(head, rows)}"


def _with_interval(values: Sequence[float]) -> str:
    if len(values) < 2:
        return f"{mean(values):.4f}"
    from avtune.metrics.significance import mean_interval

    middle, half = mean_interval(values)
    return f"{middle:.4f} ± {half or 0.0:.4f}"


def ratio(theirs: Sequence[Found], ours: Sequence[Found]) -> float:
    """How many times as long the other side took, the median over the seeds."""
    return median(other["wall"] / run["wall"] for other, run in zip(theirs, ours, strict=True))


def claims(given: argparse.Namespace, results: Results) -> str:
    """The claims beside what was found."""
    wanted = CLAIMED.get(Path(given.data).stem)
    if wanted is None or COMPARED not in results or given.trials != 64 or given.seeds < 5:
        return "Claims: not tested in this run, which has other data, sides, trials or fewer than 5 seeds."
    lines = ["Claims, of avtune in fp32 with the finals that its peers have:", ""]
    ours = results[COMPARED]
    for peer, times in wanted.items():
        if peer not in results:
            continue
        lines.append(f"- at least {times} times faster than {peer}: {ratio(results[peer], ours):.2f} times")
        gap = mean(run["test"] for run in ours) - mean(run["test"] for run in results[peer])
        lines.append(f"- test MAP not lower than that of {peer}: {gap:+.4f}")
    return "\n".join(lines)


def quality(results: Results, budgets: Sequence[int]) -> str:
    """The fewest configurations with which avtune is as good as the peers in the end, and how long they take."""
    peers = [results[peer] for peer in PEERS if peer in results]
    if not peers or not budgets:
        return "## Time to quality\n\nNot measured in this run."
    wanted = median(mean(run["test"] for run in runs) for runs in peers)
    slowest = median(median(run["wall"] for run in runs) for runs in peers)
    text = (
        f"## Time to quality\n\nThe median of the peers' mean test MAP is {wanted:.4f}, after {slowest:.1f} s (median)."
    )
    sides = [_budget(trials) for trials in sorted(budgets)] + [COMPARED]
    for side in (one for one in sides if one in results):
        runs = results[side]
        reached = mean(run["test"] for run in runs)
        if reached >= wanted:
            wall = median(run["wall"] for run in runs)
            times = f"{slowest / wall:.1f} times as fast (claimed: {QUALITY})"
            return f"{text} {side}: {reached:.4f} after {wall:.1f} s, {times}."
    return f"{text} avtune did not reach it."


if __name__ == "__main__":
    main()
