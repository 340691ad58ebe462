"""Stories of one search each on several Ray nodes: what happens to the machines is drawn from a seed, and the same
command is given until the study has ended, which must then be the one of a single undisturbed machine."""

from __future__ import annotations

import contextlib
import random
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fault_search import Hang, Search, whole_lines
from fault_story import Story as Kills
from fault_story import Toy, _checked, _final
from node_machines import Machines

WHAT = Toy(trials=8, epochs=9, clips=240, lines=12)
SLOW, ADD, KILL, DRAIN, FULL = "slow node", "node added", "node killed", "node drained", "disk of a node full"
ENGINE, DRIVER, HEAD = "engine killed", "driver killed", "head killed and restarted"
EVENTS = {SLOW: 2, ADD: 2, KILL: 3, DRAIN: 2, FULL: 2, ENGINE: 2, DRIVER: 3, HEAD: 3}
"""How often each is drawn."""
_PROCESSES = 6  # one story in so many has the other runner
_PATIENCE = 900.0
"""Seconds in which a search ends, or comes to its next lines, on a busy machine."""
_ENDED = {DRIVER: {-9}, HEAD: {1}}
"""Exit codes of a search to which these have happened."""


@dataclass
class Told:
    """What came of a story.

    Attributes:
        seed: decides everything but what a moment meets.
        machines: at the beginning.
        shared: whether all see the results folder.
        runner: of the searches.
        events: those that happened, in order.
        commands: searches that it took.
        epochs: of all trials.
        problems: empty when nothing was lost, doubled, damaged or different.
    """

    seed: int
    machines: int
    shared: bool
    events: list[str] = field(default_factory=list)
    commands: int = 0
    epochs: int = 0
    seconds: float = 0.0
    runner: str = "lanes"
    problems: list[str] = field(default_factory=list)


def drawn(seed: int) -> tuple[Told, list[str]]:
    """A story, and what is to happen in it."""
    draw = random.Random(seed)
    told = Told(seed, draw.choices((2, 4, 8), (6, 3, 1))[0], draw.random() < 0.5)
    told.runner = "processes" if seed % _PROCESSES == 0 else "lanes"
    return told, draw.choices(list(EVENTS), list(EVENTS.values()), k=draw.randint(1, 3))


def tell(told: Told, planned: list[str], folder: Path, expected: dict[str, Any], say: Callable[[str], None]) -> Told:
    """Tells one story, in namespaces of this process's own (`node_machines.apart`).

    Args:
        folder: an empty one, for the study.
        expected: what `fault_story.undisturbed` found.
        say: takes a line for each step.
    """
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="r", ignore_cleanup_errors=True) as scratch:
        machines = Machines(Path(scratch), None if told.shared else folder)
        try:
            machines.network()
            machines.start(told.machines)
            _Telling(told, list(planned), folder, machines, say).run(expected)
        except Hang as hang:
            told.problems.append(f"hangs: {hang}")
        except Exception:
            told.problems.append(f"the story breaks off: {traceback.format_exc()}")
        finally:
            machines.kill_all()
    told.seconds = time.monotonic() - began
    return told


