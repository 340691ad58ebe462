"""Machines of a Ray cluster on this one: each is a network namespace with an address, and Ray's node in it.

The head and the driver are on the first, which is the namespace of this process: run it in namespaces of its own, see
`apart`. A node's processes are known by a mark in their environment.
"""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import signal
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

from fault_search import Hang, marked

HEAD, PORT = "10.78.0.1", 6379
SCRATCH = 256
"""MiB of the disk on which a machine but the first has Ray's files and its temporary ones."""
_MARK = "AVTUNE_MACHINE"
_STARTS = 180.0
"""Seconds in which a node is there, on a busy machine."""
_STARTED = "Ray runtime started"
_TRIES = 3
_NODE = """
ip link set lo up
mount --make-rprivate /
mount -t tmpfs -o size={size}m tmpfs {scratch}
mkdir {scratch}/tmp
{hide}
echo up
read -r _
exec ray start --address {head}:{port} --node-ip-address {address} --num-cpus 1 --block
"""


def apart(words: list[str]) -> list[str]:
    """The command in namespaces of its own, where nothing else can be reached, and nothing is left of it afterwards."""
    spaces = ["--user", "--map-root-user", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
    return ["unshare", *spaces, *words]


def missing() -> str:
    """What this machine lacks for such machines; empty for nothing."""
    lacking = [name for name in ("unshare", "ip", "mount") if not shutil.which(name)]
    if lacking:
        return f"there is no {lacking[0]}"
    return "" if subprocess.run(apart(["true"]), capture_output=True).returncode == 0 else "namespaces are not allowed"


@dataclass
class Machines:
    """
    Attributes:
        scratch: a folder with a short path, for Ray's files.
        hidden: folder that the machines but the first do not see; None where they see all of them.
    """

    scratch: Path
    hidden: Path | None = None
    _blocks: dict[str, subprocess.Popen[str]] = field(default_factory=dict)
    _made: int = 1

    @property
    def names(self) -> list[str]:
        """Those that are there, without the first."""
        return [name for name in self._blocks if name != "head"]

    @property
    def address(self) -> str:
        return f"{HEAD}:{PORT}"

    def network(self) -> None:
        """The network that all are on."""
        for words in (
            "link set lo up",
            "link add lan type bridge",
            f"addr add {HEAD}/24 dev lan",
            "link set lan up",
        ):
            subprocess.run(["ip", *words.split()], check=True)

    def start(self, count: int) -> None:
        """Starts the head, and so many machines in all."""
        words = (
            f"ray start --head --port {PORT} --node-ip-address {HEAD} --num-cpus 1 --include-dashboard false --block"
        )
        (self.scratch / "tmp").mkdir()
        self._blocks["head"] = self._popen("head", words.split())
        _until_said(_STARTED, "head", self._blocks["head"])
        for _ in range(count - 1):
            self.add()

    def add(self) -> str:
        """A machine joins."""
        for again in range(_TRIES):
            name = self._add()
            try:
                _until_said(_STARTED, name, self._blocks[name])
            except Hang:  # `ray start` gives up after half a minute, which a busy machine may take
                self.kill(name)
                if again + 1 == _TRIES:
                    raise
            else:
                break
        return name

    def kill(self, name: str) -> None:
        """Switches a machine off (of the first: its Ray)."""
        while pids := marked(f"{_MARK}={name}", b""):
            _signal(pids, signal.SIGKILL)
            time.sleep(0.05)
        block = self._blocks.pop(name)
        block.kill()
        block.wait()
        for pipe in (block.stdin, block.stdout):
            if pipe is not None:
                pipe.close()

    def kill_all(self) -> None:
        for name in list(self._blocks):
            self.kill(name)
        shutil.rmtree(self.scratch)
        self.scratch.mkdir()

    def drain(self, name: str) -> None:
        """A machine announces its end, and ends."""
        _signal(marked(f"{_MARK}={name}", b"--block\0"), signal.SIGTERM)

    def stop(self, name: str, number: int) -> None:
        """All processes of a machine stand still, or go on (SIGSTOP, SIGCONT)."""
        _signal(marked(f"{_MARK}={name}", b""), number)

    def fill(self, name: str) -> None:
        """The disk of a machine is full."""
        pid = marked(f"{_MARK}={name}", b"raylet")[0]
        place = Path(f"/proc/{pid}/root{self.scratch}/full")
        with contextlib.suppress(OSError), place.open("ab", buffering=0) as file:
            while True:
                file.write(bytes(1 << 16))

    def engines(self, name: str) -> list[int]:
        """The processes of engines on a machine."""
        return marked(f"{_MARK}={name}", b"ImplicitFunc")

    def signal(self, pids: list[int], number: int) -> None:
        """Sends a signal to processes of machines."""
        _signal(pids, number)

    def _add(self) -> str:
        self._made += 1
        name, address = f"machine{self._made}", f"10.78.0.{self._made}"
        hide = f"mount -t tmpfs tmpfs {self.hidden}" if self.hidden else ""
        script = _NODE.format(size=SCRATCH, scratch=self.scratch, hide=hide, head=HEAD, port=PORT, address=address)
        block = self._popen(name, ["unshare", "--net", "--mount", "bash", "-ec", script])
        assert block.stdin is not None
        _until_said("up\n", name, block)
        host, at = f"to{self._made}", str(block.pid)
        for words in (
            ["ip", "link", "add", host, "type", "veth", "peer", "name", "eth", "netns", at],
            ["ip", "link", "set", host, "master", "lan", "up"],
            ["nsenter", "--target", at, "--net", "ip", "addr", "add", f"{address}/24", "dev", "eth"],
            ["nsenter", "--target", at, "--net", "ip", "link", "set", "eth", "up"],
        ):
            subprocess.run(words, check=True)
        block.stdin.write("go\n")
        block.stdin.close()
        self._blocks[name] = block
        return name

    def _popen(self, name: str, words: list[str]) -> subprocess.Popen[str]:
        return subprocess.Popen(
            words,
            env=os.environ | {_MARK: name, "RAY_TMPDIR": str(self.scratch), "TMPDIR": str(self.scratch / "tmp")},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )


def _until_said(text: str, name: str, block: subprocess.Popen[str]) -> None:
    """Waits until a node's process has printed a text."""
    assert block.stdout is not None
    said, deadline = "", time.monotonic() + _STARTS
    while text not in said:
        if not select.select([block.stdout], [], [], max(0.0, deadline - time.monotonic()))[0]:
            break
        new = os.read(block.stdout.fileno(), 1 << 16).decode(errors="replace")
        if not new:
            break
        said += new
    else:
        return
    raise Hang(f"{name} does not start: {said[-1000:]}")


def _signal(pids: list[int], number: int) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
