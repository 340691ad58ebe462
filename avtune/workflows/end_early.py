"""Searches that are ended before all of their trials were suggested: by `avtune finish`, of this command or of another,
or because their time is over."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from avtune.core.files import to_yaml, using, write_text
from avtune.core.log import append_note
from avtune.runners.placement_text import Places
from avtune.study.ending import Stopped
from avtune.study.folder import StudyFolder
from avtune.study.holder import this_process
from avtune.study.study import Study
from avtune.workflows.time_budget import TimeBudget

EVERY = 0.25
"""Seconds between two looks for the file with which another process asks for the end, and at the time."""
_REST = 50  # and at least so many times what a look took: counting grows with the study


class EndEarly:
    """What a study asks before every suggestion and after every epoch. The end is on record before the study acts on
    it, so that it stays ended after a kill.

    Args:
        folder: of the study.
        now: this command ends it.
        budget: its time; None for no limit.
        places: where its trials run.
        protocol: of the retraining.
        recorded: is told what `study.yaml` has now.
    """

    def __init__(
        self,
        folder: StudyFolder,
        *,
        now: bool,
        budget: TimeBudget | None,
        places: Places | None,
        protocol: str,
        recorded: Callable[[Stopped], None],
    ) -> None:
        self._folder = folder
        self._now = now
        self._budget = budget
        self._places = places
        self._protocol = protocol
        self._recorded = recorded
        self._due = 0.0

    def __call__(self, study: Study) -> Stopped | None:
        moment = time.monotonic()
        if moment < self._due:
            return None
        stopped, number, budget = None, len(study.records), self._budget
        cut = 0 if study.deterministic or number < study.space.search.trials else study.count("RUNNING")
        if self._now or _addressee(self._folder) == this_process():
            stopped = self._end(Stopped(number, "finish", running=cut), study)
        elif budget is not None and budget.is_over(study, self._places, self._protocol):
            stopped = self._end(Stopped(number, "time", budget.seconds, running=cut), study)
        self._due = moment + max(EVERY, _REST * (time.monotonic() - moment))
        return stopped

    def _end(self, stopped: Stopped, study: Study) -> Stopped:
        record_end(self._folder, stopped)
        self._recorded(stopped)
        study.note(f"{stopped.text(study.space.search.trials)}; {study.count('RUNNING')} trials have not ended")
        clear_request(self._folder)
        return stopped


def record_end(folder: StudyFolder, stopped: Stopped) -> None:
    """Has `study.yaml` say that the search has been ended."""
    write_text(folder.study_yaml, to_yaml({**folder.settings(), "stopped": stopped.to_json()}))


def clear_request(folder: StudyFolder) -> None:
    """Takes away the file with which another process has asked for the end."""
    with using(folder.finish):
        folder.finish.unlink(missing_ok=True)


_ASKED = " is asked to end the search"


def ask_to_end(folder: StudyFolder, owner: str) -> bool:
    """Asks the process that searches to end its search.

    Returns:
        Whether it still searches.
    """
    write_text(folder.finish, f"{owner}{_ASKED}\n")
    append_note(folder.log, "avtune finish has asked for the end of the search", "INFO")
    if folder.search_owner() != owner:  # it has ended meanwhile, perhaps before it could see the file
        with suppress(OSError):
            folder.finish.unlink()
        return False
    return True


def _addressee(folder: StudyFolder) -> str | None:
    """Who is asked to end its search; None for nobody."""
    if not folder.finish.exists():
        return None
    try:
        return folder.finish.read_text(errors="replace").partition(_ASKED)[0].strip()
    except OSError:  # taken away meanwhile, or not for this user to read
        return None


def drop_request(folder: StudyFolder) -> str:
    """Takes away a request for the end that was made to another process, or before this one had taken the lock: the
    search that it was for is over. Only for the owner of the study.

    Returns:
        That, for people; empty where there was none.
    """
    asked = _addressee(folder)
    if asked is None:
        return ""
    with suppress(OSError):
        if asked == this_process() and folder.finish.stat().st_mtime_ns >= folder.lock.stat().st_mtime_ns:
            return ""
    clear_request(folder)
    name = asked if asked.startswith("process ") else "an earlier search"
    said = f"avtune finish had asked {name}, which has ended, to end its search; this one is not asked and goes on"
    append_note(folder.log, said, "INFO")
    return said


def still_ended(
    before: Mapping[str, Any], grows: bool, seconds: float | None, *, finish: bool
) -> tuple[dict[str, Any], list[str]]:
    """Whether a study that is continued stays ended: it goes on when it is given more trials, epochs or steps, and one
    whose time was over when it is given more time, or no limit, unless all its trials had been suggested by then.

    Args:
        grows: it is given more of them.
        seconds: what `--time` is now; None for no limit.
        finish: this command ends it.

    Returns:
        What its settings say of that, and what has changed, in a line.
    """
    stopped = Stopped.of(before)
    if stopped is None:
        return {}, []
    trials = before["space"]["search"]["trials"]
    longer = stopped.by == "time" and (seconds is None or seconds > stopped.seconds) and stopped.trials < trials
    if not finish and (longer or grows):
        return {}, [f"the search goes on; it was {stopped.text(trials)}"]
    return {"stopped": stopped.to_json()}, []
