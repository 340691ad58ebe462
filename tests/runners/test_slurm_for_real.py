"""A search as a job of a real SLURM of two machines, which are namespaces of this one."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from toy import write_toy

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.long]

_APART = ["unshare", "--net", "--pid", "--mount", "--uts", "--fork", "--kill-child", "--mount-proc"]
_NEEDED = ("sbatch", "slurmctld", "slurmd", "munged", "ip", "unshare", "nsenter")
_AVTUNE = f"{sys.executable} -m avtune"

# The job begins again at once. Two seconds must have passed, and nothing of its last run be left: slurmd takes a job
# that begins in the second in which its last run ended for that run, and refuses it.
_AGAIN = """
while pgrep -f '^slurmstepd: ' > /dev/null; do sleep 0.2; done
ended=$(date +%s)
until [ "$(date +%s)" -ge $((ended + 2)) ]; do sleep 0.2; done
scontrol update jobid=1 starttime=now
"""

# The job is warned as SLURM warns it before the end of its time, in the middle of its search; it goes on when it is
# queued again, which SLURM would delay by two minutes.
_WARNED = f"""
{_AVTUNE} search toy.h5 --space space.yaml --name far --slurm nodes=2,cpus=1,time=30m "$@"
log=results/slurm/far-1.log
until grep -qs '\\[1/5\\]' $log; do sleep 0.2; done
scancel --signal=TERM --batch 1
until grep -qs 'queued again' $log; do sleep 0.2; done
until [ "$(squeue --noheader --format=%T)" = PENDING ]; do sleep 0.2; done
ls -d $TMPDIR/avtune-1.* 2> /dev/null && echo 'its folders are still there'
{_AGAIN}"""

# In its second run the slurmd of a machine is killed, while the search waits. SLURM takes that machine for lost and
# queues the job again, which goes on when the machine is back.
_LOST = f"""
until grep -q 'trials known' $log; do sleep 0.2; done
$on_n1 pkill -STOP -f 'avtune [s]earch'
$on_n2 pkill -KILL -x slurmd
until [ "$(squeue --noheader --format=%T)" = PENDING ]; do sleep 0.2; done
$on_n2 slurmd -N n2
until [ "$(sinfo --noheader --states=idle --format=%D)" = 2 ]; do sleep 0.2; done
{_AGAIN}"""
# Two jobs share a machine: one waits in its search until the other has been cancelled.
_CANCELLED = f"""
{_AVTUNE} search toy.h5 --space space.yaml --name stays --slurm nodes=1,cpus=1,time=30m "$@"
until grep -qs '^node ' results/slurm/stays-1.log; do sleep 0.2; done
machine=$(squeue --noheader --format=%N)
on=on_$machine
${{!on}} pkill -STOP -f 'avtune [s]earch'
{_AVTUNE} search toy.h5 --space space.yaml --name gone --slurm nodes=2,cpus=1,time=30m "$@"
until grep -qs '\\[1/5\\]' results/slurm/gone-2.log; do sleep 0.2; done
scancel 2
until [ "$(squeue --noheader --format=%i)" = 1 ]; do sleep 0.2; done
${{!on}} pkill -CONT -f 'avtune [s]earch'
until squeue --noheader > left && [ ! -s left ]; do sleep 0.2; done
pgrep -af '[r]aylet|[g]cs_server|[-]-cluster' || true
"""


_ENDED = """
until squeue --noheader > left && [ ! -s left ]; do sleep 0.2; done
"""

# A job of a partition of higher priority takes both machines in the middle of the search, which goes on by itself when
# that job has ended.
_PREEMPTED = f"""
{_AVTUNE} search toy.h5 --space space.yaml --name far --slurm nodes=2,cpus=1,time=30m "$@"
log=results/slurm/far-1.log
until grep -qs '\\[1/5\\]' $log; do sleep 0.2; done
sbatch --partition=high --nodes=2 --exclusive --output=high.log --wrap 'until [ -e over ]; do sleep 0.2; done'
until [ "$(squeue --noheader --jobs=2 --format=%T)" = RUNNING ]; do sleep 0.2; done
echo "while the other runs: $(squeue --noheader --jobs=1 --format=%T)"
touch over
until [ -z "$(squeue --noheader --partition=high --format=%i)" ]; do sleep 0.2; done
{_AGAIN}{_ENDED}"""


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
        timeout=600,
    )
    assert ended.returncode == 0, ended
    return ended.stdout


_SHORT = ["--set", "final.finalists=1", "--set", "final.seeds=1"]
_SAME = ["--deterministic", "--precision", "fp32"]  # however many machines and interruptions
_LONG = ["--set", "early_stopping.epochs=60", "--set", "early_stopping.grace=60", *_SHORT, *_SAME]


@pytest.mark.parametrize(
    ("commands", "runs"),
    [
        pytest.param(_WARNED + _ENDED, 2, id="warned"),
        pytest.param(_WARNED + _LOST + _ENDED, 3, id="warned, and then a machine lost"),
    ],
)
def test_a_job_that_is_warned_or_loses_a_machine_ends_and_goes_on(commands: str, runs: int, folder: Path) -> None:
    said = on_slurm(folder, commands, *_LONG)
    log = (folder / "results" / "slurm" / "far-1.log").read_text()
    assert "submitted  job 1;" in said
    assert "its folders are still there" not in said
    assert log.count("\nnode       n") == 2 * runs, "both machines, each time"
    assert "avtune: terminated; the same command continues" in log
    assert log.count("trials known)") == runs - 1, "after the first time it continues"
    alone = ["search", "toy.h5", "--space", "space.yaml", "--name", "near", "--runner", "inline", "--gpus", "0", *_LONG]
    ended = subprocess.run([sys.executable, "-m", "avtune", *alone], cwd=folder, capture_output=True, text=True)
    assert ended.returncode == 0, ended
    found = [json.loads((folder / "results" / name / "final" / "metrics.json").read_text()) for name in ("far", "near")]
    keys = ("trial", "epochs", "test")
    assert {key: found[0][key] for key in keys} == {key: found[1][key] for key in keys}


def test_a_job_that_is_preempted_ends_in_order_and_goes_on(folder: Path) -> None:
    said = on_slurm(folder, _PREEMPTED, *_LONG)
    log = (folder / "results" / "slurm" / "far-1.log").read_text()
    assert "while the other runs: PENDING" in said
    assert log.count("avtune: terminated; the same command continues") == 1, log
    assert log.count("trials known)") == 1, log
    verified = subprocess.run(
        [sys.executable, "-m", "avtune", "verify", "far"], cwd=folder, capture_output=True, text=True
    )
    assert (verified.returncode, "no difference" in verified.stdout) == (0, True), verified


def test_a_job_that_is_cancelled_leaves_nothing_behind_but_the_other_on_its_machine(folder: Path) -> None:
    said = on_slurm(folder, _CANCELLED, *_LONG)
    assert said.splitlines()[-1].startswith("progress "), "no process of Ray's or avtune's is left"
    assert "queued again" not in (folder / "results" / "slurm" / "gone-2.log").read_text()
    assert (folder / "results" / "stays" / "final" / "metrics.json").is_file()


# The results folder is on a disk of each machine, as `/scratch` often is.
_NOT_SHARED = f"""
mkdir scratch
for on in "$on_n1" "$on_n2"; do $on mount -t tmpfs tmpfs $PWD/scratch; done
{_AVTUNE} search toy.h5 --space space.yaml --name far --results scratch/results --slurm nodes=2,cpus=1,time=30m "$@"
until squeue --noheader > left && [ ! -s left ]; do sleep 0.2; done
for on in "$on_n1" "$on_n2"; do $on find $PWD/scratch -mindepth 1; done
"""


def test_a_job_whose_results_folder_is_not_shared_says_so_and_makes_nothing(folder: Path) -> None:
    """SLURM ends a job without a word on a machine where the folder of its log is not."""
    (folder / "work").mkdir()
    said = on_slurm(folder, "cd work; cp ../toy.h5 ../space.yaml .\n" + _NOT_SHARED.replace("scratch", "../scratch"))
    assert said.splitlines()[-1].startswith("progress "), "nothing is on the machines' own disks"
    log = (folder / "work" / "slurm" / "far-1.log").read_text()
    assert f"does not see {folder}/scratch/results, the results folder of the machine that submitted this job" in log
