"""What `--slurm` asks for, and the script that it becomes."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from avtune.cli.main import main
from avtune.core.errors import UserError
from avtune.workflows.slurm import job_script, log_folder, parsed, queued, submit


@pytest.mark.parametrize(
    ("text", "directive"),
    [
        ("nodes=2,gpus=8", "--gpus-per-node=4"),
        ("nodes=2,gpus=8", "--cpus-per-task=10"),
        ("nodes=2,gpus=8,cpus=32", "--cpus-per-task=32"),
        ("nodes=3", "--exclusive"),
        ("cpus=4", "--nodes=1"),
        ("time=4h", "--time=240"),
        ("time=1d12h", "--time=2160"),
        ("time=90m", "--time=90"),
        ("time=1-12:00:00", "--time=1-12:00:00"),
        ("mem=64G,partition=long,account=lab", "--mem=64G"),
        ("mem=64G,partition=long,account=lab", "--partition=long"),
        ("constraint=a100&nvlink", "--constraint=a100&nvlink"),
        ("grace=300", "--signal=B:TERM@300"),
        ("partition=long,short,time=5m", "--partition=long,short"),
        ("partition=long,short,time=5m", "--time=5"),
        ("time=0:02:50,grace=40", "--time=0:02:50"),
        ("time=1-0", "--time=1-0"),
    ],
)
def test_what_sbatch_is_told(text: str, directive: str) -> None:
    assert directive in parsed(text).directives()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("node=2", "did you mean 'nodes'?"),
        ("nodes", "allowed: KEY=VALUE"),
        ("nodes=0", "nodes=0; allowed: a whole number from 1"),
        ("gpus=-1", "allowed: a whole number from 1"),
        ("nodes=2,gpus=3", "give a multiple of 2"),
        ("nodes=2,time=4h,nodes=4", "nodes=2 and nodes=4; give it once"),
        ("partition=long,partition=short", "give it once; several are given as partition=A,B"),
        ("partition=long,nodes", "allowed: KEY=VALUE"),
        ("time=2m", "allowed: time=5m or more"),
        ("time=4", "allowed: time=5m or more"),
        ("time=3:59", "allowed: time=5m or more"),
        ("time=0:04:00", "allowed: time=5m or more"),
        ("time=0-0:04", "allowed: time=5m or more"),
        ("time=0-0", "allowed: time=5m or more"),
        ("time=1h,grace=3600", "allowed: time=63m or more, or a smaller grace"),
        ("time=4hours", "time=4hours; allowed: 4h"),
        ("time=", "allowed: 4h"),
        ("partition=a b", "without spaces"),
        ("partition=a\n#SBATCH --uid=0", "without spaces"),
    ],
)
def test_what_is_not_allowed(text: str, said: str) -> None:
    with pytest.raises(UserError, match="--slurm") as error:
        parsed(text)
    assert said in str(error.value)


def test_the_script_is_one_that_bash_reads_and_keeps_words_apart(tmp_path: Path) -> None:
    words = ["search", "my data.h5", "--set", "a=$(touch hacked)", "--name", "it's"]
    text = job_script(parsed("nodes=2"), words, "study", tmp_path / "a b-%j.log")
    assert subprocess.run(["bash", "-n"], input=text, text=True, check=False, capture_output=True).returncode == 0
    assert (
        """-m avtune search 'my data.h5' --set 'a=$(touch hacked)' --name 'it'"'"'s' --cluster "$ip:$port" &""" in text
    )
    assert f'#SBATCH --output="{tmp_path}/a b-%j.log"' in text


def run_here(text: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Runs the part of a script that comes before Ray."""
    before = text.partition("# A token for this job only")[0]
    return subprocess.run(["bash"], input=before, text=True, check=False, capture_output=True, cwd=folder)


def test_a_job_on_a_machine_that_does_not_see_the_results_folder_says_so(tmp_path: Path) -> None:
    file = tmp_path / "my results" / "slurm" / "one.sh"
    text = job_script(parsed("nodes=1"), ["search", "demo"], "one", tmp_path / "one-%j.log", file)
    ended = run_here(text, tmp_path)
    assert ended.returncode == 1
    assert f"does not see {tmp_path}/my results, the results folder of the machine that submitted" in ended.stderr
    assert "give --results a folder that every machine sees, or a bucket: s3://" in ended.stderr
    file.parent.mkdir(parents=True)
    file.touch()
    assert (run_here(text, tmp_path).returncode, run_here(text, tmp_path).stderr) == (0, "")
    assert run_here(job_script(parsed("nodes=1"), [], "one", tmp_path / "l"), tmp_path).returncode == 0


