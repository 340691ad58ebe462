"""Buckets on the loopback address, and avtune on machines that have one, each with copies of its own."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import gs_server
import pytest

# What is sent every half a minute is sent many times a second.
_OFTEN = """
import sys
from avtune.workflows import remote_results
remote_results._SIGN = remote_results._SEND = 0.05
remote_results._DEAD = float(sys.argv.pop(1))
from avtune.cli.main import main
sys.exit(main())
"""


@dataclass(frozen=True)
class Bucket:
    """A bucket named `bucket`.

    Attributes:
        scheme: of its URL.
        environment: what reaches it.
        nowhere: what leads to no server.
        names: those of its objects.
    """

    scheme: str
    environment: dict[str, str]
    nowhere: dict[str, str]
    names: Callable[[], list[str]]


@contextlib.contextmanager
def s3() -> Iterator[Bucket]:
    """One of moto's S3 server."""
    moto = pytest.importorskip("moto.server", reason="moto[s3] is not installed: there is no S3 on this machine")
    pytest.importorskip("s3fs", reason="s3fs is not installed: avtune[remote]")
    import boto3

    server = moto.ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    # What another server of this process was given is in it.
    urllib.request.urlopen(f"http://{host}:{port}/moto-api/reset", data=b"").close()
    at = {"endpoint_url": f"http://{host}:{port}", "region_name": "us-east-1"}
    keys = {"aws_access_key_id": "key", "aws_secret_access_key": "secret"}
    environment = {f"AWS_{name.removeprefix('aws_').upper()}": value for name, value in keys.items()}
    environment |= {"AWS_ENDPOINT_URL": at["endpoint_url"], "AWS_DEFAULT_REGION": at["region_name"]}
    try:
        client = boto3.client("s3", **at, **keys)
        client.create_bucket(Bucket="bucket")

        def names() -> list[str]:
            found = client.get_paginator("list_objects_v2").paginate(Bucket="bucket")
            return [one["Key"] for page in found for one in page.get("Contents", [])]

        yield Bucket("s3", environment, {"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}, names)
        client.close()
    finally:
        server.stop()


@contextlib.contextmanager
def gs() -> Iterator[Bucket]:
    """One of `gs_server`."""
    pytest.importorskip("gcsfs", reason="gcsfs is not installed: avtune[remote]")
    bucket = gs_server.Bucket("bucket")
    with gs_server.served(bucket) as address:
        # Without credentials gcsfs looks for those of a machine of Google's.
        environment = {"STORAGE_EMULATOR_HOST": address, "NO_GCE_CHECK": "true"}
        yield Bucket("gs", environment, {"STORAGE_EMULATOR_HOST": "http://127.0.0.1:9"}, bucket.names)


BUCKETS = {"s3": s3, "gs": gs}


class Machines:
    """Runs avtune on machines, with a folder that all of them see.

    Args:
        folder: where commands run; `folder/NAME` has the copies of the machine NAME.
    """

    def __init__(self, folder: Path, bucket: Bucket) -> None:
        self.folder, self.bucket = folder, bucket
        self.url = f"{bucket.scheme}://bucket/results"
        ours = ("AWS_", "GOOGLE_", "GCSFS_", "RAY_")
        self.kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
        self.kept |= {"HOME": str(folder), "OMP_NUM_THREADS": "1"} | bucket.environment

    def begin(self, machine: str, *words: object, dead: float = 60.0, **more: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-c", _OFTEN, str(dead), *map(str, words)],
            cwd=self.folder,
            env=self.kept | {"XDG_CACHE_HOME": str(self.folder / machine)} | more,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, machine: str, *words: object, code: int = 0, dead: float = 60.0, **more: str) -> str:
        """What it prints, on standard error where it is to end with another code than 0."""
        process = self.begin(machine, *words, dead=dead, **more)
        out, err = process.communicate(timeout=240)
        assert process.returncode == code, (out, err)
        return out if code == 0 else err

    def study(self, machine: str) -> Path:
        (path,) = (self.folder / machine).glob("avtune/results/results-*/one")
        return path

    def until_there_are_epochs(self, process: subprocess.Popen[str]) -> None:
        """Waits until the copy of another machine, brought from the bucket, has trained epochs."""
        deadline = time.monotonic() + 120
        while process.poll() is None and time.monotonic() < deadline:
            self.run("looker", "status", "--results", self.url)
            curves = list((self.folder / "looker").glob("avtune/results/results-*/one/curves.jsonl"))
            if curves and curves[0].read_text().count('"epoch"') > 3:
                return
        raise AssertionError(process.communicate())
