"""The only owner of search state: ask, report, tell.

Everything is rebuilt from two append-only files: Optuna's journal (what was proposed) and the curves (what came of it:
one line an epoch, one line an end). Continuing a search and opening it are therefore one path, `study.replay`.

In deterministic mode nothing depends on which trial was quicker: at a rung a trial is compared with the trials of lower
number only (`study.rungs`), a suggestion sees the trials whose number is at least `search.lag` lower
(`study.results_to_sampler`). Epochs that a trial trained past the rung that stops it do not count.
"""

from __future__ import annotations

import logging
import math
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

from avtune.core.errors import UserError
from avtune.core.hyper import Value
from avtune.core.objective import value_key, value_name, value_of
from avtune.core.trained_on import TrainedOn
from avtune.core.trial import Trial
from avtune.space.space import Space
from avtune.study.curves import ON
from avtune.study.ending import Stopped, flat_search
from avtune.study.facts import StudyFacts
from avtune.study.folder import StudyFolder
from avtune.study.horizon import Horizon
from avtune.study.listener import Listener
from avtune.study.origins import Origins
from avtune.study.record import Record
from avtune.study.remaining import used_up_text
from avtune.study.replay import lacks_only_its_end, replay
from avtune.study.results_to_sampler import Suggestions, results_to_sampler
from avtune.study.rungs import RungPolicy, rung_policy
from avtune.study.sampler import Sampler
from avtune.study.trial_maker import TrialMaker
from avtune.study.trials_csv import TrialsCsv

_LOG = logging.getLogger(__name__)


