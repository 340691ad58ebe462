"""Folders that a user may not write to, for real: as another user where the tests run as root."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from toy import write_toy

from avtune.study.folder import StudyFolder

pytestmark = pytest.mark.slow
NOBODY = 65534


@pytest.fixture
def run(tmp_path_factory):
    """Runs avtune in a folder of its user's; returns (exit code, lines on standard error)."""
    user = NOBODY if os.geteuid() == 0 else os.geteuid()
    folder = tmp_path_factory.mktemp("user")
    for path in folder.parents:  # pytest's own are private to root
        if path.stat().st_uid == os.geteuid() and not path.stat().st_mode & 0o001 and os.geteuid() == 0:
            path.chmod(path.stat().st_mode | 0o011)
    os.chown(folder, user, -1)
    write_toy(folder)

    def run(*words):
        command = [sys.executable, "-m", "avtune.cli", *map(str, words)]
        more = os.environ | {"HOME": str(folder), "MPLCONFIGDIR": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
        ended = subprocess.run(
            command,
            cwd=folder,
            env=more,
            capture_output=True,
            text=True,
            timeout=120,
            **({"user": user} if user != os.geteuid() else {}),
        )
        return ended.returncode, ended.stderr.splitlines()

    try:
        readable = run("--version")[0] == 0
    except PermissionError:
        readable = False
    if not readable:
        pytest.skip("this installation is not for other users to read")
    run.folder, run.user = folder, user
    return run


def search(run, results):
    small = ["--trials", "2", "--set", "final.finalists=1", "--set", "final.seeds=1"]
    where = ["--name", "one", "--results", results]
    return run("search", "toy.h5", "--space", "space.yaml", *where, "--runner", "inline", "--gpus", "0", *small)


def tree(folder):
    return {path: path.read_bytes() if path.is_file() else b"" for path in Path(folder).rglob("*")}


def test_results_that_cannot_be_written_to(run):
    results = run.folder / "results"
    results.mkdir(mode=0o555)
    code, err = search(run, results)
    assert code == 2
    assert err == [f"avtune: {results / 'one'} cannot be made: Permission denied; choose another --results"]
    assert not tree(results)


def test_a_study_that_may_be_read_only(run):
    results = run.folder / "results"
    assert search(run, results) == (0, [])
    study = StudyFolder(results / "one")
    study.metrics.unlink()
    for path in [results, *results.rglob("*")]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    before = tree(results)
    code, err = search(run, results)
    assert code == 2
    assert err[0] == f"avtune: {study.lock} cannot be written: Permission denied"
    assert len(err) == 2
    assert run("status", "one", "--results", results) == (0, [])
    assert tree(results) == before
