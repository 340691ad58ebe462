"""A search as a job of a real SLURM of two machines, which are namespaces of this one."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from toy import write_toy

pytestmark = [pytest.mark.ray, pytest.mark.slow]

_APART = ["unshare", "--net", "--pid", "--mount", "--uts", "--fork", "--kill-child", "--mount-proc"]
_NEEDED = ("sbatch", "slurmctld", "slurmd", "munged", "ip", "unshare", "nsenter")
_AVTUNE = f"{sys.executable} -m avtune"

# The job is warned as SLURM warns it before the end of its time, in the middle of its search; it goes on when it is
# queued again, which SLURM would delay by two minutes. Two seconds at least it must: slurmd takes a job that begins in
# the second in which its first run ended for that run, and refuses it.
_WARNED = f"""
{_AVTUNE} search toy.h5 --space space.yaml --name far --slurm nodes=2,cpus=1,time=30m "$@"
log=results/slurm/far-1.log
until grep -qs '\\[1/5\\]' $log; do sleep 0.2; done
scancel --signal=TERM --batch 1
until grep -qs 'queued again' $log; do sleep 0.2; done
until [ "$(squeue --noheader --format=%T)" = PENDING ]; do sleep 0.2; done
ls -d $TMPDIR/avtune-1.* 2> /dev/null && echo 'its folders are still there'
ended=$(date +%s)
until [ "$(date +%s)" -ge $((ended + 2)) ]; do sleep 0.2; done
scontrol update jobid=1 starttime=now
until squeue --noheader > left && [ ! -s left ]; do sleep 0.2; done
"""

_CANCELLED = f"""
{_AVTUNE} search toy.h5 --space space.yaml --name gone --slurm nodes=2,cpus=1,time=30m "$@"
log=results/slurm/gone-1.log
until grep -qs '\\[1/5\\]' $log; do sleep 0.2; done
scancel 1
until squeue --noheader > left && [ ! -s left ]; do sleep 0.2; done
pgrep -af '[r]aylet|[g]cs_server|[-]-cluster' || true
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder with a short name, for sockets."""
    with tempfile.TemporaryDirectory(prefix="s") as name:
        yield Path(name)


def on_slurm(folder: Path, commands: str, *words: str) -> str:
    """What commands print on the login node of a SLURM that ends with them."""
    if missing := [name for name in _NEEDED if shutil.which(name) is None]:
        pytest.skip(f"needs {', '.join(missing)} (slurm-wlm, iproute2)")
    if subprocess.run([*_APART, "true"], capture_output=True).returncode:
        pytest.skip("needs the right to make namespaces")
    write_toy(folder)
    script = Path(__file__).with_name("two_slurm_nodes.sh")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "SLURM_"))}
    ended = subprocess.run(
        [*_APART, "bash", str(script), str(folder / "slurm"), "bash", "-c", commands, "job", *words],
        cwd=folder,
        env=kept | {"TMPDIR": str(folder)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=400,
    )
    assert ended.returncode == 0, ended
    return ended.stdout


_SHORT = ["--set", "final.finalists=1", "--set", "final.seeds=1"]
_LONG = ["--set", "early_stopping.epochs=60", "--set", "early_stopping.grace=60", *_SHORT]


def test_a_job_that_is_warned_ends_in_order_and_goes_on(folder: Path) -> None:
    said = on_slurm(folder, _WARNED, *_LONG)
    log = (folder / "results" / "slurm" / "far-1.log").read_text()
    assert "submitted  job 1;" in said
    assert "its folders are still there" not in said
    assert log.count("\nnode       n") == 4, "both machines, twice"
    assert "avtune: terminated; the same command continues" in log
    assert "trials known)" in log, "the second time it continues"
    assert (folder / "results" / "far" / "final" / "metrics.json").is_file()


@pytest.mark.long
def test_a_job_that_is_cancelled_leaves_nothing_behind(folder: Path) -> None:
    said = on_slurm(folder, _CANCELLED, *_LONG)
    assert said.splitlines()[-1].startswith("progress "), "no process of Ray's or avtune's is left"
    assert "queued again" not in (folder / "results" / "slurm" / "gone-1.log").read_text()
