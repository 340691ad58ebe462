"""What of avtune's runs on a cluster.

The question goes to the cluster's head alone, from a process of its own (see `another_process`) that is none of the
cluster's jobs: it needs the token and a way to the head's port, and no Ray on this machine.
"""

from __future__ import annotations

import os
import sys
from dataclasses import asdict

from avtune.runners.ray.address import cluster_address
from avtune.runners.ray.another_process import answer, ask
from avtune.runners.ray.cluster import check_token_is_set
from avtune.runners.ray.job_notes import Job, job_of
from avtune.runners.ray.session import SETTINGS

_PATIENCE = 30.0  # seconds


def jobs_on(given: str) -> list[Job]:
    """What of avtune's runs on a cluster, the oldest first.

    Args:
        given: `host:port`, or `auto`.

    Raises:
        UserError: no token is set, or no cluster answers to it there.
    """
    check_token_is_set()
    address = cluster_address(given)
    found = ask("avtune.runners.ray.jobs", address, environment=os.environ | SETTINGS, seconds=_PATIENCE, joins=False)
    return sorted((Job(**each) for each in found.said), key=lambda job: job.begun)


def _main(address: str) -> None:
    from avtune.runners.ray import private

    jobs = (job_of(*each) for each in private.running_jobs(address))
    answer([asdict(job) for job in jobs if job is not None])


if __name__ == "__main__":
    _main(*sys.argv[1:])
