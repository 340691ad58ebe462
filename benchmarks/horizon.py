"""Claim: an open horizon finds what a long one finds, and costs at most half as much again where a short one is enough.

Each side is a whole search with finals as the command line runs it, which differs in `--epochs` alone: `auto`, and
numbers. On a small set that learns slowly (`--data small`, 1,155 generated clips) `auto` is held against 400 epochs; on
the others against 27, the horizon of the shipped spaces before. Test MAP is that of the retrained winner, its mean over
the retrained seeds; a difference is taken search by search, over searches with other seeds.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev

from avtune.data import write_hdf5
from benchmarks import _report
from benchmarks._small import small

BEFORE = 27
MOST_COST, NEAR = 1.5, 0.01


@dataclass(frozen=True)
class Outcome:
    """What one search gave.

    Attributes:
        test, default: MAP of the retrained winner and of the retrained default configuration, mean over the seeds.
        search_epochs, final_epochs: lane-epochs of the trials, and of repeats and retrainings.
        search_seconds, final_seconds: device seconds of the same.
        wall: seconds of the command.
        rises: whether it says that the winner's curve still rises.
    """

    test: float
    default: float
    search_epochs: int
    final_epochs: int
    search_seconds: float
    final_seconds: float
    wall: float
    rises: bool

    @property
    def cost(self) -> float:
        """Device seconds in all."""
        return self.search_seconds + self.final_seconds


def main() -> None:
    parser = _report.arguments("horizon", __doc__)
    parser.add_argument("--data", default="small", help="a dataset, as `avtune search` takes it, or `small`")
    parser.add_argument("--spaces", default="ave", help="spaces, separated by commas (ave)")
    parser.add_argument("--epochs", help="sides, separated by commas (auto,27; for small auto,27,400)")
    parser.add_argument("--trials", type=int, default=24)
    parser.add_argument("--seeds", type=int, default=5, help="searches of each side")
    parser.add_argument("--first-seed", type=int, default=0)
    given = parser.parse_args()
    given.epochs = given.epochs or ("auto,27,400" if given.data == "small" else f"auto,{BEFORE}")
    if given.quick:
        given.trials, given.seeds, given.epochs = 3, 1, "auto,2"
    with tempfile.TemporaryDirectory() as scratch:
        data = given.data
        if data == "small":
            data = str(Path(scratch) / "small.h5")
            write_hdf5(small(), data)
        results = {space: {side: [] for side in given.epochs.split(",")} for space in given.spaces.split(",")}  # type: dict[str, dict[str, list[Outcome]]]
        for space, sides in results.items():
            for seed in range(given.first_seed, given.first_seed + given.seeds):
                for side, found in sides.items():
                    found.append(_search(given, data, space, side, seed, Path(scratch)))
                    print(f"{space}, seed {seed}, {side}: {found[-1]}", flush=True)
    _write(given, results)


def _search(given: argparse.Namespace, data: str, space: str, side: str, seed: int, scratch: Path) -> Outcome:
    name = f"{space}-{side}-{seed}"
    words = ["search", data, "--space", space, "--epochs", side, "--trials", str(given.trials)]
    words += ["--set", f"search.seed={seed}", "--name", name, "--results", str(scratch)]
    if given.quick:
        words += ["--set", "final.finalists=1", "--set", "final.seeds=1", "--runner", "inline"]
    start = time.perf_counter()
    subprocess.run([sys.executable, "-m", "avtune", *words], check=True, stdout=subprocess.DEVNULL)
    return outcome_of(scratch / name, time.perf_counter() - start)


def outcome_of(study: Path, wall: float) -> Outcome:
    """Read from the files of a finished study."""
    metrics = json.loads((study / "final" / "metrics.json").read_text())
    epochs = [line for line in _lines(study / "curves.jsonl") if "epoch" in line]
    runs = _lines(study / "repeats.jsonl")
    seeds = len(metrics["seeds"])
    retrained = [metrics["epochs"], metrics.get("default", {}).get("epochs", 0)]
    return Outcome(
        metrics["test"]["map"]["mean"],
        metrics["default"]["map"]["mean"],
        len(epochs),
        sum(len(run["curve"]) for run in runs) + seeds * sum(retrained),
        sum(line["seconds"] for line in epochs),
        sum(run["seconds"] for run in runs),
        wall,
        "still_rises" in metrics,
    )


def _lines(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def _write(given: argparse.Namespace, results: dict[str, dict[str, list[Outcome]]]) -> None:
    name = Path(given.data).stem
    sections = [_claims(name, results), _HOW.format(trials=given.trials, seeds=given.seeds)]
    for space, sides in results.items():
        sections.append(f"## space {space}\n\n{_table(sides)}")
    title = f"An open horizon against numbers of epochs: {_report_name(name)}"
    print(_report.write(f"horizon-{name}", title, sections, ["ray", "optuna", "torch", "numpy"], given.out))


_HOW = (
    "{trials} trials, {seeds} searches a side, which differ in their seeds and take turns. Test MAP: mean over the "
    "searches with their standard deviation; `apart` is the first side's minus this one's, search by search, with its "
    "95 % interval. Epochs are those of all lanes together; the finals are repeats of the finalists and of the default "
    "over seeds, and the retraining of the winner and of the default. Device seconds: a core each. `says so`: searches "
    "that end with the sentence that the winner's curve still rises."
)


def _report_name(name: str) -> str:
    return f"YouTube-8M subset ({name})" if name.startswith("yt8m") else name


def _table(sides: dict[str, list[Outcome]]) -> str:
    first = next(iter(sides.values()))
    rows = []
    for side, found in sides.items():
        rows.append(
            [
                side,
                _spread([one.test for one in found]),
                _report.apart([one.test for one in first], [one.test for one in found]),
                f"{mean(one.default for one in found):.4f}",
                f"{mean(one.search_epochs for one in found):.0f}",
                f"{mean(one.final_epochs for one in found):.0f}",
                f"{mean(one.search_seconds for one in found):.0f}",
                f"{mean(one.final_seconds for one in found):.0f}",
                f"{mean(one.wall for one in found):.0f}",
                f"{_cost(first, found):.2f}",
                f"{sum(one.rises for one in found)} of {len(found)}",
            ]
        )
    head = ["epochs", "test MAP", "apart", "default's", "search epochs", "final epochs", "search device s"]
    head += ["finals device s", "wall s", "cost of the first over this", "says so"]
    return _report.table(head, rows)


def _claims(name: str, results: dict[str, dict[str, list[Outcome]]]) -> str:
    lines = ["Claims:", ""]
    for space, sides in results.items():
        first, *others = sides.items()
        for side, found in others:
            apart = mean(one.test for one in first[1]) - mean(one.test for one in found)
            if int(side) > BEFORE:
                lines.append(f"- {space}: test MAP within {NEAR:g} of that at {side} epochs: {apart:+.4f}")
                continue
            spread = stdev([one.test for one in found]) if len(found) > 1 else 0.0
            lines += [
                f"- {space}: test MAP not lower than at {side} epochs by more than the latter's spread over searches, "
                f"{spread:.4f}: {apart:+.4f}",
                f"- {space}: device seconds at most {MOST_COST:g} times those at {side} epochs: "
                f"{_cost(first[1], found):.2f} times",
            ]
    return "\n".join(lines)


def _cost(ours: list[Outcome], theirs: list[Outcome]) -> float:
    return sum(one.cost for one in ours) / sum(one.cost for one in theirs)


def _spread(values: list[float]) -> str:
    return f"{mean(values):.4f}" + (f" (sd {stdev(values):.4f})" if len(values) > 1 else "")


if __name__ == "__main__":
    main()
