"""`--results` as a URL: `s3://bucket/folder` or `gs://bucket/folder`. No store is asked before a study is named."""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from avtune.cli import console
from avtune.core.errors import UserError, choices
from avtune.core.names import is_legal_name
from avtune.core.object_store import is_url

if TYPE_CHECKING:
    from avtune.workflows.remote_results import RemoteResults

_READ = ("status", "report", "verify", "compare")
_CHANGE = ("search", "finish", "retrain")


class Url(str):
    """A folder of results that is no path."""


def results_place(text: str) -> Path | Url:
    """What `--results` names."""
    return Url(text) if is_url(text) else Path(text)


@contextlib.contextmanager
def results_here(given: argparse.Namespace) -> Iterator[None]:
    """In the block `given.results` is a folder of this machine. Where it was a URL, `bring` brings studies there; those
    that the command changes are sent back while it runs, and when the block ends.

    Raises:
        UserError: the verb takes no URL.
    """
    url = getattr(given, "results", None)
    if not isinstance(url, Url):
        yield
        return
    if given.verb not in (*_READ, *_CHANGE):
        raise UserError(
            f"avtune {given.verb} takes no URL as --results; allowed with {choices((*_READ, *_CHANGE))}\n"
            f"avtune report NAME --results {url} brings a study here and says where it is"
        )
    if getattr(given, "watch", False):
        raise UserError("--watch goes with studies on this machine; status with a URL is one look")
    from avtune.workflows.remote_results import RemoteResults

    submits = bool(getattr(given, "slurm", None)) or getattr(given, "dry_run", False)
    changes = given.verb in _CHANGE and not submits
    say = console.say if changes else console.error  # beside what is read, which may be JSON
    makes = given.verb == "search"
    with RemoteResults(url, changes=changes, makes=makes, say=say, lost=_end_this) as remote:
        given.url, given.remote, given.results = url, remote, remote.here
        given.once = True
        yield


def bring(given: argparse.Namespace, name: str) -> None:
    """Brings a study here, if `--results` is a URL and the word is the name of a study, not a path."""
    remote: RemoteResults | None = getattr(given, "remote", None)
    if remote is not None and is_legal_name(name):
        folder = remote.take(name)
        if remote.holds(name):
            console.say(f"results    {given.url}/{name}; this works on a copy, {folder}")


def bring_all(given: argparse.Namespace) -> list[str] | None:
    """Brings all studies here, if `--results` is a URL.

    Returns:
        The names of those that are there; None where it is no URL.
    """
    remote: RemoteResults | None = getattr(given, "remote", None)
    return None if remote is None else remote.take_all()


def results_named(given: argparse.Namespace) -> Path | Url:
    """What `--results` names, for people."""
    named: Path | Url = getattr(given, "url", given.results)
    return named


def _end_this() -> None:
    """Ends this command in order; `results_here` says why."""
    os.kill(os.getpid(), signal.SIGTERM)
