"""A search on a cluster that runs already: two nodes on the loopback address, as the machines of a network would be."""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from toy import write_toy
from user_code import method_search

from avtune.cli.main import main
from avtune.core.errors import UserError
from avtune.runners._base import Cluster
from avtune.runners.placement import PlacementRequest, place

_CLUSTER = """
import sys

from ray.cluster_utils import Cluster

cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
other = cluster.add_node(num_cpus=1)
print(cluster.address, flush=True)
for line in sys.stdin:
    if line.strip() == "lose":
        cluster.remove_node(other, allow_graceful=False)
    elif line.strip() == "join":
        cluster.add_node(num_cpus=1)
    else:
        for node in (other, cluster.head_node):
            node.kill_all_processes(check_alive=False, allow_graceful=False)
        sys.exit()
cluster.shutdown()
"""
_TOKEN = "ab" * 32
_PATH = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])  # of `ray` and `avtune`


_NETWORK = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "1"}  # Ray's default on Linux


def environment(**more):
    """Without a token of the user's; on the loopback address, which is the network of this test."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    return kept | {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "RAY_USAGE_STATS_ENABLED": "0"} | more


@contextlib.contextmanager
def two_nodes(folder):
    """Yields the address, and a function that has a node `join`, or ends nodes as the death of their machines would:
    `lose` one, or `end` both."""

    def tell(word):
        process.stdin.write(f"{word}\n")
        process.stdin.flush()

    (folder / "ray").mkdir()  # where the head writes its address, before it makes the folder itself
    process = subprocess.Popen(
        [sys.executable, "-c", _CLUSTER],
        env=environment(RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=_TOKEN, RAY_TMPDIR=str(folder)),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        yield process.stdout.readline().strip(), tell
        process.communicate(timeout=60)
        assert process.returncode == 0
    finally:
        process.kill()
        process.communicate()


@pytest.fixture
def short():
    """A folder with a short name: Ray makes sockets in it, whose paths have 107 characters at most."""
    with tempfile.TemporaryDirectory(prefix="r") as folder:
        yield Path(folder)


def avtune(*words, cwd, **more):
    command = [sys.executable, "-m", "avtune", *map(str, words)]
    return subprocess.run(command, cwd=cwd, env=environment(**more), capture_output=True, text=True, timeout=240)


_HOLD = """
        import time
        from pathlib import Path
        while "default_worker" in sys.argv[0] and not Path(GO).exists():
            time.sleep(0.01)
