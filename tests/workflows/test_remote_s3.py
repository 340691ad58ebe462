"""Searches whose results are in a bucket of moto's S3 server on the loopback address."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request

import pytest
from toy import write_toy

pytestmark = pytest.mark.slow

URL = "s3://bucket/results"
WORDS = ["toy.h5", "--space", "space.yaml", "--name", "one", "--results", URL]
HERE = ["--runner", "inline", "--gpus", "0", "--deterministic", "--precision", "fp32"]

ONE = ["--set", "final.finalists=1", "--set", "final.seeds=1"]

# What is sent every half a minute is sent many times a second.
_OFTEN = """
import sys
from avtune.workflows import remote_results
remote_results._SIGN = remote_results._SEND = 0.05
remote_results._DEAD = float(sys.argv.pop(1))
from avtune.cli.main import main
sys.exit(main())
"""


@pytest.fixture
def machines(tmp_path):
    """Runs avtune on machines, each with copies of its own, which have a bucket and a folder with the toy dataset."""
    moto = pytest.importorskip("moto.server", reason="moto[s3] is not installed: there is no S3 on this machine")
    pytest.importorskip("s3fs", reason="s3fs is not installed: avtune[remote]")
    import boto3

    write_toy(tmp_path)
    server = moto.ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    # What another server of this process was given is in it.
    urllib.request.urlopen(f"http://{host}:{port}/moto-api/reset", data=b"").close()
    at = {"endpoint_url": f"http://{host}:{port}", "region_name": "us-east-1"}
    keys = {"aws_access_key_id": "key", "aws_secret_access_key": "secret"}
    try:
        client = boto3.client("s3", **at, **keys)
        client.create_bucket(Bucket="bucket")
        yield Machines(tmp_path, at["endpoint_url"], client)
        client.close()
    finally:
        server.stop()


class Machines:
    def __init__(self, folder, endpoint, client):
        self.folder, self.client = folder, client
        self.kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        self.kept |= {"AWS_ENDPOINT_URL": endpoint, "AWS_DEFAULT_REGION": "us-east-1"}
        self.kept |= {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "OMP_NUM_THREADS": "1"}

    def begin(self, machine, *words, dead=60.0, **more):
        return subprocess.Popen(
            [sys.executable, "-c", _OFTEN, str(dead), *map(str, words)],
            cwd=self.folder,
            env=self.kept | {"XDG_CACHE_HOME": str(self.folder / machine)} | more,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, machine, *words, code=0, **more):
        process = self.begin(machine, *words, **more)
        out, err = process.communicate(timeout=240)
        assert process.returncode == code, (out, err)
        return out if code == 0 else err

    def names(self):
        """Of the objects of the study."""
        found = self.client.list_objects_v2(Bucket="bucket", Prefix="results/one/").get("Contents", [])
        return [one["Key"] for one in found]

    def study(self, machine):
        (path,) = (self.folder / machine).glob("avtune/results/results-*/one")
        return path


def until_there_are_epochs(machines, process):
    """Waits until the copy of another machine, brought from the bucket, has trained epochs."""
    deadline = time.monotonic() + 120
    while process.poll() is None and time.monotonic() < deadline:
        machines.run("looker", "status", "--results", URL)
        curves = list((machines.folder / "looker").glob("avtune/results/results-*/one/curves.jsonl"))
        if curves and curves[0].read_text().count('"epoch"') > 3:
            return
    raise AssertionError(process.communicate())


@pytest.mark.long
def test_a_search_that_is_killed_goes_on_on_another_machine_and_ends_as_on_one(machines):
    far = [*WORDS, *HERE, "--set", "early_stopping.epochs=12", "--trials", "12"]
    process = machines.begin("first", "search", *far)
    until_there_are_epochs(machines, process)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    said = machines.run("looker", "status", "one", "--results", URL)
    assert f"--results {URL}" in said, "how to continue"
    assert "trials known)" in machines.run("second", "search", *far, dead=1.0)
    words = [str(word).replace(URL, "here") for word in far]
    machines.run("second", "search", *words)
    found = [
        json.loads((folder / "final" / "metrics.json").read_text())
        for folder in (machines.study("second"), machines.folder / "here" / "one")
    ]
    assert found[0]["test"] == found[1]["test"]
    assert "no difference" in machines.run("third", "verify", "one", "--results", URL)
    assert machines.run("third", "report", "one", "--results", URL).strip().endswith("report.html")
    machines.run("third", "retrain", "one", "--trial", "0", "--seeds", "1", *HERE[:4], "--results", URL)
    machines.run("fourth", "status", "one", "--results", URL)
    assert (machines.study("fourth") / "retrained_trial_0" / "metrics.json").is_file()
    assert len([name for name in machines.names() if "/states/" in name]) == 2


def test_of_two_searches_of_one_study_one_is_refused_and_a_terminated_one_has_sent_all(machines):
    far = [*WORDS, *HERE, "--set", "early_stopping.epochs=500"]
    process = machines.begin("first", "search", *far)
    until_there_are_epochs(machines, process)
    said = machines.run("second", "search", *far, code=2)
    assert f"{URL}/one is being worked on by another avtune (process {process.pid} on" in said
    assert f"running now: process {process.pid} on" in machines.run("looker", "status", "one", "--results", URL)
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=120)
    assert (process.returncode, err) == (143, "avtune: terminated; the same command continues\n"), out
    machines.run("looker", "status", "one", "--results", URL)
    for name in ("curves.jsonl", "journal.log", "study.yaml"):
        assert (machines.study("looker") / name).read_bytes() == (machines.study("first") / name).read_bytes()


@pytest.mark.long
def test_a_search_that_was_held_for_dead_ends_when_it_wakes_and_changes_nothing(machines):
    far = [*WORDS, *HERE, "--set", "early_stopping.epochs=200", "--trials", "2", *ONE]
    process = machines.begin("first", "search", *far)
    until_there_are_epochs(machines, process)
    process.send_signal(signal.SIGSTOP)
    said = machines.run("second", "search", *far, dead=3.0)
    assert f"was worked on by process {process.pid} on" in said
    before = machines.names()
    process.send_signal(signal.SIGCONT)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 2, (out, err)
    assert f"avtune: {URL}/one has been taken over by another avtune, which had no sign of this one; what" in err
    assert machines.names() == before
    assert "no difference" in machines.run("third", "verify", "one", "--results", URL)


def test_a_bucket_that_is_not_there_is_said(machines):
    said = machines.run("first", "search", *WORDS[:-1], "s3://nobucket/r", *HERE, code=2)
    assert said.startswith("avtune: s3://nobucket/r/one/states/0000000001 cannot be written: ")
    nowhere = {"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}
    said = machines.run("first", "status", "one", "--results", URL, code=2, **nowhere)
    assert "s3://bucket/results/one/states cannot be read: " in said
    assert "Traceback" not in said
