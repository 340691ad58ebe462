"""What more nodes cost: trials of next to no work on the same engines, on one, two, four and eight nodes of Ray.

    python -m benchmarks.nodes

The nodes are Ray's own, each with a raylet and an object store, on the loopback address of one machine: what is
measured is what avtune and Ray do for more nodes, not a network. Eight engines of 8 lanes are on one node of eight
CPUs, on two of four, on four of two, or on eight of one; on each of these a search runs as with `--cluster`, with
random configurations, in a process of its own, in turn.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from avtune.study.folder import StudyFolder
from avtune.study.study import Study
from benchmarks import _measure, _report, _tiny
from benchmarks.driver import Ends, rate

ENGINES, LANES = 8, 8
NODES = (1, 2, 4, 8)
_TOKEN = "ab" * 32
_CLUSTER = """
import sys
from ray.cluster_utils import Cluster
count, cpus = map(int, sys.argv[1:])
cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": cpus, "include_dashboard": False})
for _ in range(count - 1):
    cluster.add_node(num_cpus=cpus)
print(cluster.address, flush=True)
sys.stdin.read()
cluster.shutdown()
"""


def main() -> None:
    parser = _report.arguments("nodes", __doc__)
    parser.add_argument("--trials", type=int, default=600)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--address", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.address:
        print(json.dumps(_search(given.address, given.trials)))
        return
    counts = NODES
    if given.quick:
        given.trials, given.rounds, counts = 20, 1, (2,)
    found: dict[int, list[dict[str, float]]] = {count: [] for count in counts}
    for _ in range(given.rounds):
        for count in counts:
            with _nodes(count) as address:
                found[count].append(_child(address, given.trials))
            print(f"{count} nodes: {found[count][-1]}", flush=True)
    print(_report.write("nodes", "More nodes", [_section(found, given.trials)], ["ray", "optuna", "torch"], given.out))


def _section(found: dict[int, list[dict[str, float]]], trials: int) -> str:
    first = next(iter(found.values()))
    rows = [
        [
            str(count),
            *(_measure.spread([run[key] for run in runs]) for key in ("start", "rate")),
            _measure.spread([run["rate"] / other["rate"] for run, other in zip(runs, first, strict=True)]),
        ]
        for count, runs in found.items()
    ]
    return (
        f"{ENGINES} engines of {LANES} lanes, {trials} trials of one epoch of tiny encoders on 24 clips. Start: from "
        "the call of the runner, which attaches to the cluster, to the end of the first trial. Trials per second: "
        "those after the first one. Medians (least..most) over the rounds.\n\n"
        + _report.table(["nodes", "start, s", "trials per second", "times one node"], rows)
    )


@contextlib.contextmanager
def _nodes(count: int) -> Iterator[str]:
    """Yields the address of a cluster with so many nodes."""
    with tempfile.TemporaryDirectory(prefix="r") as folder:  # Ray makes sockets there: a short name
        Path(folder, "ray").mkdir()
        process = subprocess.Popen(
            [sys.executable, "-c", _CLUSTER, str(count), str(ENGINES // count)],
            env=_environment() | {"RAY_TMPDIR": folder},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert process.stdout is not None
        try:
            address = process.stdout.readline().strip()
            if not address:
                raise SystemExit(f"Ray has not started {count} nodes")
            yield address
            process.communicate(timeout=60)
        finally:
            process.kill()
            process.wait()


def _environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    ours = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "token"}
    return kept | ours | {"RAY_AUTH_TOKEN": _TOKEN}


def _child(address: str, trials: int) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.nodes", "--address", address, "--trials", str(trials)]
    done = subprocess.run(command, env=_environment(), capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"the search failed:\n{done.stderr[-2000:]}")
    found: dict[str, float] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def _search(address: str, trials: int) -> dict[str, float]:
    """One search: the seconds to the end of its first trial, and its rate after that."""
    from avtune.runners import lanes as lanes_runner
    from avtune.runners._base import Placement
    from avtune.runners.ray.cluster import find_cluster

    with tempfile.TemporaryDirectory() as scratch:
        space = _tiny.space(Path(scratch), search__trials=trials, search__sampler="random")
        folder = StudyFolder(Path(scratch) / "study")
        folder.create({"format": 1, "space": space.as_dict()}, {})
        ends = Ends()
        study = Study(folder, space, listeners=[ends])
        cluster = find_cluster(address, Path(scratch) / "shared", gpus=False)
        assert cluster.cpus == ENGINES, cluster
        began = time.perf_counter()
        placement = Placement(count=ENGINES, gpus=0, threads=1, lanes=LANES, cluster=cluster)
        with lanes_runner.opened(placement, 1 << 20) as run:
            run(study, _tiny.folds())
        study.close()
    assert len(ends.times) == trials
    return {"start": round(ends.times[0] - began, 2), "rate": round(rate(ends.times), 1)}


if __name__ == "__main__":
    main()
