"""One command for a GPU with Ray and Optuna: does `avtune search` work there, do its promises hold, what does it take.

Whole commands run as a user types them, on generated features: a search of AVE's size and one of VEGAS's size with
finals and retraining, beside what `avtune plan` said; `--deterministic` twice, in other numbers of lanes, killed and
continued, as processes that share the GPU, and on the CPU; `avtune verify` of each study. The report is written anew
as rows come in: whatever ends the run, what was measured is there.

    python -m benchmarks.gpu_search --seconds 400
    python -m benchmarks.gpu_search --gpus 0 --quick     # the same commands on a CPU, to see that all runs
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import h5py
import numpy as np
from torch import cuda

from avtune.core.words import plural
from benchmarks import _report
from benchmarks._gpu_device import Clock
from benchmarks._gpu_report import Report, Section, Table, one_line
from benchmarks._training import Shape

AVE, VEGAS = Shape(15, 1663, 416), Shape(10, 22482, 5621)
"""Rows to train on, of which a search takes a fifth to validate on, and rows to test on."""
QUICK = Shape(4, 120, 40)
HEAD = ["command", "seconds", "trials", "epochs of the search", "test MAP", "`avtune verify`"]


@dataclass(frozen=True)
class Ran:
    """A command that ended.

    Attributes:
        seconds: that it took.
        code: its exit status.
        said: standard output and error.
        late: whether it was ended because the time was up.
    """

    seconds: float
    code: int
    said: str
    late: bool


class Commands:
    """Runs avtune in a folder of its own.

    Args:
        scratch: the folder, of features and results.
        gpus: that a search takes.
        clock: no command outlives it.
    """

    def __init__(self, scratch: Path, gpus: int, clock: Clock) -> None:
        self.results = scratch / "results"
        self.scratch, self.gpus, self._clock = scratch, gpus, clock

    def avtune(self, *words: str, after: Callable[[], bool] | None = None) -> Ran:
        """Runs a verb to its end, or kills its process group with SIGKILL once `after` says so."""
        begun, late = time.perf_counter(), False
        with (self.scratch / "said.txt").open("w+b") as said:
            process = subprocess.Popen(
                [sys.executable, "-m", "avtune", *words], stdout=said, stderr=said, start_new_session=True
            )
            while process.poll() is None:
                late = self._clock.left < 0
                if late or (after is not None and after()):
                    os.killpg(process.pid, signal.SIGKILL)
                    process.wait()
                    break
                time.sleep(0.02)
            said.seek(0)
            ran = Ran(time.perf_counter() - begun, process.returncode, said.read().decode(errors="replace"), late)
        print(f"  avtune {' '.join(words)}: status {ran.code}, {ran.seconds:.1f} s", flush=True)
        if ran.code:
            print(ran.said[-3000:], flush=True)
        return ran

    def search(self, name: str, shape: str, *words: str, after: Callable[[], bool] | None = None) -> Ran:
        """`avtune search` of the generated features of that name."""
        resources = [] if "--gpus" in words else ["--gpus", str(self.gpus)]
        where = ["--results", str(self.results), "--name", name]
        return self.avtune("search", str(self.scratch / f"{shape}-size.h5"), *where, *resources, *words, after=after)

    def curves(self, name: str) -> dict[tuple[int, int], float]:
        """Validation MAP by (trial, epoch)."""
        found: dict[tuple[int, int], float] = {}
        for line in (self.results / name / "curves.jsonl").read_text().splitlines():
            said = json.loads(line)
            if "epoch" in said:
                assert (said["trial"], said["epoch"]) not in found, f"{name}: an epoch of a trial was reported twice"
                found[said["trial"], said["epoch"]] = said["val_map"]
        return found

    def states(self, name: str) -> dict[int, str]:
        """State by trial."""
        with (self.results / name / "trials.csv").open() as file:
            return {int(row["trial"]): row["state"] for row in csv.DictReader(file)}

    def tested(self, name: str) -> float:
        """Test MAP of the retrained winner."""
        metrics = json.loads((self.results / name / "final" / "metrics.json").read_text())
        return float(metrics["test"]["map"]["mean"])

    def log(self, name: str) -> str:
        path = self.results / name / "log.txt"
        return path.read_text() if path.is_file() else ""


def main() -> int:
    options = _options()
    report = Report(
        "-".join(["gpu_search", *(options.only if options.only != _WORDS else [])]),
        "Whole searches through Ray on a GPU" if options.gpus else "Whole searches, tried on a CPU",
        options.out,
        [["GPUs", str(options.gpus)]],
        "Features are generated: a class's centre and noise of three times its size. Each command is a process, Ray's "
        "start included.",
        options.commit,
    )
    clock = Clock(options.seconds)
    with tempfile.TemporaryDirectory() as scratch:
        commands = Commands(Path(scratch), options.gpus, clock)
        shapes = {"ave": QUICK, "vegas": QUICK} if options.quick else {"ave": AVE, "vegas": VEGAS}
        for name, shape in shapes.items():
            _generate(Path(scratch) / f"{name}-size.h5", shape)
        for title, about, part in PARTS:
            if title.split()[0].lower() not in options.only:
                continue
            section = report.section(title, about)
            begun = time.perf_counter()
            try:
                part(section, commands, options.quick)
            except Exception as error:
                traceback.print_exc()
                section.fail(f"this part ended early: {one_line(error)}")
            section.seconds = time.perf_counter() - begun
            report.save()
    fails = report.fails
    said = f"{plural(len(fails), 'thing')} FAIL" if fails else "nothing fails"
    report.ended = f"Complete: {said}."
    report.save()
    print(report.path)
    return 1 if fails else 0


def _options() -> argparse.Namespace:
    parser = _report.arguments("gpu_search", __doc__)
    parser.add_argument("--seconds", type=float, default=400, help="no command goes on for longer (400)")
    parser.add_argument("--gpus", type=int, default=1, help="that a search takes; 0: the CPU cores (1)")
    parser.add_argument("--only", nargs="+", choices=_WORDS, default=_WORDS, help="parts (all)")
    parser.add_argument("--commit", help="of the code, for the report, where there is no git")
    options = parser.parse_args()
    if options.gpus > cuda.device_count():
        parser.error(
            f"--gpus {options.gpus}: torch sees {plural(cuda.device_count(), 'GPU')}; "
            "`--gpus 0 --quick` tries all on the CPU"
        )
    return options


def _generate(path: Path, shape: Shape) -> None:
    """The six keys of the public feature files."""
    rng = np.random.default_rng(0)
    widths = {"audio": shape.audio, "visual": shape.visual}
    centres = {view: rng.standard_normal((shape.classes, width), np.float32) for view, width in widths.items()}
    with h5py.File(path, "w") as file:
        for split, clips in (("train", shape.train), ("test", shape.validation)):
            labels = rng.permutation(np.arange(clips) % shape.classes)
            file[f"lab_{split}"] = labels
            for view, width in widths.items():
                noise = 3 * rng.standard_normal((clips, width), np.float32)
                file[f"{view}_{split}"] = centres[view][labels] + noise


# --- the machine


def _machine(section: Section, commands: Commands, quick: bool) -> None:
    ran = commands.avtune("doctor")
    section.note(f"```\n{ran.said.strip()}\n```")
    _bad(section, "avtune doctor", ran)


def _bad(section: Section, what: str, ran: Ran) -> bool:
    """Whether a command did not end well; the section says so."""
    if ran.late:
        section.leave_out(what)
    elif ran.code:
        section.fail(f"{what}: ends with {ran.code}")
    return ran.late or ran.code != 0


# --- whole searches


def _whole(section: Section, commands: Commands, quick: bool) -> None:
    table = section.table("Searches", [*HEAD, "planned, seconds", "trials an hour"])
    small = ["--trials", "4", "--epochs", "2"] if quick else []
    for shape in ("ave", "vegas"):
        words = ["--space", shape, *(small or ["--trials", "64"])]
        planned = _planned(commands, shape, words)
        ran = commands.search(shape, shape, *words)
        if _bad(section, f"a search of {shape.upper()}'s size", ran):
            continue
        cells = _row(section, commands, f"search of {shape.upper()}'s size", shape, ran)
        table.row(*cells, planned, f"{3600 * len(commands.states(shape)) / ran.seconds:.0f}")
        section.note(f"Stages of {shape}:\n\n```\n{_stages(ran.said)}\n```")
        if said := commands.log(shape):
            section.note(f"log.txt:\n\n```\n{said.strip()[-2000:]}\n```")


def _planned(commands: Commands, shape: str, words: list[str]) -> str:
    resources = ["--gpus", str(commands.gpus)]
    ran = commands.avtune("plan", str(commands.scratch / f"{shape}-size.h5"), "--json", *resources, *words)
    if ran.code:
        return f"status {ran.code}"
    wall = json.loads(ran.said[ran.said.index("{") :])["seconds"]["whole command"]
    return f"{wall['expected']:.0f} ({wall['low']:.0f}..{wall['high']:.0f})"


def _stages(said: str) -> str:
    """The lines that begin and end a stage, with their time of day."""
    lines = [line for line in said.splitlines() if re.match(r"\d\d:\d\d:\d\d ", line)]
    trials = [line for line in lines if re.match(r"\d\d:\d\d:\d\d \[", line)]
    rest = [line for line in lines if line not in trials]
    return "\n".join([*trials[:1], *trials[-1:], *rest])


def _row(section: Section, commands: Commands, what: str, name: str, ran: Ran) -> list[str]:
    states, curves = commands.states(name), commands.curves(name)
    if lost := [number for number, state in states.items() if state not in ("COMPLETE", "PRUNED")]:
        section.fail(f"{what}: trials {lost} are neither complete nor stopped")
    verified = commands.avtune("verify", str(commands.results / name))
    last = verified.said.strip().splitlines()[-1] if verified.said.strip() else ""
    if verified.code:
        section.fail(f"{what}: avtune verify ends with {verified.code}: {last}")
    section.add(what=what, seconds=ran.seconds, trials=len(states), epochs=len(curves), test=commands.tested(name))
    return [what, f"{ran.seconds:.1f}", str(len(states)), str(len(curves)), f"{commands.tested(name):.4f}", last]


# --- --deterministic


def _deterministic(section: Section, commands: Commands, quick: bool) -> None:
    """Bit for bit on one kind of device; on another one, and as processes, as near as the table says."""
    sizes = ["--trials", "4", "--epochs", "3"] if quick else ["--trials", "12", "--epochs", "9"]
    words = ["--space", "ave", *sizes, "--deterministic", "--no-reference", "--precision", "fp32"]
    words += ["--set", "search.sampler=random", "--set", "final.finalists=1", "--set", "final.seeds=2"]
    table = section.table("Against the first", [*HEAD, "largest difference of a validation MAP", "verdict"])
    first = commands.search("first", "ave", *words)
    if _bad(section, "--deterministic", first):
        return
    table.row(*_row(section, commands, "the first", "first", first), "–", "–")
    first_epochs = len(commands.curves("first"))
    others: list[tuple[str, str, list[str], bool]] = [
        ("with 2 lanes", "lanes", ["--lanes", "2"], True),
        ("killed at a third, continued", "killed", [], True),
        ("on the CPU", "cpu", ["--gpus", "0"], False),
        ("once more", "again", [], True),
    ]
    if commands.gpus:
        share = ["--runner", "processes", "--trials-per-gpu", "4"]
        others.insert(2, ("four processes a GPU", "processes", share, False))
    for what, name, more, promised in others:
        if name == "killed":
            enough = partial(_epochs_are_there, commands, name, first_epochs // 3)
            killed = commands.search(name, "ave", *words, after=enough)
            if killed.code != -signal.SIGKILL:
                section.fail(f"{what}: it ended before it was killed")
        _compare(section, commands, table, what, name, [*words, *more], promised)


def _epochs_are_there(commands: Commands, name: str, count: int) -> bool:
    path = commands.results / name / "curves.jsonl"
    return path.is_file() and path.read_bytes().count(b"\n") > count


def _compare(
    section: Section, commands: Commands, table: Table, what: str, name: str, words: list[str], promised: bool
) -> None:
    ran = commands.search(name, "ave", *words)
    if _bad(section, what, ran):
        return
    one, other = commands.curves("first"), commands.curves(name)
    apart = max(abs(one[key] - other[key]) for key in one.keys() & other.keys())
    same = one == other and commands.states("first") == commands.states(name)
    same = same and commands.tested("first") == commands.tested(name)
    if promised and not same:
        section.fail(f"{what}: not the values of the first")
    elif one.keys() != other.keys():
        section.note(f"{what}: {plural(len(one.keys() ^ other.keys()), 'epoch')} of trials that only one of them has.")
    verdict = "bit-equal" if same else "differs"
    table.row(*_row(section, commands, what, name, ran), f"{apart:.1e}", verdict)


Part = Callable[[Section, Commands, bool], None]
PARTS: list[tuple[str, str, Part]] = [
    ("Machine", "`avtune doctor` says:", _machine),
    (
        "Whole searches",
        "64 trials with the spaces `ave` and `vegas` as they are: search, finals, reference, retraining and scores. "
        "Beside it what `avtune plan` had said before.",
        _whole,
    ),
    (
        "Deterministic searches",
        "Twelve random configurations of nine epochs at most, in float32, with `--deterministic`: the values, states "
        "and the test MAP are to be the same to the last bit, however many lanes there are and whatever happened.",
        _deterministic,
    ),
]
_WORDS = [title.split()[0].lower() for title, _, _ in PARTS]

if __name__ == "__main__":
    raise SystemExit(main())
