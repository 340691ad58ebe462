"""Stories of one study each: it is killed again and again, at moments drawn from a seed, and continued to its end."""

from __future__ import annotations

import csv
import json
import random
import shutil
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import yaml
from fault_search import Hang, Search, whole_lines
from safetensors import safe_open
from toy import write_toy

from avtune.study.asha import rung_epochs
from avtune.study.folder import StudyFolder
from avtune.study.status import read_status

RUNNERS = ("lanes", "processes", "inline")
ENDS_SOON = 30.0
"""Seconds in which a run ends after a signal, start and end of Ray included, on a busy machine of two cores."""
_PATIENCE = 600.0
_SIGNALLED = {"driver SIGKILL": {-9}, "driver SIGTERM": {143}, "driver SIGINT": {130}}
_EARLY = {"driver SIGTERM": {-15}, "driver SIGINT": {-2, 1}}
"""Before the program has come to its first line, Python itself answers."""


@dataclass
class Kill:
    """A fault that was done. `seconds` is how long the run took to end after it, None where it went on."""

    runner: str
    fault: str
    seconds: float | None = None


@dataclass
class Story:
    """What a story came to. `problems` is empty when nothing was lost, doubled, damaged or different. `repeated`: of
    each trial that ran in lanes when its driver was killed, the epochs on record that are trained again."""

    seed: int
    runner: str
    deterministic: bool
    kills: list[Kill] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    torn: int = 0
    repeated: list[int] = field(default_factory=list)
    folder: Path | None = None


@dataclass(frozen=True)
class Toy:
    """A search of generated clips.

    Attributes:
        clips: of the training set.
        lines: most new lines in the study's files before a fault.
    """

    trials: int = 16
    epochs: int = 18
    clips: int = 360
    lines: int = 40

    @property
    def name(self) -> str:
        return "generated clips"

    def prepare(self, folder: Path) -> None:
        write_toy(folder, train=self.clips)

    def words(self, runner: str) -> list[str]:
        settings = {
            "search.trials": self.trials,
            "search.lag": 4,
            "search.startup_trials": 5,
            "early_stopping.epochs": self.epochs,
            "early_stopping.grace": 2,
            "early_stopping.factor": 3,
            "final.finalists": 2,
            "final.seeds": 2,
            "final.reference": "none",
        }
        words = [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]
        return [*words, "--lanes", "3"] if runner == "lanes" else words


@dataclass(frozen=True)
class Real:
    """A search of a dataset and a space; its undisturbed study is not known."""

    data: Path
    space: Path
    trials: int
    lines: int = 200

    @property
    def name(self) -> str:
        return f"{self.data.stem}, {self.trials} trials each"

    def prepare(self, folder: Path) -> None:
        (folder / "toy.h5").symlink_to(self.data.resolve())
        shutil.copy(self.space, folder / "space.yaml")

    def words(self, runner: str) -> list[str]:
        return ["--trials", str(self.trials)]


def _words(what: Toy | Real, runner: str, *, deterministic: bool) -> list[str]:
    """The command's further words. The kills are ours: none of them may be held to be a trial's fault."""
    return [*what.words(runner), "--runner", runner, "--max-failures", "1000", *["--deterministic"] * deterministic]


def undisturbed(parent: Path, what: Toy) -> dict:
    """What the study comes to when nothing happens to it, one trial at a time."""
    folder = Path(tempfile.mkdtemp(dir=parent, prefix="undisturbed-"))
    what.prepare(folder)
    with Search(folder, _words(what, "inline", deterministic=True)) as search:
        code = search.wait(_PATIENCE)
        assert code == 0, search.printed
        found = outcome(search.study)
    shutil.rmtree(folder)
    return found


def outcome(study: Path) -> dict:
    """What a finished study found: every trial without its seconds, the winner, and its score."""
    with (study / "trials.csv").open() as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        del row["seconds"]
        row["val_map"] = row["val_map"] and round(float(row["val_map"]), 4)
    best = yaml.safe_load((study / "best.yaml").read_text())
    score = json.loads((study / "final" / "metrics.json").read_text())["test"]["map"]["mean"]
    return {"trials": rows, "winner": best["trial"], "epochs": best["retrain_epochs"], "test": round(score, 3)}


