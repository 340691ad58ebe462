"""Searches whose results are in a bucket: moto's S3 server, and a server of the tests' own for gcsfs."""

import json
import signal

import pytest
from buckets import BUCKETS, Machines
from toy import write_toy

pytestmark = pytest.mark.slow

WORDS = ["toy.h5", "--space", "space.yaml", "--name", "one", "--results"]
HERE = ["--runner", "inline", "--gpus", "0", "--deterministic", "--precision", "fp32"]

ONE = ["--set", "final.finalists=1", "--set", "final.seeds=1"]


@pytest.fixture(params=BUCKETS)
def machines(request, tmp_path):
    """Machines with a bucket of each kind, and a folder with the toy dataset."""
    write_toy(tmp_path)
    with BUCKETS[request.param]() as bucket:
        yield Machines(tmp_path, bucket)


@pytest.mark.long
def test_a_search_that_is_killed_goes_on_on_another_machine_and_ends_as_on_one(machines):
    far = [*WORDS, machines.url, *HERE, "--set", "early_stopping.epochs=12", "--trials", "12"]
    process = machines.begin("first", "search", *far)
    machines.until_there_are_epochs(process)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    said = machines.run("looker", "status", "one", "--results", machines.url)
    assert f"--results {machines.url}" in said, "how to continue"
    assert "trials known)" in machines.run("second", "search", *far, dead=1.0)
    words = [str(word).replace(machines.url, "here") for word in far]
    machines.run("second", "search", *words)
    found = [
        json.loads((folder / "final" / "metrics.json").read_text())
        for folder in (machines.study("second"), machines.folder / "here" / "one")
    ]
    assert found[0]["test"] == found[1]["test"]
    assert "no difference" in machines.run("third", "verify", "one", "--results", machines.url)
    assert machines.run("third", "report", "one", "--results", machines.url).strip().endswith("report.html")
    machines.run("third", "retrain", "one", "--trial", "0", "--seeds", "1", *HERE[:4], "--results", machines.url)
    machines.run("fourth", "status", "one", "--results", machines.url)
    assert (machines.study("fourth") / "retrained_trial_0" / "metrics.json").is_file()
    assert len([name for name in machines.bucket.names() if "/states/" in name]) == 2


def test_of_two_searches_of_one_study_one_is_refused_and_a_terminated_one_has_sent_all(machines):
    far = [*WORDS, machines.url, *HERE, "--set", "early_stopping.epochs=500"]
    process = machines.begin("first", "search", *far)
    machines.until_there_are_epochs(process)
    said = machines.run("second", "search", *far, code=2)
    assert f"{machines.url}/one is being worked on by another avtune (process {process.pid} on" in said
    said = machines.run("looker", "status", "one", "--results", machines.url)
    assert f"running now: process {process.pid} on" in said
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=120)
    assert (process.returncode, err) == (143, "avtune: terminated; the same command continues\n"), out
    machines.run("looker", "status", "one", "--results", machines.url)
    for name in ("curves.jsonl", "journal.log", "study.yaml"):
        assert (machines.study("looker") / name).read_bytes() == (machines.study("first") / name).read_bytes()


@pytest.mark.long
def test_a_search_that_was_held_for_dead_ends_when_it_wakes_and_changes_nothing(machines):
    far = [*WORDS, machines.url, *HERE, "--set", "early_stopping.epochs=200", "--trials", "2", *ONE]
    process = machines.begin("first", "search", *far)
    machines.until_there_are_epochs(process)
    process.send_signal(signal.SIGSTOP)
    said = machines.run("second", "search", *far, dead=3.0)
    assert f"was worked on by process {process.pid} on" in said
    before = machines.bucket.names()
    process.send_signal(signal.SIGCONT)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 2, (out, err)
    said = f"avtune: {machines.url}/one has been taken over by another avtune, which had no sign of this one; what"
    assert said in err
    after = machines.bucket.names()
    assert set(before) <= set(after)
    assert all("/objects/" in name for name in set(after) - set(before)), "it may have been writing a part"
    assert "no difference" in machines.run("third", "verify", "one", "--results", machines.url)


def test_a_bucket_that_is_not_there_is_said(machines):
    url = f"{machines.bucket.scheme}://nobucket/r"
    said = machines.run("first", "search", *WORDS, url, *HERE, code=2)
    assert said.startswith(f"avtune: {url}/one/states/0000000001 cannot be written: ")
    assert "Traceback" not in said


@pytest.mark.long
def test_a_server_that_is_not_there_is_said(machines):
    said = machines.run("first", "status", "one", "--results", machines.url, code=2, **machines.bucket.nowhere)
    assert f"avtune: {machines.url}/one/states cannot be read: " in said
    assert "Traceback" not in said