"""


@contextlib.contextmanager
def busy_search(tmp_path, address, monkeypatch):
    """Yields a search whose two engines, one on each node, train until they are told to go on, and what tells them."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(Path(__file__).parents[2] / "examples" / "own_method.py", tmp_path)
    go = tmp_path / "go"
    words = method_search(_HOLD.replace("GO", repr(str(go))), runner="lanes")
    words[words.index("--gpus") :][:2] = []
    words += ["--max-failures", "1", "--lanes", "2", "--set", "search.trials=5", "--verbose", "--cluster", address]
    search = subprocess.Popen(
        [sys.executable, "-m", "avtune", *words],
        env=environment(RAY_AUTH_TOKEN=_TOKEN),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        said = until(search, r"(engine \d), with room .* takes \[\d", 2)
        assert len(said) == 2, said
        yield search, go
    finally:
        search.kill()
        search.communicate()


def until(search, pattern, count=1):
    """Reads what a search logs until there are so many different matches, which are returned."""
    found = set()
    for line in search.stderr:
        found |= set(re.findall(pattern, line))
        if len(found) == count:
            break
    return found


@pytest.mark.ray
@pytest.mark.slow
def test_searches_train_on_all_nodes_and_leave_the_cluster_running(tmp_path, short, monkeypatch):
    """On one cluster, as its start takes longest."""
    with two_nodes(short) as (address, tell):
        on_all_nodes(tmp_path, address)
        loses_a_machine(tmp_path, address, tell, monkeypatch)


def on_all_nodes(tmp_path, address):
    data, space = write_toy(tmp_path)
    words = ["search", data, "--space", space, "--name", "far", "--deterministic", "--precision", "fp32"]
    words += ["--set", "final.finalists=1", "--set", "final.seeds=1", "--set", "final.reference=none"]
    there = [*words, "--cluster", address]
    ended = avtune(*there, cwd=tmp_path, RAY_AUTH_TOKEN=_TOKEN)
    assert (ended.returncode, ended.stderr) == (0, ""), ended
    assert f"runner lanes: 2 at a time on the CPU of the cluster at {address}" in ended.stdout
    assert ended.stdout.count("\nnode       ") == 2, "what was found on each of its nodes"
    assert sorted(path.name for path in (tmp_path / "results").iterdir()) == ["far"], "nothing else is left there"
    wrong = avtune(*there, "--name", "wrong", cwd=tmp_path, RAY_AUTH_TOKEN="cd" * 32)
    assert wrong.returncode == 2
    assert f"--cluster is '{address}': no Ray cluster answers there" in wrong.stderr
    assert "it refuses this token" in wrong.stderr
    assert "Traceback" not in wrong.stderr
    here = avtune(*words, "--name", "here", "--runner", "inline", "--gpus", "0", cwd=tmp_path)
    assert here.returncode == 0
    scores = [
        json.loads((tmp_path / "results" / name / "final" / "metrics.json").read_text())["test"]
        for name in ("far", "here")
    ]
    assert scores[0] == scores[1]


def loses_a_machine(tmp_path, address, tell, monkeypatch):
    """Which is no failure of its trials: with one attempt a trial, its engine's death would fail it. One that joins is
    used."""
    with busy_search(tmp_path, address, monkeypatch) as (search, go):
        tell("join")
        assert until(search, r"engine 2, with room .* takes \[\d")
        said = avtune("status", "--cluster", address, "--json", cwd=tmp_path, RAY_AUTH_TOKEN=_TOKEN)
        (job,) = json.loads(said.stdout)
        assert (job["verb"], job["folder"], job["pid"]) == ("search", str(tmp_path / "results" / "one"), search.pid)
        tell("lose")
        assert until(search, "has died with its machine")
        go.touch()
        said = search.communicate(timeout=240)[1]
    assert search.returncode == 0, said
    assert "FAIL" not in (tmp_path / "results" / "one" / "trials.csv").read_text()
    assert "has joined the cluster" in (tmp_path / "results" / "one" / "log.txt").read_text()


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.long
def test_a_search_whose_whole_cluster_is_ended_with_it_ends_in_order(tmp_path, short, monkeypatch):
    """As `scancel` does: avtune waited for a Ray that was gone until it was killed."""
    with two_nodes(short) as (address, tell), busy_search(tmp_path, address, monkeypatch) as (search, _):
        tell("end")
        search.send_signal(signal.SIGTERM)
        said = search.communicate(timeout=60)[1]
    assert search.returncode == 128 + signal.SIGTERM, said
    assert said.splitlines()[-1] == "avtune: terminated; the same command continues"
    assert sorted(path.name for path in (tmp_path / "results").iterdir()) == ["one"], "its scratch folder is gone"


_APART = [*["unshare", "--user", "--map-root-user", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"]]


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.long
def test_the_script_makes_a_cluster_of_two_machines(tmp_path, short):
    """Two network namespaces are the machines, each with an address of its own, on a network without anything else."""
    if not all(map(shutil.which, ("unshare", "nsenter", "ip"))) or subprocess.run([*_APART, "true"]).returncode:
        pytest.skip("needs unshare, nsenter and ip, and the right to make network namespaces")
    data, space = write_toy(tmp_path)
    settings = ["--set", "final.finalists=1", "--set", "final.seeds=1", "--set", "final.reference=none"]
    words = [data, "--space", space, "--results", tmp_path / "results", "--name", "far", *settings]
    script = Path(__file__).with_name("two_machines.sh")
    ended = subprocess.run(
        [*_APART, "bash", script, *words],
        cwd=tmp_path,
        env=environment(HOME=str(tmp_path), RAY_TMPDIR=str(short), PATH=_PATH) | _NETWORK,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert ended.returncode == 0, ended
    # In a process of its own: a test module that imports Ray takes the token from later tests in this process.
    count = "from ray._private.utils import get_num_cpus; print(int(get_num_cpus()))"
    cores = int(subprocess.run([sys.executable, "-c", count], capture_output=True, text=True, check=True).stdout)
    places = min(2 * cores, 5)  # those of both machines; there are five trials
    assert f"runner lanes: {places} at a time on the CPU of the cluster at 10.77.0.1:6379" in ended.stdout
    assert (tmp_path / "results" / "far" / "final" / "metrics.json").exists()
    assert (tmp_path / ".ray" / "auth_token").stat().st_mode & 0o777 == 0o600


def test_a_cluster_needs_a_token(tmp_path, monkeypatch, capsys):
    for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    data, space = write_toy(tmp_path)
    assert main(["search", str(data), "--space", str(space), "--cluster", "10.0.0.1:6379"]) == 2
    assert capsys.readouterr().err.startswith("avtune: --cluster needs the cluster's token: set RAY_AUTH_TOKEN")
    assert main(["search", str(data), "--space", str(space), "--cluster", "10.0.0.1:6379", "--runner", "inline"]) == 2
    assert "inline trains in this process" in capsys.readouterr().err


def test_its_placement_covers_all_its_machines(tmp_path):
    cluster = Cluster("head:6379", cpus=48, gpus=6, shared=tmp_path)
    placement = place(PlacementRequest(cluster=cluster), "lanes", 1000)
    assert (placement.count, placement.gpus, placement.threads, placement.cluster) == (6, 6, 8, cluster)
    assert placement.text.endswith("on 6 GPUs of the cluster at head:6379: 6 engines of 41 lanes")
    assert place(PlacementRequest(gpus=0, cluster=cluster), "lanes", 1000).count == 48
    with pytest.raises(UserError, match="the cluster at head:6379 has 6 GPUs, so 0 to 6 are allowed"):
        place(PlacementRequest(gpus=7, cluster=cluster), "lanes", 1000)