def tell(
    seed: int,
    parent: Path,
    kills: int,
    expected: dict,
    *,
    runner: str | None = None,
    faults: Sequence[str] = (),
    what: Toy | Real,
) -> Story:
    """Runs one story.

    Args:
        seed: decides runner, mode, faults and moments; what happens at a moment is up to the machine.
        parent: where the study's folder is made; it stays when there is a problem.
        kills: most faults; fewer are done when the study ends before.
        expected: what `undisturbed` found.
        runner: instead of the seed's.
        faults: these, in this order, instead of the seed's.
        what: is searched.
    """
    draw = random.Random(seed)
    drawn = draw.choices(RUNNERS, (4, 3, 2))[0]
    deterministic = (draw.random() < 0.7 or bool(faults)) and isinstance(what, Toy)
    story = Story(seed, runner or drawn, deterministic)
    folder = story.folder = Path(tempfile.mkdtemp(dir=parent, prefix=f"story-{seed}-"))
    what.prepare(folder)
    study = folder / "results" / "one"
    planned = list(faults) or _faults(draw, story.runner, kills)
    searches: list[Search] = []
    code = None
    while code != 0 and not story.problems:
        before = whole_lines(study / "curves.jsonl")
        with Search(folder, _words(what, story.runner, deterministic=story.deterministic)) as search:
            searches.append(search)
            try:
                code = _run(search, story, planned, draw, most=what.lines)
            except Hang as hang:
                story.problems.append(f"hangs: {hang}")
        if not story.problems:
            story.problems += _checked(study, before)
        if not story.problems and story.runner == "lanes" and code != 0:
            story.problems += _behind(study, story)
        if code != 0 and study.exists() and draw.random() < 0.5:
            story.torn += _lose_power(StudyFolder(study), draw)
    for search in searches:
        search.sweep()
    if not story.problems:
        story.problems += _final(study, story, expected, what.trials)
    if not story.problems:
        shutil.rmtree(folder)
        story.folder = None
    return story


def _faults(draw: random.Random, runner: str, kills: int) -> list[str]:
    faults = {"driver SIGKILL": 3, "driver SIGTERM": 2, "driver SIGINT": 2}
    if runner != "inline":
        faults |= {"worker SIGKILL": 4, "node SIGKILL": 1}
    return draw.choices(list(faults), list(faults.values()), k=kills)


def _run(search: Search, story: Story, planned: list[str], draw: random.Random, *, most: int) -> int:
    """Does planned faults to a run until one ends it, or it ends by itself; returns its exit code. `most`: new lines in
    the study's files before a fault."""
    while planned:
        by_time = draw.random() < 0.25
        lines, seconds = (None, draw.uniform(0.2, 9.0)) if by_time else (draw.randint(1, most), draw.uniform(0, 0.3))
        fault = planned[0]
        if not search.until(lines, seconds, _PATIENCE):
            break
        early = not search.printed[0]
        search.known = search.progress()
        at = time.monotonic()
        if not search.do(fault):
            continue  # no worker yet, or none any more: another moment
        planned.pop(0)
        story.kills.append(Kill(story.runner, fault))
        if fault.startswith("worker"):
            continue
        code = search.wait(_PATIENCE if fault.startswith("node") else ENDS_SOON)
        story.kills[-1].seconds = time.monotonic() - at
        allowed = _SIGNALLED.get(fault, {1}) | (_EARLY.get(fault, set()) if early else set())
        if code == 0:  # it was about to end anyway
            return 0
        err = search.printed[1]
        if code not in allowed:
            story.problems.append(f"{fault}: exit code {code}; it printed {search.printed}")
        elif not early and code > 0 and ("Traceback" in err or len(err.strip().splitlines()) > 2):
            story.problems.append(f"{fault}: more than a line or two on standard error: {err[-2000:]}")
        return code
    code = search.wait(_PATIENCE)
    if code != 0 or search.printed[1]:
        story.problems.append(f"undisturbed run: exit code {code}; it printed {search.printed}")
    return code


