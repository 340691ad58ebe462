"""Tracks a study in MLflow or Weights & Biases: beside a search, by a process for each tracker, or afterwards."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from types import TracebackType

from avtune.core.errors import UserError
from avtune.core.files import private_files, using
from avtune.report.track_process import tracker_of
from avtune.report.tracking import StudyReader, Target, study_id, tracking_folder
from avtune.study.folder import StudyFolder

WAIT = 20.0
"""Seconds for which a search that has ended, and has said what it found, waits for the last to be sent."""

_PASSING = {"INTERNAL_ERROR", "TEMPORARILY_UNAVAILABLE", "REQUEST_LIMIT_EXCEEDED", "DEADLINE_EXCEEDED", "ABORTED"}


def checked(targets: Sequence[str]) -> tuple[Target, ...]:
    """What `--track` names.

    Raises:
        UserError: there is no such tracker, it is named twice, or its package is not installed.
    """
    parsed = [Target.parse(text) for text in targets]
    for target in parsed:
        if parsed.count(target) > 1:
            raise UserError(f"--track {target} is given twice")
        if importlib.util.find_spec(target.name) is None:
            raise UserError(
                f"--track {target} needs the package {target.name}, which is not installed\n"
                f"pip install 'avtune[{target.name}]'"
            )
    return tuple(parsed)


def send(folder: StudyFolder, target: Target, say: Callable[[str], None]) -> None:
    """Sends what a tracker has not got of a study yet, in this process.

    Args:
        say: takes lines for the user.

    Raises:
        UserError: a file of the study is damaged, or the tracker does not take it.
    """
    with private_files(), using(tracking_folder(folder)):
        seen = StudyReader(folder).read()
        try:
            tracker_of(target, say).sync(seen, ended=folder.search_owner() is None)
        except UserError:
            raise
        except Exception as error:
            said = " ".join(str(error).split())[:200] or type(error).__name__
            todo = (
                "give the same command again later"
                if _may_pass(error)
                else "the same command ends so again, until what it names is changed"
            )
            raise UserError(f"{target} does not take the study: {said}\n{todo}") from error


def _may_pass(error: Exception) -> bool:
    """Whether an error of a tracker may be gone when it is asked again: the network, or a server that is down. The
    trackers' packages wrap what the network says in errors of their own, so these go by what they are called."""
    code = getattr(error, "error_code", None)  # of MLflow
    return code in _PASSING or isinstance(error, OSError) or type(error).__name__ == "CommError"  # the last is W&B's


class Trackers:
    """The processes that track a search. Whatever becomes of them, the search does not notice.

    Args:
        targets: where to.
        folder: of the study, which may be made later.
        say: takes lines for the user.
    """

    def __init__(self, targets: Sequence[Target], folder: StudyFolder, say: Callable[[str], None]) -> None:
        self._targets = targets
        self._folder = folder
        self._say = say
        self._processes: list[tuple[Target, subprocess.Popen[bytes]]] = []

    def start(self) -> None:
        """Starts them; the folder of the study is there."""
        for target in self._targets:
            try:
                study_id(self._folder)
                log = tracking_folder(self._folder) / f"{target.name}.log"
                with using(log), log.open("ab") as out:
                    # -P: else a file of the current folder could be imported in the place of a package.
                    command = [sys.executable, "-P", "-W", "ignore", "-m", "avtune.report.track_process"]
                    process = subprocess.Popen(
                        [*command, str(self._folder.root.absolute()), str(target)],
                        stdin=subprocess.PIPE,
                        stdout=out,
                        stderr=subprocess.STDOUT,
                    )
                self._processes.append((target, process))
            except UserError as error:
                self._say(f"--track {target} does not work: {error}")

    def __enter__(self) -> Trackers:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Lets them send the last, for a while, and ends those that are not done."""
        for _, process in self._processes:
            assert process.stdin is not None
            process.stdin.close()
        until = time.monotonic() + WAIT
        for target, process in self._processes:
            try:
                done = process.wait(max(0.0, until - time.monotonic())) == 0
            except (subprocess.TimeoutExpired, KeyboardInterrupt):
                done = False
            finally:
                process.kill()
                process.wait()
            if not done:
                self._say(
                    f"{target} has not got all of this study (see {tracking_folder(self._folder)}); "
                    f"the rest: avtune track {self._folder.root} {target}"
                )
