"""Folders that a user may not write to, for real."""

import ctypes
import os
import subprocess
import sys
from pathlib import Path

import pytest
from command import call
from toy import write_toy

from avtune.study.folder import StudyFolder

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="takes a privilege away as Linux does"),
]
_DROP, _DAC_OVERRIDE, _DAC_READ_SEARCH = 24, 1, 2


def as_anybody():
    """Where the tests run as root: without root's privilege to write everywhere."""
    if os.geteuid() == 0:
        libc = ctypes.CDLL(None)
        for privilege in (_DAC_OVERRIDE, _DAC_READ_SEARCH):
            assert libc.prctl(_DROP, privilege, 0, 0, 0) == 0


@pytest.fixture
def run(tmp_path):
    """Runs avtune in a folder with the toy data; returns (exit code, lines on standard error)."""
    write_toy(tmp_path)

    def run(*words):
        command = [sys.executable, "-m", "avtune", *map(str, words)]
        ended = subprocess.run(
            command, cwd=tmp_path, capture_output=True, text=True, timeout=120, preexec_fn=as_anybody
        )
        return ended.returncode, ended.stderr.splitlines()

    run.folder = tmp_path
    return run


def search(run, results):
    small = ["--trials", "2", "--set", "final.finalists=1", "--set", "final.seeds=1", "--set", "final.reference=none"]
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


def test_a_finished_study_of_a_bench_that_may_be_read_only(run, capsys):
    """The bench goes on and shows it, though it cannot mend anything there."""
    where = ["--results", run.folder / "results", "--name", "b", "--runner", "inline", "--gpus", "0"]
    words = [
        "bench",
        run.folder / "toy.h5",
        "--methods",
        "cca",
        "--no-reference",
        "--trials",
        "1",
        "--seeds",
        "1",
        *where,
    ]
    call(capsys, *words)
    study = StudyFolder(run.folder / "results" / "b" / "cca")
    study.report_html.write_text("of before")
    for path in [study.root, *study.root.rglob("*")]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    before = tree(study.root)
    assert run(*words) == (0, [])
    assert tree(study.root) == before
