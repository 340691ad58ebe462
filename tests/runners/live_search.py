"""A search as users start it, in a process of its own, watched from outside through /proc."""

import contextlib
import ipaddress
import json
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from start_up import plant
from toy import write_toy

from avtune.core.seeds import mix

FAILS, HELD = 1, 2
_TRIALS = 5
_PATIENCE = 120.0

# Planted into the processes that train: trial 1 fails, and trials from 2 on wait after the epoch that the file `gate`
# names, so that a test interrupts what it means to interrupt on a machine of any speed.
_GATED = """
import pathlib, time

GATE = pathlib.Path(__file__).with_name("gate")
SEEDS = {seeds}

def planted(train):
    def run(trial, data, report, **more):
        if trial.seed not in SEEDS:  # a finalist or a retraining
            return train(trial, data, report, **more)
        number = SEEDS.index(trial.seed)
        if number == {fails}:
            raise RuntimeError("planted failure\\nWARNING: its second line")

        def waiting(epoch, metrics):
            goes_on = report(epoch, metrics)
            while number >= {held} and epoch >= int(GATE.read_text()):
                time.sleep(0.02)
            return goes_on

        return train(trial, data, waiting, **more)
    return run

module.train = planted(module.train)
"""


@dataclass(frozen=True)
class Seen:
    """A process as /proc shows it."""

    pid: int
    parent: int
    command: str
    environment: dict[str, str]


def processes(mark):
    """The processes that have `mark` in their command line or their environment."""
    found = []
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            command, environment = (Path("/proc", name, file).read_bytes() for file in ("cmdline", "environ"))
            if mark.encode() not in command and mark.encode() not in environment:
                continue
            parent = int(Path("/proc", name, "stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue  # it has gone, or is not ours
        pairs = (item.partition("=") for item in environment.decode(errors="replace").split("\0"))
        words = command.decode(errors="replace").replace("\0", " ")
        found.append(Seen(int(name), parent, words, {key: value for key, _, value in pairs}))
    return found


def scratch(seen):
    """The private folder in which processes of one run are told to keep Ray's session. A path with its name is not
    enough: avtune and Ray may lie in a folder called so themselves."""
    found = {match[1] for one in seen for match in re.finditer(r"--log_dir=(\S+)/ray/session_", one.command)}
    assert len(found) == 1, found
    return Path(found.pop())


def listeners(pids):
    """The listening TCP sockets of processes: (process id, address) pairs."""
    addresses = {}
    for table in ("tcp", "tcp6"):
        for line in Path("/proc/net", table).read_text().splitlines()[1:]:
            _, local, _, state, *_, inode = line.split()[:10]
            if state == "0A":
                words = bytes.fromhex(local.partition(":")[0])
                packed = b"".join(words[at : at + 4][::-1] for at in range(0, len(words), 4))
                address = ipaddress.ip_address(packed)
                addresses[f"socket:[{inode}]"] = getattr(address, "ipv4_mapped", None) or address
    found = set()
    for pid in pids:
        try:
            links = [os.readlink(f"/proc/{pid}/fd/{name}") for name in os.listdir(f"/proc/{pid}/fd")]
        except OSError:
            continue  # it has gone
        found |= {(pid, addresses[link]) for link in links if link in addresses}
    return found


@dataclass
class Live:
    """A search that is running; use it as a context manager, which leaves nothing running.

    Attributes:
        folder: holds the data, the study, what the search printed, and its home folder. Another search in the same
            folder continues the study.
        gate: the epoch after which trials from `HELD` on wait.
        runner: with another one than `processes` nothing is planted: every trial runs to its end.
        watched: look for listeners all the while, which takes a tenth of a core and more.
        listening: every listener seen so far, see `listeners`.
    """

    folder: Path
    gate: int
    runner: str = "processes"
    watched: bool = False
    listening: set = field(default_factory=set)

    def __enter__(self):
        if not (self.folder / "toy.h5").exists():
            write_toy(self.folder)
            for name in ("home", "start_up"):
                (self.folder / name).mkdir()
            seeds = [mix(1, "trial", number) for number in range(_TRIALS)]
            code = _GATED.format(seeds=seeds, fails=FAILS, held=HELD)
            plant(self.folder / "start_up", "avtune.runners.work", code)
        (self.folder / "start_up" / "gate").write_text(str(self.gate))
        self.study = self.folder / "results" / "one"
        words = ["search", "toy.h5", "--space", "space.yaml", "--name", "one", "--results", "results"]
        words += [
            "--runner",
            self.runner,
            "--gpus",
            "0",
            "--set",
            "early_stopping.grace=5",
            "--set",
            "final.finalists=1",
            "--set",
            "final.seeds=1",
        ]
        path = os.pathsep.join([str(self.folder / "start_up"), *filter(None, [os.environ.get("PYTHONPATH")])])
        with (self.folder / "out").open("w") as out, (self.folder / "err").open("w") as err:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "avtune", *words],
                cwd=self.folder,
                env=os.environ | {"HOME": str(self.folder / "home"), "PYTHONPATH": path},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
                # A shell that starts tests in the background has them ignore Ctrl-C, and children inherit that.
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
            )
        return self

    def __exit__(self, *exception):
        self.process.kill()
        self.process.wait()
        for one in self.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(one.pid, signal.SIGKILL)

    def processes(self):
        return processes(f"HOME={self.folder / 'home'}\0")

    @property
    def printed(self):
        """What it has written to standard output and to standard error."""
        return (self.folder / "out").read_text(), (self.folder / "err").read_text()

    def lines(self):
        """The records of `curves.jsonl`."""
        path = self.study / "curves.jsonl"
        whole = path.read_text().rpartition("\n")[0] if path.exists() else ""
        return [json.loads(line) for line in whole.splitlines()]

    def until_held(self):
        """Waits until trial 0 has ended, trial 1 has failed, and the others are at the gate."""
        wanted = [
            {"trial": 0, "state": "COMPLETE"},
            {"trial": FAILS, "state": "FAIL"},
            {"trial": HELD, "epoch": self.gate},
        ]
        self._until(lambda: all(any(want.items() <= line.items() for line in self.lines()) for want in wanted))

    def until_ended(self, patience=_PATIENCE):
        """Waits for its end; returns the exit code."""
        self._until(lambda: False, patience)
        return self.process.returncode

    def until_nothing_is_left(self, patience):
        """Waits until every process of the run has gone."""
        deadline = time.monotonic() + patience
        while left := self.processes():
            assert time.monotonic() < deadline, left
            time.sleep(0.2)

    def _until(self, condition, patience=_PATIENCE):
        deadline = time.monotonic() + patience
        while not condition():
            if self.process.poll() is not None:
                return
            assert time.monotonic() < deadline, (self.printed, self.lines())
            if self.watched:
                self.listening |= listeners([one.pid for one in self.processes()])
            time.sleep(0.2)