def _checked(study: Path, before: list[dict]) -> list[str]:
    """What is wrong with a study after a run that began with the curves `before`."""
    if not study.exists():
        return ["the study has gone"] if before else []
    try:
        lines = whole_lines(study / "curves.jsonl")
        whole_lines(study / "journal.log")
        whole_lines(study / "repeats.jsonl")
        read_status(StudyFolder(study))
    except Exception as error:
        return [f"the study is damaged: {error!r}"]
    problems = []
    if lines[: len(before)] != before:
        problems.append("lines of the curves have changed or gone")
    ends = [line["trial"] for line in lines if "state" in line]
    epochs = [(line["trial"], line["epoch"]) for line in lines if "epoch" in line]
    problems += [f"trial {number} ended twice" for number in set(ends) if ends.count(number) > 1]
    problems += [f"an epoch counts twice: {one}" for one in set(epochs) if epochs.count(one) > 1]
    problems += [f"failed: {line}" for line in lines if line.get("state") == "FAIL"]
    return problems


def _behind(study: Path, story: Story) -> list[str]:
    """What is wrong with the states of the trials that were running: one whose state is older than by a rung."""
    if not (study / "study.yaml").exists():
        return []
    stopping = yaml.safe_load((study / "study.yaml").read_text())["space"]["early_stopping"]
    rungs = rung_epochs(stopping["epochs"], stopping["grace"], stopping["factor"])
    lines = whole_lines(study / "curves.jsonl")
    over = {line["trial"] for line in lines if "state" in line}
    known = {line["trial"]: line["epoch"] for line in lines if "epoch" in line and line["trial"] not in over}
    problems = []
    for number, epoch in known.items():
        saved = 0
        path = StudyFolder(study).lane(number)
        if path.exists():
            with safe_open(path, framework="pt") as file:
                saved = len(json.loads(file.metadata()["values"]))
        passed = [rung for rung in rungs if saved < rung <= epoch]
        if len(passed) > 1:
            problems.append(f"trial {number} is known to epoch {epoch} and goes on from {saved}: rungs {passed} again")
        story.repeated.append(epoch - saved if saved <= epoch else epoch)
    return problems


def _lose_power(folder: StudyFolder, draw: random.Random) -> int:
    """What a power loss does: lines that were not synced are lost from some byte on, or a line is torn."""
    done = 0
    for path, synced in ((folder.curves, '"state"'), (folder.journal, '"op_code":4'), (folder.repeats, "")):
        if not path.exists() or draw.random() < 0.4:
            continue
        data = path.read_bytes()
        lines = data.splitlines(keepends=True)
        safe = max((at + 1 for at, line in enumerate(lines) if synced.encode() in line), default=0)
        keep = sum(len(line) for line in lines[:safe])
        if keep < len(data) and draw.random() < 0.7:
            path.write_bytes(data[: draw.randint(keep, len(data))])
        elif data.endswith(b"\n"):
            path.write_bytes(data + b'{"trial":1,"ep'[: draw.randint(1, 14)])
        else:
            continue
        done += 1
    return done


def _final(study: Path, story: Story, expected: dict, trials: int) -> list[str]:
    """What is wrong with a study that has ended."""
    found = outcome(study)
    problems = [f"{name} is left over" for name in ("lanes", "final/seeds") if (study / name).exists()]
    problems += [f"{path} is left over" for path in study.rglob(".*")]
    ended = sorted(line["trial"] for line in whole_lines(study / "curves.jsonl") if "state" in line)
    if ended != list(range(trials)):
        problems.append(f"trials that ended: {ended}")
    if story.deterministic and found != expected:
        rows = zip(found["trials"], expected["trials"], strict=False)
        first = next((pair for pair in rows if pair[0] != pair[1]), (found, expected))
        problems.append(f"not the undisturbed study: {first[0]} instead of {first[1]}")
    return problems