class Study(StudyFacts):
    """One search.

    Args:
        folder: its folder, made already.
        space: what is searched, with the settings as run.
        deterministic: see the head of this file.
        precision: of its trials, see `Trial`.
        checkpoints: trials leave their weights, see `finals.checkpoints`.
        listeners: e.g. the progress table and TensorBoard.
        horizon: how long trials train; None where `early_stopping.epochs` is a number, which says it all.
        basis: of its trials, see `Trial`; may be left out where none is trained.
        start, like: configurations that the user named, and of earlier studies, see `Sampler`.
        stopped: by whom the search has been ended, where it has.
        until: asked before every suggestion and after every epoch, until it says that the search has been ended.
        before_writing: is called with the study once its files have been read, before one of them is written to; what
            it raises leaves them as they were.
        suggestions: where its configurations come from; None for `Sampler` with its journal. Simulations give others.
        rungs: which trials are stopped; None for the policy that a study has.
        noted: takes lines for who watches, see `note`.

    Raises:
        UserError: one of its files is damaged.
    """

    independent = 0
    """See `runners.Source`."""

    def __init__(
        self,
        folder: StudyFolder,
        space: Space,
        *,
        deterministic: bool = False,
        precision: str = "fp32",
        checkpoints: bool = False,
        listeners: Iterable[Listener] = (),
        horizon: Horizon | None = None,
        basis: str = "",
        finals_basis: str | None = None,
        start: Sequence[Mapping[str, Value]] = (),
        like: Sequence[Mapping[str, Value]] = (),
        stopped: Stopped | None = None,
        until: Callable[[Study], Stopped | None] = lambda study: None,
        before_writing: Callable[[Study], None] = lambda study: None,
        suggestions: Suggestions | None = None,
        rungs: RungPolicy | None = None,
        noted: Callable[[str], None] = lambda text: None,
    ) -> None:
        self.folder = folder
        self._noted = noted
        self.space = space
        self.deterministic = deterministic
        self.precision = precision
        self.basis = basis
        self.finals_basis = basis if finals_basis is None else finals_basis
        self.horizon = horizon or Horizon(space)
        self.records: list[Record] = []
        self._queue: deque[Record] = deque()  # to be given out before any new trial
        self._running = 0  # trials without an end
        self._where: dict[int, TrainedOn] = {}  # they are trained
        self._trials = TrialMaker(folder, self.horizon, precision, basis, checkpoints)
        hypers = [*(axis.name for axis in space.axes), *space.fixed]
        self._csv = TrialsCsv(folder.trials_csv, self.records, hypers, value_name(space.search.objective))
        self._listeners: list[Listener] = [*listeners, self._csv]
        self._rungs = rungs or rung_policy(deterministic=deterministic, factor=space.early_stopping.factor)
        self._sampler: Suggestions = suggestions or Sampler(folder.journal, space, start, like)
        lag = space.search.lag if deterministic else None
        self._results = results_to_sampler(self._sampler, self.records, lag)
        origins = Origins(space, self._sampler.known, space.default_point(), self.records)
        self._flat = flat_search(space.search.stop_when_flat, origins, self.records, lag)
        self._stopped = stopped
        self._until = until
        self._before_writing = before_writing
        self._said: set[str] = set()  # of configurations that are left out
        self._no_more = False  # trials, when one was last asked for; for other threads
        self.repaired = self._open()  # whether a kill had torn the last line of one of its files

    # -- the contract of runners -----------------------------------------------------------------------------------

    def ask(self) -> Trial | None:
        """The next trial to train, or None: either all are given out (`exhausted` tells), or, in deterministic mode,
        the results that the next suggestion must see are not in yet."""
        self.look_for_end()
        record = self._queue.popleft() if self._queue else self._suggest()
        if record is None:
            return None
        _LOG.debug("ask: trial %d, epochs %d to %d at most", record.number, record.values.last + 1, record.trial.epochs)
        for listener in self._listeners:
            listener.started(record)
        return replace(record.trial, known=record.values.last)

    def trained_on(self, number: int, where: TrainedOn) -> None:
        """Where the epochs of the trial that are reported from now on were trained; kept with the first of them."""
        self._where[number] = where

    def report(self, number: int, epoch: int, metrics: Mapping[str, float]) -> bool:
        """Takes the metrics of a trial's epoch and returns whether it goes on.

        A validation MAP, or value of another objective, that is no finite number fails the trial. An epoch that is
        known already (a trial started again after an interruption) changes nothing.
        """
        record = self.records[number]
        if not record.is_wanted:
            return False
        value = value_of(metrics)
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            self.tell(number, f"{value_key(metrics)} is {value!r} after epoch {epoch}")
            return False
        if epoch not in record.values:
            assert epoch == record.values.last + 1, (epoch, record.values.last)
            numbers = {name: float(v) for name, v in metrics.items() if isinstance(v, int | float)}
            finite = {name: v for name, v in numbers.items() if math.isfinite(v)}
            on = self._where.get(number)
            on = None if record.places and record.places[-1][1] == on else on
            moved = {} if on is None else {ON: on.to_json()}
            self.folder.add_curve_line({"trial": number, "epoch": epoch, **finite, **moved})
            record.add_epoch(epoch, value_of(finite), finite.get("seconds", 0.0), on)
            for listener in self._listeners:
                listener.epoch(record, epoch, finite)
            self._changed(record)
            self.look_for_end()
            if self._ends(record):
                _end_here(record)
        return record.stopped_at is None

    def should_stop(self, number: int) -> bool:
        """Whether the trial's training is no longer wanted."""
        return not self.records[number].is_wanted

    def tell(self, number: int, failure: str | None = None, details: str = "") -> None:
        """The trial's training has ended: because `report` said so, by itself, or with a failure (one line; `details`,
        e.g. its traceback, go to `log.txt`). Telling again changes nothing."""
        record = self.records[number]
        if record.is_over:
            return
        if failure is not None:
            self.folder.note(f"trial {number} failed: {failure}\n{details}", "WARNING")
        record.end_training(failure)
        self._changed(record)

    def retry_failed(self) -> list[int]:
        """Forgets the ends of the failed trials, which are given out again, before all others: the same configurations,
        numbers and seeds. Values that they left at rungs go too; decisions that were made with them stand. That the
        search was ended ends other trials, not these.

        Returns:
            Their numbers.

        Raises:
            UserError: the study is deterministic and has trials that have not ended; which ones failed so far may
                depend on which were quicker.
        """
        failed = [record for record in self.records if record.state == "FAIL"]
        if self.deterministic and failed and not self.exhausted:
            raise UserError(
                "--retry-failed: the trials of a deterministic study must all have ended first\n"
                "give the same command without it, and then with it"
            )
        if self._stopped is not None:
            self._stopped = self._stopped.sparing(record.number for record in failed)
        if failed:  # one line: a kill leaves all of them failed, or none
            self.folder.add_curve_line({"again": [record.number for record in failed]}, sync=True)
        for record in failed:
            self.folder.note(f"trial {record.number} is trained again; it failed: {record.reason}")
            self._restart(record)
        self._running += len(failed)
        self._queue = deque([*failed, *self._queue])
        return [record.number for record in failed]

    def look_for_end(self) -> None:
        """Ends the search, if `until` says so: no further trial is suggested, and those that are running end with their
        next epoch; in deterministic mode, where that would depend on which were quicker, by themselves."""
        if self._stopped is None and self.records:
            self._stopped = self._until(self)
            if self._stopped is not None:
                self._end_running()

    def note(self, text: str, *, shown: bool = False) -> None:
        """A line for `log.txt`; `shown`: and for who watches."""
        self.folder.note(text)
        if shown:
            self._noted(text)

    @property
    def exhausted(self) -> bool:
        """Whether every trial has been given out and has ended."""
        return self._all_suggested and self._running == 0

    @property
    def is_suggested(self) -> bool:
        """Whether there will be no further trial: all have been given out, or the search has been ended."""
        return self._all_suggested

    @property
    def trials(self) -> int:
        """How many trials there will be, as far as is known. For any thread."""
        return len(self.records) if self._no_more else max(self.space.search.trials, len(self.records))

    @property
    def ended_early(self) -> str:
        """Why there are fewer trials than were asked for, or some of these were ended while they were running, in
        words; empty where neither is so."""
        number, search = len(self.records), self.space.search
        if self._stopped is not None and self._stopped.running:
            return self._stopped.text(search.trials)
        if number >= search.trials or not self._all_suggested:
            return ""
        if self._sampler.used_up:
            if not self.space.axes:  # one configuration for several trials: the plan says it
                return ""
            return f"stopped after {number} of {search.trials} trials: {used_up_text(self.space)}"
        if self._stopped is not None:
            return self._stopped.text(search.trials)
        return f"stopped after {number} of {search.trials} trials: best has not risen for {search.stop_when_flat}"

    def close(self) -> None:
        """Writes `trials.csv` and takes away what no trial needs any more."""
        self._csv.write()
        self.folder.clear_lanes({record.number for record in self.records if record.state == "RUNNING"})

    # -- inside ----------------------------------------------------------------------------------------------------

    def _open(self) -> bool:
        """Makes the records that the files tell of; returns whether one of them had to be repaired."""
        self.folder.check_regular()
        for number, config in enumerate(self._sampler.past()):
            self._add(number, config)
        torn = replay(self.folder, self.records, self._rungs, self._restart, self._flat.ended)
        self._running = self.count("RUNNING")
        self._before_writing(self)
        for record in self.records:
            if lacks_only_its_end(record, self.folder):
                for listener in self._listeners:
                    listener.started(record)
                self.tell(record.number)
            elif record.state != "RUNNING":
                self._results.ended(record)
        self._queue = deque(one for one in self.records if one.state == "RUNNING" and not one.is_over)
        if self._stopped is not None:
            self._end_running()
        return torn or self._sampler.repaired

    @property
    def _all_suggested(self) -> bool:
        number = len(self.records)
        if number >= self.space.search.trials or self._sampler.used_up:
            return True
        return self._stopped is not None or self._flat.is_flat(number)

    @property
    def _ends_running(self) -> bool:
        return self._stopped is not None and not self.deterministic

    def _ends(self, record: Record) -> bool:
        """Whether the end of the search ends that trial while it runs."""
        return self._ends_running and self._stopped is not None and record.number not in self._stopped.again

    def _end_running(self) -> None:
        """Has trials that have an epoch end with it; one that has none yet ends with its first. Trials that were
        complete and have begun none of the epochs that their study was given since stay complete."""
        if not self._ends_running:
            return
        for record in [one for one in self._queue if one.reopened and one.is_wanted]:
            self._close_again(record)
        for record in self.records:
            if record.state == "RUNNING" and record.values and not record.reopened and self._ends(record):
                _end_here(record)
        for record in [one for one in self._queue if not one.is_wanted]:  # nobody trains them
            for listener in self._listeners:
                listener.started(record)
            self.tell(record.number)
        self._queue = deque(one for one in self._queue if one.is_wanted)

    def _close_again(self, record: Record) -> None:
        self._queue = deque(one for one in self._queue if one is not record)
        self._running -= 1
        record.close_again()
        record.release()
        self._results.ended(record)

    def _suggest(self) -> Record | None:
        """A new trial; None where there is none, or not yet."""
        number = len(self.records)
        self._no_more = self._all_suggested
        if self._no_more:
            return None
        if not self._results.may_suggest(number):
            _LOG.debug("ask: trial %d waits for results that its suggestion must see", number)
            return None
        self._note_left_out()
        config = self._sampler.ask(number)
        self._note_left_out()  # one that could not be completed
        if config is None:
            return None
        _LOG.debug("ask: trial %d is suggested as %s", number, config)
        self._running += 1
        return self._add(number, config)

    def _note_left_out(self) -> None:
        for text in self.left_out:
            if text not in self._said:
                self._said.add(text)
                self.folder.note(text, "WARNING")

    def _add(self, number: int, config: Mapping[str, Value]) -> Record:
        record = Record(self._trials.make(number, config))
        self.records.append(record)
        self._rungs.added(record)
        return record

    def _restart(self, record: Record) -> None:
        """Has a failed trial begin again."""
        self._rungs.restarted(record)
        self._results.restarted(record)
        self._flat.restarted(record)
        record.begin_again()

    def _changed(self, record: Record) -> None:
        """Decides what can be decided now, and ends what has its end."""
        self._rungs.changed(record)
        for one in self._rungs.settled(record):
            self._end(one)

    def _end(self, record: Record) -> None:
        self.folder.add_curve_line(record.end().to_json(), sync=True)
        self._running -= 1
        self._where.pop(record.number, None)
        record.release()
        self.folder.drop_lane(record.number)
        self._results.ended(record)
        self._flat.ended(record)
        for listener in self._listeners:
            listener.ended(record)


def _end_here(record: Record) -> None:
    """Stops a trial at its last epoch, unless it ends there by itself."""
    if record.is_wanted and not record.trial.ends(list(record.values.values())):
        record.stop(record.values.last)