def test_a_job_whose_time_is_over_again_and_again_and_trains_nothing_gives_up(tmp_path: Path) -> None:
    file, study = tmp_path / "slurm" / "one.sh", tmp_path / "one"
    file.parent.mkdir()
    file.touch()
    study.mkdir()
    text = job_script(parsed("nodes=1,grace=100"), ["search", "demo"], "one", tmp_path / "l", file)
    before = text.partition("# A token for this job only")[0]

    def run_ends(warned: int, then: str = "") -> tuple[bool, str]:
        ended = subprocess.run(
            ["bash"],
            input=f"SLURM_JOB_ID=7\n{before}\nends=10000 warned={warned}\n{then}\ngoes_on",
            text=True,
            check=False,
            capture_output=True,
            cwd=tmp_path,
        )
        return ended.returncode == 0, ended.stderr

    assert [run_ends(9000)[0] for _ in range(5)] == [True] * 5, "it was preempted"
    assert [run_ends(9850)[0] for _ in range(2)] == [True] * 2
    assert run_ends(9850, f"echo epoch > '{study}/curves.jsonl'") == (True, ""), "it trained"
    assert [run_ends(9850)[0] for _ in range(2)] == [True] * 2
    goes_on, said = run_ends(9850)
    assert not goes_on
    assert "over three times before an epoch was trained: it is not queued again" in said


def test_another_job_of_the_study_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "slurm" / "one.sh"
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    squeue = tmp_path / "squeue"
    squeue.write_text(f"#!/bin/sh\necho '  12 {file}'\necho '13 /other/slurm/one.sh'\n")
    squeue.chmod(0o700)
    assert queued(file) == ["12"]
    squeue.write_text("#!/bin/sh\necho 'no controller' >&2\nexit 1\n")
    assert queued(file) == []
    monkeypatch.setenv("PATH", "/nowhere")
    assert queued(file) == []


def test_the_log_is_in_the_results_folder_or_in_the_current_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert log_folder(tmp_path / "results") == tmp_path / "results" / "slurm"
    assert log_folder(Path("/scratch/results")) == tmp_path / "slurm"


def test_dry_run_prints_the_script_and_submits_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["search", "demo", "--slurm", "nodes=2", "--dry-run", "--results", str(tmp_path / "results")]
    monkeypatch.setattr("sys.argv", ["avtune", *words])
    assert main(words) == 0
    said = capsys.readouterr().out
    assert said.startswith("#!/bin/bash\n#SBATCH --job-name=avtune-demo\n")
    assert "avtune search demo --results" in said
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--dry-run"], "--dry-run goes with --slurm"),
        (["--slurm", "nodes=2", "--cluster", "auto"], "leave --cluster out"),
        (["--slurm", "nodes=2", "--runner", "inline"], "--slurm goes with the runners lanes and processes"),
        (["--slurm", "nodes=2,gpus=2", "--gpus", "4"], "--gpus is 4, and --slurm asks for gpus=2"),
        (["--slurm", "nodes=2", "--set", "nothing=1"], "nothing"),
    ],
)
def test_mistakes_are_found_before_the_queue(
    words: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["search", "demo", *words, "--results", str(tmp_path / "results")]) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "results").exists()


def test_a_machine_without_slurm_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match="there is no sbatch on this machine"):
        submit("", tmp_path / "job.sh")


def test_what_sbatch_says_is_passed_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sbatch = tmp_path / "sbatch"
    sbatch.write_text("#!/bin/sh\necho 'sbatch: error: invalid partition specified: long' >&2\nexit 1\n")
    sbatch.chmod(0o700)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with pytest.raises(UserError, match="sbatch refuses the job: invalid partition specified: long"):
        submit("#!/bin/bash\n", tmp_path / "slurm" / "job.sh")
    sbatch.write_text("#!/bin/sh\necho '12;cluster'\n")
    assert submit("#!/bin/bash\n", tmp_path / "slurm" / "job.sh") == "12"
