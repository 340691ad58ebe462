"""Tells one story: a seeded sequence of commands on a study and its neighbours, and what must hold after each."""

from __future__ import annotations

import random
import shutil
import signal
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from story_checks import study_problems
from story_commands import Ended, Forked, Hang
from story_files import torn, tree
from story_known import Known
from story_looks import counted
from story_processes import DRIVER, Apart, Blow, left_running, new_mark
from story_remake import Remake
from story_traps import FULL, INT, KILL, TERM, WAIT, Trap
from story_world import World, drawn

_CODES = {KILL: {-9}, TERM: {143}, INT: {130}, FULL: {2}, WAIT: set[int]()}
RAY_EVERY = 10
"""One story in so many has commands with Ray."""
_MOST_LINES = 3
"""Of an error: one or two, and one more where a study was repaired."""


@dataclass
class Story:
    """One story, and what came of it.

    Attributes:
        seed: decides everything but kills by the clock, and what happens in processes with Ray.
        folder: holds the work's folder and notes.
        say: takes what is done, line by line, to be repeated by hand.
        problems: empty when all is well.
        commands: how many of each verb.
        faults: how many kills and the like that struck.
        actions: how many of each kind of step.
        mark: of the processes that its commands with Ray start; empty before the first of these.
        looks: configurations scored on the test split, by the story's own count.
    """

    seed: int
    folder: Path
    say: Callable[[str], None]
    problems: list[str] = field(default_factory=list)
    commands: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    actions: Counter[str] = field(default_factory=Counter)
    mark: str = ""
    looks: int = 0
    trials: int = 0
    seconds: float = 0.0

    def __post_init__(self) -> None:
        self.draw = random.Random(self.seed)
        self.world: World = drawn(self.draw, self.folder / "work", self.seed)
        self.maker = Remake(self.world.dataset)
        self.studies: list[Known] = []
        self.ray = self.seed % RAY_EVERY == 0

    # -- commands --------------------------------------------------------------------------------------------------

    def command(
        self, words: list[str], *, expect: int = 0, trap: Trap | None = None, kill_after: float | None = None
    ) -> Ended:
        """Runs a command to its end, and judges how it ended. `expect`: its exit code where nothing is done to it."""
        with Forked(words, self.world.folder, self.folder / "notes", trap) as forked:
            ended = forked.wait(kill_after)
        what, allowed = "", {expect}
        if ended.sprung and trap is not None:
            what = f"{trap}: {ended.sprung}"
            self.faults[trap.what] += 1
            allowed = _CODES[trap.what] | ({expect} if trap.what != KILL else set())
        elif ended.killed:
            what, allowed = "SIGKILL by the clock", {-9, expect}
            self.faults["SIGKILL by the clock"] += ended.code == -9
        self.judge(ended, allowed, what, full=trap is not None and trap.what == FULL and expect != 2)
        return ended

    def apart(self, words: list[str], study: Path, blow: Blow | None) -> Ended:
        """Runs a command with Ray in a process of its own, as `command` does."""
        self.mark = self.mark or new_mark()
        ended = Apart(words, self.world.folder, self.folder / "notes", self.mark, study).wait(blow)
        allowed = {0}
        if ended.sprung and blow is not None:
            self.faults[f"{signal.Signals(blow.number).name} to the {blow.target}, with Ray"] += 1
            if blow.target == DRIVER:
                allowed = {0, -9 if blow.number == signal.SIGKILL else 128 + blow.number}  # 0: it was about to end
        self.judge(ended, allowed, ended.sprung)
        if ended.code != -9 and (left := left_running(self.mark)):
            self.problem(f"processes are left running: {left}")
        return ended

    def judge(self, ended: Ended, allowed: set[int], what: str = "", *, full: bool = False) -> None:
        """Takes note of a command that has ended, and of what is wrong with how it did.

        Args:
            allowed: exit codes.
            what: was done to it.
            full: exit code 2 means that the disk was full.
        """
        self.commands[ended.words[0]] += 1
        self.say(f"  {ended.command}{what and f'   # {what}'}  -> {ended.code}, {ended.seconds:.1f} s")
        err = ended.err.strip().splitlines()
        if ended.code not in allowed:
            self.problem(f"exit code {ended.code}, not {allowed}; it said {ended.out[-300:]!r} {ended.err[-3000:]!r}")
        elif "Traceback" in ended.err + ended.out:
            self.problem(f"a traceback: {ended.err[-3000:]}")
        elif ended.code > 0 and not (0 < len(err) <= _MOST_LINES and err[0].startswith("avtune: ")):
            self.problem(f"no clear message: {ended.err[-1000:]!r}")
        elif ended.code == 0 and err:
            self.problem(f"errors of a command that ended well: {ended.err[-1000:]!r}")
        elif ended.code == 2 and full and "No space left" not in ended.err:
            self.problem(f"the disk was full, and the message is {ended.err!r}")

    def problem(self, text: str) -> None:
        self.problems.append(text)
        self.say(f"    PROBLEM {text}")

    # -- what must hold --------------------------------------------------------------------------------------------

    def check(self, known: Known, *, in_order: bool = True, count: bool = True) -> None:
        """Checks a study, and lets `avtune verify` do the same. `count`: whether looks have been counted yet."""
        for text in study_problems(known, self.maker, in_order=in_order):
            self.problem(f"{known.root.name}: {text}")
        if count and known.exists:
            for text in counted(known):
                self.problem(f"{known.root.name}: {text}")
        asked = known.finished or self.draw.random() < 0.3  # of one that is not finished there is little to verify
        if known.exists and asked and not self.problems and not torn(known.root):
            self.command(["verify", str(known.root.relative_to(self.world.folder)), known.data.name])

    def others(self, *but: Known) -> dict[Path, dict[str, str]]:
        """The files of the studies that the next command must not touch."""
        return {known.root: tree(known.root) for known in self.studies if known not in but}

    def untouched(self, before: dict[Path, dict[str, str]]) -> None:
        """Checks that files are as they were."""
        for root, files in before.items():
            now = tree(root)
            if now != files:
                changed = sorted(name for name in {*now, *files} if now.get(name) != files.get(name))
                self.problem(f"{root.name}: changed by a command that had nothing to do with them: {changed}")


def tell(seed: int, parent: Path, acts: Callable[[Story], Iterator[None]], say: Callable[[str], None]) -> Story:
    """Tells the story of a seed; its folder stays when there is a problem.

    Args:
        parent: where the folder is made.
        acts: does one step after the other.
        say: takes what is done, line by line.
    """
    folder = parent / f"story-{seed}"
    shutil.rmtree(folder, ignore_errors=True)
    began = time.monotonic()
    story = Story(seed, folder, say)
    story.world.write()
    say(f"story {seed}: {story.world}")
    try:
        for _ in acts(story):
            if story.problems:
                break
    except Hang as hang:
        story.problem(f"hangs: {hang}")
    except Exception:  # files that cannot be read, in most cases
        story.problem(f"the story breaks off: {traceback.format_exc()}")
    finally:
        if story.mark:
            left_running(story.mark, 0.0)
    story.looks = sum(len(known.looks) for known in story.studies)
    story.trials = sum(len(known.trials) for known in story.studies)
    story.seconds = time.monotonic() - began
    if not story.problems:
        shutil.rmtree(folder)
    return story
