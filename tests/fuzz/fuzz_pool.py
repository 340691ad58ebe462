"""Processes that judge inputs, each with a limit of time and of memory: one that hangs or dies is a verdict too."""

import importlib
import multiprocessing
import os
import re
import resource
import shutil
import signal
import sys
import time
from collections import deque
from multiprocessing.connection import wait
from pathlib import Path

SECONDS = 45.0
"""An input takes a fraction of a second; a search on a busy machine some."""
_ADDRESSES = 3 << 30
_READY = "ready"
_PLACES = [str(Path(__file__).parent), str(Path(__file__).parents[1])]


def judged(seeds, root, jobs):
    """The verdicts on the inputs of these seeds, as they come. What a PROBLEM is about stays in `root/SEED`."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["torch", "h5py", "optuna", "avtune.workflows.search"])
    waiting, workers = deque(seeds), []
    _made_base(context, root)
    try:
        while waiting or workers:
            while waiting and len(workers) < jobs:
                workers.append(_Worker(context, root))
            for worker in workers:
                if worker.seed is None and waiting:
                    worker.give(waiting.popleft())
            wait([worker.ours for worker in workers], timeout=1)
            for worker in list(workers):
                verdict = worker.verdict()
                if verdict is not None:
                    yield verdict
                if worker.process.exitcode is not None or (worker.seed is None and not waiting):
                    worker.end()
                    workers.remove(worker)
    finally:
        for worker in workers:
            worker.end()


class _Worker:
    def __init__(self, context, root):
        self.root, self.seed, self.since, self.ready = root, None, time.monotonic(), False
        self.ours, theirs = context.Pipe()
        self.process = context.Process(target=_work, args=(theirs, root), daemon=True)
        self.process.start()
        theirs.close()

    def give(self, seed):
        self.seed = seed
        self.since = time.monotonic()
        self.ours.send(seed)

    def verdict(self):
        """The verdict on the input that it has, None if there is none yet."""
        if self.seed is None:
            return None
        if self.ours.poll():
            try:
                found = self.ours.recv()
            except (EOFError, OSError):
                self.process.join()
                return self._dead(f"its process died: {_how(self.process.exitcode)}")
            if found == _READY:
                self.ready, self.since = True, time.monotonic()
                return None
            self.seed = None
            if found["outcome"] != "PROBLEM":
                shutil.rmtree(self.root / str(found["seed"]), ignore_errors=True)
            return found
        if time.monotonic() - self.since > (SECONDS if self.ready else 10 * SECONDS):
            self.process.kill()
            self.process.join()
            return self._dead(f"it hung: {SECONDS:g} s")
        return None

    def _dead(self, why):
        seed, self.seed = self.seed, None
        path = self.root / str(seed) / "kind"
        kind, _, what = path.read_text().partition(": ") if path.exists() else ("?", "", "")
        return {"seed": seed, "kind": kind, "what": what, "outcome": "PROBLEM", "why": why}

    def end(self):
        self.process.kill()
        self.process.join()
        self.ours.close()


def _how(code):
    return signal.Signals(-code).name if code is not None and code < 0 else f"exit code {code}"


def _made_base(context, root):
    if not (root / "base" / "done").exists():
        process = context.Process(target=_make_base, args=(root,))
        process.start()
        process.join()
        assert process.exitcode == 0, "the inputs' base cannot be made"


def _make_base(root):
    sys.path[:0] = _PLACES
    os.environ["OMP_NUM_THREADS"] = "1"
    importlib.import_module("torch").set_num_threads(1)
    importlib.import_module("fuzz_base").make_base(root / "base")
    (root / "base" / "done").touch()


def _work(theirs, root):
    """What a worker does: takes seeds and gives verdicts as dicts."""
    sys.path[:0] = _PLACES
    importlib.import_module("torch").set_num_threads(1)
    importlib.import_module("avtune.data.layouts.hdf5_text").CPU_SECONDS = 2
    base = importlib.import_module("fuzz_base").Base(root / "base")
    judge = importlib.import_module("fuzz_judge")
    judge.quiet()
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + _ADDRESSES, hard))
    theirs.send(_READY)
    while True:
        try:
            seed = theirs.recv()
        except EOFError:
            return
        folder = root / str(seed)
        os.chdir(root)  # the last input's folder, where this process was, may be gone
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        theirs.send(vars(judge.judge(seed, base, folder)))


def is_linux():
    """Whether /proc tells what the limits need."""
    return re.match("linux", sys.platform) is not None
