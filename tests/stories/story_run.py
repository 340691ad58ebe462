"""Tells many stories, some at a time, and says what came of them."""

from __future__ import annotations

import json
import os
import traceback
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path

from story_acts import acts
from story_tell import Story, tell

from benchmarks import _report


@dataclass(frozen=True)
class Told:
    """What came of a story."""

    seed: int
    kind: str
    deterministic: bool
    problems: list[str]
    commands: dict[str, int]
    faults: dict[str, int]
    actions: dict[str, int]
    looks: int
    trials: int
    seconds: float


def all_told(seeds: list[int], parent: Path, jobs: int, *, aloud: bool = False) -> list[Told]:
    """The stories of the seeds, each told in a fork of this process, `jobs` at a time.

    Args:
        parent: where their folders are made.
        aloud: print every command.
    """
    left, running, stories = list(seeds), {}, []
    while left or running:
        while left and len(running) < jobs:
            seed = left.pop(0)
            running[_told_apart(seed, parent, aloud=aloud)] = seed
        pid, status = os.waitpid(-1, 0)
        if pid not in running:
            continue
        seed = running.pop(pid)
        path = parent / f"{seed}.json"
        if path.is_file():
            stories.append(Told(**json.loads(path.read_text())))
            path.unlink()
        else:
            stories.append(Told(seed, "?", False, [f"the story broke off: {status}"], {}, {}, {}, 0, 0, 0.0))
        print(_line(stories[-1], parent), flush=True)
    return sorted(stories, key=lambda story: story.seed)


def _told_apart(seed: int, parent: Path, *, aloud: bool) -> int:
    pid = os.fork()
    if pid:
        return pid
    try:
        story = tell(seed, parent, acts, lambda text: print(text, flush=True) if aloud else None)
        (parent / f"{seed}.json").write_text(json.dumps(asdict(_summary(story))))
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def _summary(story: Story) -> Told:
    world = story.world
    counts = (dict(story.commands), dict(story.faults), dict(story.actions))
    problems = [text[:2000] for text in story.problems]
    return Told(
        story.seed, world.kind, world.deterministic, problems, *counts, story.looks, story.trials, story.seconds
    )


def _line(story: Told, parent: Path) -> str:
    mode = "deterministic" if story.deterministic else "free"
    count, faults = sum(story.commands.values()), sum(story.faults.values())
    text = f"seed {story.seed}: {story.kind}, {mode}: {count} commands, {faults} faults, {story.seconds:.1f} s"
    return (
        text
        + "".join(f"\n  PROBLEM {problem}" for problem in story.problems)
        + (f"\n  see {parent / f'story-{story.seed}'}" if story.problems else "")
    )


_INTRODUCTION = (
    "Seeds {first} to {last}. A story is a sequence of commands on generated clips, drawn from its seed, with "
    "what happens to them: killed (SIGKILL) or ended (SIGTERM, SIGINT) at one of their file operations or by the "
    "clock, the disk full from some operation on, a second command meanwhile, lines torn as by a power loss; in "
    "one story of ten also searches with Ray, whose drivers and engines are killed.",
    "After every command: lines of append-only files are still there, trials have numbers without gaps and end "
    "once; `trials.csv`, `best.yaml`, `metrics.json`, card, report and `query_ap.npz` are what the append-only "
    "files, and the same runs trained again by the story, give; weights in `final/`, in `checkpoints/` and of "
    "retrained trials are to the bit those of their configuration, seed and epochs (where lanes trained, within "
    "the order of sums); `scored.jsonl` has as many lines as the story has counted looks at the test split; every "
    "other study is untouched; exit codes and messages are as they should be; `avtune verify` finds no "
    "difference. A deterministic study is compared with one of the same final settings that nothing happened to.",
)

_KINDS = {
    "commands that hang, or end otherwise than they should": (
        "hangs",
        "exit code",
        "traceback",
        "message",
        "errors of",
    ),
    "studies that differ from the undisturbed one": ("not the undisturbed",),
    "looks at the test split not counted, or counted twice": ("scored.jsonl counts", "metrics.json counts"),
    "trials or lines lost": (" is lost", "changed or gone", "has gone", " was "),
    "trials or epochs there twice": ("twice", "begins again", "is trained after"),
}
_OTHER = "files that are wrong, half written or left over"


def _kind(problem: str) -> str:
    """What sort of problem it is: of the kinds above the first that fits."""
    return next((name for name, needles in _KINDS.items() if any(one in problem for one in needles)), _OTHER)


def sections(stories: list[Told]) -> list[str]:
    """The report's sections."""
    commands: Counter[str] = Counter()
    faults: Counter[str] = Counter()
    actions: Counter[str] = Counter()
    for story in stories:
        commands.update(story.commands)
        faults.update(story.faults)
        actions.update(story.actions)
    problems = [(story.seed, text) for story in stories for text in story.problems]
    facts = [
        ["stories", str(len(stories))],
        ["commands", str(sum(commands.values()))],
        ["faults", str(sum(faults.values()))],
        ["trials that ended", str(sum(story.trials for story in stories))],
        ["configurations scored on the test split", str(sum(story.looks for story in stories))],
        ["deterministic stories", str(sum(story.deterministic for story in stories))],
        *([name, str(sum(_kind(text) == name for _, text in problems))] for name in [*_KINDS, _OTHER]),
        ["stories with a problem", str(sum(bool(story.problems) for story in stories))],
    ]
    return [
        *(text.format(first=stories[0].seed, last=stories[-1].seed) for text in _INTRODUCTION),
        _report.table(["", "count"], facts),
        *(
            _report.table([name, "count"], _counts(one))
            for name, one in (("command", commands), ("fault", faults), ("step", actions))
        ),
        *(["Problems:\n\n" + "\n".join(f"- seed {seed}: {text}" for seed, text in problems)] if problems else []),
    ]


def _counts(counter: Counter[str]) -> list[list[str]]:
    return [[name, str(count)] for name, count in sorted(counter.items())]
