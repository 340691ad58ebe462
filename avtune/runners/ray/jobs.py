"""What of avtune's runs on a cluster.

The question goes to the cluster's head alone, from a process of its own (see `preflight`) that is none of the cluster's
jobs: it needs the token and a way to the head's port, and no Ray on this machine.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import asdict

from avtune.core.errors import UserError
from avtune.runners.ray.address import cluster_address
from avtune.runners.ray.cluster import check_token_is_set
from avtune.runners.ray.job_notes import Job, job_of
from avtune.runners.ray.preflight import refused
from avtune.runners.ray.session import SETTINGS

_PATIENCE = 30.0  # seconds
_MARK = "avtune's answer: "


def jobs_on(given: str) -> list[Job]:
    """What of avtune's runs on a cluster, the oldest first.

    Args:
        given: `host:port`, or `auto`.

    Raises:
        UserError: no token is set, or no cluster answers to it there.
    """
    check_token_is_set()
    address = cluster_address(given)
    command = [sys.executable, "-m", "avtune.runners.ray.jobs", address]
    try:
        ended = subprocess.run(
            command,
            env=os.environ | SETTINGS,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_PATIENCE,
            start_new_session=True,
        )
    except subprocess.TimeoutExpired:
        raise UserError(
            f"--cluster is {address!r}: something accepts connections there, and no Ray cluster answers in "
            f"{_PATIENCE:g} s"
        ) from None
    answer = next((line for line in reversed(ended.stdout.splitlines()) if line.startswith(_MARK)), None)
    if answer is None:
        raise UserError(refused(address, ended.stdout + ended.stderr))
    return sorted((Job(**each) for each in json.loads(answer.removeprefix(_MARK))), key=lambda job: job.begun)


def _main(address: str) -> None:
    from avtune.runners.ray import private

    jobs = (job_of(*each) for each in private.running_jobs(address))
    print(_MARK + json.dumps([asdict(job) for job in jobs if job is not None]), flush=True)


if __name__ == "__main__":
    _main(*sys.argv[1:])
