"""The note that a run of avtune's leaves with its job on a cluster, which drops it with the job. No Ray here."""

from __future__ import annotations

import getpass
import json
import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass

from avtune.core.schema import misfit

_KEY = "avtune"  # of the note


@dataclass(frozen=True)
class Job:
    """A run of avtune's on a cluster.

    Attributes:
        verb: its command, e.g. `search`.
        folder: where its results are.
        user, host, pid: whose it is, and its driver.
        where: on which devices, see `Placement.text`.
        begun: Unix time, seconds.
    """

    verb: str
    folder: str
    user: str
    host: str
    pid: int
    where: str
    begun: float


def note(verb: str, folder: str, where: str) -> dict[str, str]:
    """What a run of this process leaves with its job."""
    said = {"verb": verb, "folder": folder, "user": _user(), "host": socket.gethostname(), "where": where}
    return {_KEY: json.dumps(said)}


def job_of(notes: Mapping[str, str], pid: int, begun: float) -> Job | None:
    """The job of a driver with these notes; None where it is none of avtune's, or of one that notes something else."""
    try:
        said = json.loads(notes.get(_KEY, ""))
    except ValueError:
        return None
    if misfit(said, dict.fromkeys(("verb", "folder", "user", "host", "where"), str)) is not None:
        return None
    return Job(said["verb"], said["folder"], said["user"], said["host"], pid, said["where"], begun)


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a user without a name, as in some containers
        return str(os.getuid())