class _Telling:
    def __init__(
        self, told: Told, planned: list[str], folder: Path, machines: Machines, say: Callable[[str], None]
    ) -> None:
        self.told, self.planned, self.folder, self.machines = told, planned, folder, machines
        self.draw = random.Random(f"moments of {told.seed}")
        self.say = say
        self.study = folder / "results" / "one"

    def run(self, expected: dict[str, Any]) -> None:
        WHAT.prepare(self.folder)
        code: int | None = None
        while code != 0 and not self.told.problems:
            before = whole_lines(self.study / "curves.jsonl")
            words = [
                *WHAT.words(self.told.runner),
                "--runner",
                self.told.runner,
                "--deterministic",
                "--max-failures",
                "1000",
            ]
            with Search(self.folder, [*words, "--cluster", self.machines.address]) as search:
                self.told.commands += 1
                code = self._one(search)
            if not self.told.problems:
                self.told.problems += _checked(self.study, before)
        if not self.told.problems:
            self.told.problems += _final(
                self.study, Kills(self.told.seed, self.told.runner, True), expected, WHAT.trials
            )
        if not self.told.problems:
            self._verify()
        self.told.epochs = sum("epoch" in line for line in whole_lines(self.study / "curves.jsonl"))

    def _one(self, search: Search) -> int:
        """One search, with what happens to it; returns its exit code."""
        done: list[str] = []
        while self.planned and not set(done) & _ENDED.keys():
            if not search.until(self.draw.randint(1, WHAT.lines), self.draw.uniform(0.0, 0.5), _PATIENCE):
                break
            search.known = search.progress()
            event = self.planned.pop(0)
            if self._happens(event, search):
                done.append(event)
                self.told.events.append(event)
                self.say(f"  {event} after {search.known} lines")
        code = search.wait(_PATIENCE)
        self.say(f"  the search ends with {code}")
        allowed = next((_ENDED[event] for event in done if event in _ENDED), set()) | {0}
        if code not in allowed:
            self.told.problems.append(f"after {done}: exit code {code}, not {allowed}; it printed {search.printed}")
        err = search.printed[1]
        if "Traceback" in err or (code >= 0 and len(err.strip().splitlines()) > 2):
            self.told.problems.append(f"after {done}: it printed {err[-2000:]}")
        if HEAD in done:
            self.machines.kill_all()
            self.machines.start(self.told.machines)
        elif not self.machines.names:
            self.machines.add()
        return code

    def _happens(self, event: str, search: Search) -> bool:
        """Whether there was something that it could happen to."""
        machines, names = self.machines, self.machines.names
        name = self.draw.choice(names) if names else ""
        if event == DRIVER:
            search.process.send_signal(signal.SIGKILL)
        elif event == HEAD:
            machines.kill("head")
        elif event == ADD:
            machines.add()
        elif not name:
            return False
        elif event == KILL:
            machines.kill(name)
        elif event == DRAIN:
            machines.drain(name)
        elif event == FULL:
            machines.fill(name)
        elif event == SLOW:
            self._slow(name, search)
        else:
            return self._kill_engine(name, search)
        return True

    def _kill_engine(self, name: str, search: Search) -> bool:
        """An engine is killed once it has trained; those of the head stand still meanwhile, and leave it trials."""
        machines = self.machines
        held = machines.engines("head")
        machines.signal(held, signal.SIGSTOP)
        try:
            if not _until(lambda: bool(machines.engines(name)), search):
                return False
            known = search.progress()
            _until(lambda: search.progress() > known + 2, search)
            machines.signal(machines.engines(name)[:1], signal.SIGKILL)
        finally:
            machines.signal(held, signal.SIGCONT)
        return True

    def _slow(self, name: str, search: Search) -> None:
        """A machine stands still for a while, now and then long enough that Ray holds it for dead."""
        seconds = self.draw.choice((2.0, 8.0, 40.0))
        self.say(f"  {name} stands still for {seconds:g} s")
        self.machines.stop(name, signal.SIGSTOP)
        with contextlib.suppress(subprocess.TimeoutExpired):
            search.process.wait(seconds)
        self.machines.stop(name, signal.SIGCONT)

    def _verify(self) -> None:
        words = [sys.executable, "-m", "avtune", "verify", str(self.study), "toy.h5"]
        ended = subprocess.run(words, cwd=self.folder, capture_output=True, text=True)
        if ended.returncode or ended.stderr:
            self.told.problems.append(f"verify: {ended.returncode}, {ended.stdout[-1000:]} {ended.stderr[-1000:]}")


def _until(condition: Callable[[], bool], search: Search) -> bool:
    """Waits for something; False where the search ends first, or after two minutes."""
    deadline = time.monotonic() + 120.0
    while not condition():
        if search.process.poll() is not None or time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True
