"""A search on a cluster whose results are in a bucket: neither the driver's machine nor a folder has to last."""

import json
import signal
import tempfile
from pathlib import Path

import pytest
from buckets import BUCKETS, Machines
from test_ray_cluster import _TOKEN, two_nodes
from toy import write_toy

RAY = {"RAY_AUTH_TOKEN": _TOKEN, "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "RAY_USAGE_STATS_ENABLED": "0"}
WORDS = ["toy.h5", "--space", "space.yaml", "--name", "one", "--deterministic", "--precision", "fp32"]
SET = ["early_stopping.epochs=12", "final.finalists=1", "final.seeds=1", "final.reference=none"]


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.long
def test_a_driver_that_is_killed_goes_on_on_another_machine_and_ends_as_on_one(tmp_path):
    write_toy(tmp_path)
    words = ["search", *WORDS, "--trials", "12", *(word for one in SET for word in ("--set", one))]
    with (
        tempfile.TemporaryDirectory(prefix="r") as short,
        two_nodes(Path(short)) as (address, _),
        BUCKETS["s3"]() as bucket,
    ):
        machines = Machines(tmp_path, bucket)
        far = [*words, "--results", machines.url, "--cluster", address]
        process = machines.begin("first", *far, **RAY)
        machines.until_there_are_epochs(process)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        said = machines.run("second", *far, dead=1.0, **RAY)
        assert said.count("\nnode       ") == 2, "what was found on each of the nodes"
        assert "trials known)" in said
        assert "no difference" in machines.run("third", "verify", "one", "--results", machines.url)
        machines.run("here", *words, "--results", "here", "--runner", "inline", "--gpus", "0")
        found = [
            json.loads((folder / "final" / "metrics.json").read_text())["test"]
            for folder in (machines.study("second"), tmp_path / "here" / "one")
        ]
        assert found[0] == found[1]
