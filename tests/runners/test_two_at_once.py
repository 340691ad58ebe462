"""Two users on one machine, and two searches on one cluster, at the same time: neither sees the other."""

import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from live_search import processes
from test_ray_cluster import _TOKEN, environment, two_nodes
from toy import write_toy

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.long]

_EPOCHS = ["--set", "early_stopping.epochs=60", "--set", "early_stopping.grace=60", "--trials", "6"]
_FINALS = ["--set", "final.finalists=1", "--set", "final.seeds=1"]
_WORDS = ["search", "toy.h5", "--space", "space.yaml", "--name", "one", "--deterministic", "--precision", "fp32"]
_USERS = (54321, 54322)


@pytest.fixture
def short():
    """A folder with a short name, which all users may enter, as they may /tmp."""
    with tempfile.TemporaryDirectory(prefix="r", ignore_cleanup_errors=True) as folder:
        os.chmod(folder, 0o755)
        yield Path(folder)


class Search:
    """One of two searches, in a folder of its own."""

    def __init__(self, folder, *words, user=None, **more):
        self.folder = folder
        folder.mkdir()
        write_toy(folder)
        before = []
        if user is not None:
            for path in (folder, *folder.iterdir()):
                os.chown(path, user, user)
            before = as_user(user)
        self.process = subprocess.Popen(
            [*before, sys.executable, "-m", "avtune", *_WORDS, *_EPOCHS, *_FINALS, *words],
            cwd=folder,
            env=environment(HOME=str(folder), AVTUNE_SEARCH=folder.name, OMP_NUM_THREADS="1", **more),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    @property
    def epochs(self):
        curves = self.folder / "results" / "one" / "curves.jsonl"
        return curves.read_text().count('"epoch"') if curves.exists() else 0

    def ends(self, code=0):
        out, err = self.process.communicate(timeout=300)
        assert self.process.returncode == code, (out, err)
        assert "Traceback" not in err
        return out

    def scores(self):
        return json.loads((self.folder / "results" / "one" / "final" / "metrics.json").read_text())["test"]

    def kill(self):
        self.process.kill()
        self.process.communicate()


def as_user(user):
    """The words that run a command as a user without rights, but that of reading the Python of the tests."""
    right = ["--inh-caps", "+dac_read_search", "--ambient-caps", "+dac_read_search"]
    return ["setpriv", "--reuid", str(user), "--regid", str(user), "--clear-groups", *right]


def until_all_train(searches):
    """Waits until all have trained epochs and none has ended."""
    deadline = time.monotonic() + 240
    while not all(one.epochs for one in searches):
        ended = [one.process.communicate() for one in searches if one.process.poll() is not None]
        assert not ended, ended
        assert time.monotonic() < deadline, [one.epochs for one in searches]
        time.sleep(0.05)
    assert [one.process.poll() for one in searches] == [None, None], "both at the same time"


def test_two_users_search_on_one_machine_at_the_same_time(short):
    """With one folder for temporary files, in which names would clash that are not of one run alone."""
    if os.geteuid() or not shutil.which("setpriv"):
        pytest.skip("needs root and setpriv, to be two users")
    if subprocess.run([*as_user(_USERS[0]), sys.executable, "-c", ""], capture_output=True).returncode:
        pytest.skip("another user cannot run this Python here")
    temporary = short / "tmp"
    temporary.mkdir()
    temporary.chmod(0o1777)
    words = ["--gpus", "0", "--cpus", "1"]
    searches = []
    try:
        for user in _USERS:
            folder = short / f"user{user}"
            searches.append(Search(folder, *words, user=user, TMPDIR=str(temporary)))
        until_all_train(searches)
        for user, one in zip(_USERS, searches, strict=True):
            owners = {os.stat(f"/proc/{seen.pid}").st_uid for seen in processes(f"AVTUNE_SEARCH={one.folder.name}")}
            assert owners == {user}, "no process of the one is of the other"
        folders = {path.stat().st_uid: stat.S_IMODE(path.stat().st_mode) for path in temporary.glob("avtune-*")}
        assert folders == dict.fromkeys(_USERS, 0o700), "one for each, which the other cannot enter"
        searches[0].process.send_signal(signal.SIGTERM)
        searches[0].ends(128 + signal.SIGTERM)
        searches[1].ends()
        assert [path for path in temporary.iterdir() if path.name.startswith("avtune-")] == [], "nothing is left"
        for user, one in zip(_USERS, searches, strict=True):
            files = list((one.folder / "results").rglob("*"))
            assert {path.stat().st_uid for path in files} == {user}
    finally:
        for one in searches:
            one.kill()


def test_two_searches_on_one_cluster_at_the_same_time(short):
    """Of one name, each on a CPU of the cluster; one is terminated, and the other ends as it would have alone."""
    searches = []
    with two_nodes(short) as (address, _):
        try:
            for name in ("first", "second"):
                words = ["--cluster", address, "--cpus", "1"]
                searches.append(Search(short / name, *words, RAY_AUTH_TOKEN=_TOKEN))
            until_all_train(searches)
            asked = [sys.executable, "-m", "avtune", "status", "--cluster", address, "--json"]
            for one in searches:  # which would end while the cluster is asked
                one.process.send_signal(signal.SIGSTOP)
            said = subprocess.run(
                asked, cwd=short, env=environment(RAY_AUTH_TOKEN=_TOKEN), capture_output=True, text=True
            )
            jobs = {(job["folder"], job["pid"]) for job in json.loads(said.stdout)}
            assert jobs == {(str(one.folder / "results" / "one"), one.process.pid) for one in searches}
            searches[0].process.send_signal(signal.SIGTERM)
            for one in searches:
                one.process.send_signal(signal.SIGCONT)
            searches[0].ends(128 + signal.SIGTERM)
            searches[1].ends()
        finally:
            for one in searches:
                one.kill()
    alone = Search(short / "alone", "--runner", "inline", "--gpus", "0")
    alone.ends()
    assert searches[1].scores() == alone.scores()
