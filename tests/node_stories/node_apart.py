"""A story in namespaces of its own, told by a process of its own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from node_machines import apart
from node_story import Told, tell

ROOT = Path(__file__).parents[2]
_TOKEN = "ab" * 32
_RAY = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": _TOKEN, "RAY_USAGE_STATS_ENABLED": "0"}
_RAY |= {"RAY_worker_niceness": "0"}  # by default Ray's workers get a thirtieth of a core that anybody else uses


def told_apart(told: Told, planned: list[str], parent: Path, expected: dict[str, Any]) -> Told:
    """Tells a story in namespaces of its own, or says again what was told of it in `parent`; its folder, below that,
    stays when there is a problem."""
    folder = parent / f"story-{told.seed}"
    told_file = parent / f"{told.seed}.json"
    if told_file.is_file():
        print(f"seed {told.seed}: told before", flush=True)
        return Told(**json.loads(told_file.read_text()))
    shutil.rmtree(folder, ignore_errors=True)  # of one that was ended
    folder.mkdir()
    facts = json.dumps({"told": asdict(told), "planned": planned, "expected": expected, "out": str(told_file)})
    kept = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])  # of `ray`
    modules = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    print(
        f"seed {told.seed}: {told.machines} machines, {'shared' if told.shared else 'no shared'} folder, {told.runner}",
        flush=True,
    )
    words = [sys.executable, "-m", "tests.node_stories", "--inside", facts, str(folder)]
    done = subprocess.run(
        apart(words), env=kept | _RAY | {"PATH": path, "PYTHONPATH": modules, "HOME": str(parent)}, cwd=ROOT
    )
    if told_file.is_file():
        told = Told(**json.loads(told_file.read_text()))
    else:
        told.problems.append(f"the story broke off: {done.returncode}")
    print(f"  {told.seconds:.0f} s" + "".join(f"\n  PROBLEM {text}" for text in told.problems), flush=True)
    if not told.problems:
        shutil.rmtree(folder)
    return told


def inside(facts: dict[str, Any], folder: Path) -> int:
    """In that process."""
    told = tell(
        Told(**facts["told"]), facts["planned"], folder, facts["expected"], lambda text: print(text, flush=True)
    )
    out = Path(facts["out"])
    out.with_suffix(".new").write_text(json.dumps(asdict(told)))
    out.with_suffix(".new").rename(out)
    return 0
