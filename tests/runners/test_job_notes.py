"""What a run leaves with its job on a cluster, and what others make of it. There is no Ray."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from avtune.cli.main import main
from avtune.core.errors import UserError
from avtune.runners._base import Cluster, Placement
from avtune.runners.ray import another_process, jobs
from avtune.runners.ray.job_notes import job_of, note


def test_what_a_run_notes_is_what_is_read() -> None:
    job = job_of(note("search", "/shared/results/far", "2 at a time on the CPU"), 77, 1e9)
    assert job is not None
    assert (job.verb, job.folder, job.where) == ("search", "/shared/results/far", "2 at a time on the CPU")
    assert (job.pid, job.begun) == (77, 1e9)
    assert job.user
    assert job.host


@pytest.mark.parametrize("text", [None, "no JSON", "[]", "{}", '{"verb": 1}'])
def test_jobs_of_others_are_passed_over(text: str | None) -> None:
    assert job_of({} if text is None else {"avtune": text}, 77, 1e9) is None


def test_a_placement_names_its_command_where_it_has_a_cluster(tmp_path: Path) -> None:
    there = Placement(2, 0, 1, cluster=Cluster("head:6379", 2, 0, tmp_path)).named("search", tmp_path / "one")
    assert there.cluster is not None
    assert (there.cluster.verb, there.cluster.folder) == ("search", str(tmp_path / "one"))
    here = Placement(2, 0, 1)
    assert here.named("search", tmp_path) is here


@pytest.fixture
def answer(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the process that asks the cluster prints, which is not started."""
    said: list[str] = []
    monkeypatch.setenv("RAY_AUTH_TOKEN", "ab" * 32)
    monkeypatch.setattr(jobs, "cluster_address", lambda given: given)
    monkeypatch.setattr(
        another_process.subprocess, "run", lambda command, **more: subprocess.CompletedProcess(command, 0, said[0], "")
    )
    return said


def test_status_lists_what_runs_on_a_cluster(answer: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    one = {"verb": "search", "folder": "/r/far\x1b[2J", "user": "ann", "host": "n1", "pid": 77, "where": "8 at a time"}
    answer.append("Ray says this\navtune's answer: " + json.dumps([{**one, "begun": 0.0}]))
    assert main(["status", "--cluster", "head:6379"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "search     /r/far\\x1b[2J", "another user's words do not steer the terminal"
    assert lines[1].endswith("by ann, process 77 on n1")
    assert lines[2].strip() == "8 at a time"
    assert main(["status", "--cluster", "head:6379", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["pid"] == 77


def test_status_says_when_nothing_runs_there(answer: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    answer.append("avtune's answer: []")
    assert main(["status", "--cluster", "head:6379"]) == 0
    assert capsys.readouterr().out == "nothing of avtune's runs on the cluster at head:6379\n"
    assert main(["status", "demo", "--cluster", "head:6379"]) == 2
    assert "leave STUDY and --watch out" in capsys.readouterr().err


def test_a_cluster_that_refuses_says_why(answer: list[str]) -> None:
    answer.append("InvalidAuthToken: the token")
    with pytest.raises(UserError, match="it refuses this token"):
        jobs.jobs_on("head:6379")
