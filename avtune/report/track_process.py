"""The process that tracks a study: it reads the study's files and sends what is new, until its standard input ends.

It has a process of its own so that nothing that a tracker does, or does not do, reaches the search: no call into its
library, no wait, no lock, no memory. The search holds the other end of its standard input; when that process ends,
however it does, the input ends, the last is sent, and this process ends too.
"""

from __future__ import annotations

import argparse
import logging
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from avtune.report.tracking import StudyReader, Target, Tracker
from avtune.study.folder import StudyFolder

LEFT = 3
"""Exit code where something is left to send."""
_EVERY = 2.0  # seconds between two looks; after a failure twice as long each time
_LONGEST = 60.0
_SHARE = 20  # and at least so many times what reading the study took
_LAST_SECONDS = 120.0  # for what is left when the search has ended
_QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "WANDB_ERROR_REPORTING": "false",
    "WANDB_SILENT": "true",
}
# An answer that does not come must not keep the rest waiting for minutes. What the user has set counts.
_PATIENCE = {
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "WANDB_INIT_TIMEOUT": "30",
}
_LOG = logging.getLogger(__name__)


def tracker_of(target: Target, say: Callable[[str], None] = _LOG.warning) -> Tracker:
    """The tracker of a place.

    Args:
        say: takes lines for the user.

    Raises:
        ImportError: its package is missing.
    """
    os.environ.update(_QUIET)
    for name, value in _PATIENCE.items():
        os.environ.setdefault(name, value)
    if target.name == "mlflow":
        from avtune.report.track_mlflow import MlflowTracker

        return MlflowTracker(target.where, say)
    from avtune.report.track_wandb import WandbTracker

    return WandbTracker(target.where)


def follow(folder: StudyFolder, target: Target) -> int:
    """Sends what is new until the standard input ends, and then the rest.

    Returns:
        0, or `LEFT`.
    """
    reader, wait = StudyReader(folder), _EVERY
    tracker: Tracker | None = None
    while True:
        over = _input_ended(wait)
        if over:
            _end_in(_LAST_SECONDS)
        try:
            began = time.monotonic()
            seen = reader.read()
            took = time.monotonic() - began
            tracker = tracker or tracker_of(target)
            tracker.sync(seen, ended=over)
            wait = max(_EVERY, _SHARE * took)
            if over:
                return 0
        except Exception:
            _LOG.exception("%s did not take what is new; it is sent again", target)
            wait = min(_LONGEST, 2 * wait)
            if over:
                return LEFT


def _input_ended(seconds: float) -> bool:
    """Waits so long, or until the standard input ends."""
    ready, _, _ = select.select([sys.stdin], [], [], seconds)
    return bool(ready) and not os.read(sys.stdin.fileno(), 1)


def _end_in(seconds: float) -> None:
    """Ends this process then, whatever it is waiting for."""
    timer = threading.Timer(seconds, os._exit, [LEFT])
    timer.daemon = True
    timer.start()


def main() -> int:
    """`python -m avtune.report.track_process FOLDER TARGET`."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # those go to the search, whose end we follow
        signal.signal(number, signal.SIG_IGN)
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("target", type=Target.parse)
    given = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    os.nice(10)
    return follow(StudyFolder(given.folder), given.target)


if __name__ == "__main__":
    sys.exit(main())
