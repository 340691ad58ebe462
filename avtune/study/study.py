"""The only owner of search state: ask, report, tell.

Everything is rebuilt from two append-only files: Optuna's journal (what was proposed) and the curves (what came of it:
one line an epoch, one line an end). Continuing a search and opening it are therefore one path.

In deterministic mode a decision never depends on which trial was quicker: at a rung a trial is compared with the
trials of lower number only, and a suggestion sees the trials whose number is at least `search.lag` lower. A trial whose
comparison is still open goes on meanwhile; epochs past the rung it is stopped at do not count.

Long: records, rung decisions, replay and `trials.csv` share one state.
"""

from __future__ import annotations

import csv
import io
import math
import time
from array import array
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Protocol

from avtune.core.errors import UserError
from avtune.core.files import append_line, write_text
from avtune.core.hyper import Value
from avtune.core.run_files import is_left_by
from avtune.core.seeds import mix
from avtune.core.trial import Trial
from avtune.space.space import Space
from avtune.study.asha import Asha
from avtune.study.curve import Curve
from avtune.study.curves import read_curves
from avtune.study.folder import StudyFolder
from avtune.study.horizon import Horizon
from avtune.study.sampler import Proposals

State = Literal["RUNNING", "COMPLETE", "PRUNED", "FAIL"]
_CSV_EVERY_SECONDS = 5.0
_CSV_REST = 50  # and at least so many times what writing it took: it grows with the study


@dataclass
class Record:
    """A trial and what is known of it.

    Attributes:
        trial: what is trained.
        state: RUNNING until its end is known.
        values: validation MAP by epoch, as far as it counts.
        seconds: device seconds of those epochs.
        reason: why it failed.
    """

    trial: Trial
    state: State = "RUNNING"
    values: Curve = field(default_factory=Curve)
    seconds: float = 0.0
    reason: str = ""
    _seconds: array[float] = field(default_factory=lambda: array("d"))  # of each epoch, until the end
    _decided: int = 0  # rungs decided so far
    _stopped_at: int | None = None  # the rung epoch that stopped it
    _left: bool = False  # its training has ended, by itself or not
    _flat: bool = False  # by itself, before its last epoch

    @property
    def number(self) -> int:
        return self.trial.number

    @property
    def best_epoch(self) -> int | None:
        """The first epoch with the highest validation MAP."""
        return self.values.best_epoch

    @property
    def best_value(self) -> float | None:
        return self.values.best_until(self.values.last)

    @property
    def ended_flat(self) -> bool:
        """Whether its curve ended it, before its last epoch and no rung."""
        return self._flat and self._stopped_at is None

    def _has(self, rung: int) -> bool:
        return rung < len(self.trial.save_at)

    def _reached(self, rung: int) -> bool:
        return self._has(rung) and self.values.last >= self.trial.save_at[rung]

    def _cut(self, epoch: int) -> None:
        self.values.cut(epoch)
        del self._seconds[epoch:]
        self.seconds = sum(self._seconds)


class Listener(Protocol):
    """Is told what happens in a study, as it happens."""

    def started(self, record: Record) -> None: ...
    def epoch(self, record: Record, epoch: int, metrics: Mapping[str, float]) -> None: ...
    def ended(self, record: Record) -> None: ...


class Study:
    """One search.

    Args:
        folder: its folder, made already.
        space: what is searched, with the settings as run.
        deterministic: see the head of this file.
        precision: of its trials, see `Trial`.
        checkpoints: trials leave their weights, see `aggregate.checkpoints`.
        listeners: e.g. the progress table and TensorBoard.
        horizon: how long trials train; None where `early_stopping.epochs` is a number, which says it all.
        basis: of its trials, see `Trial`; may be left out where none is trained.
    """

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
    ) -> None:
        self.folder = folder
        self.space = space
        self.deterministic = deterministic
        self.precision = precision
        self.basis = basis
        self._checkpoints = checkpoints
        self.records: list[Record] = []
        self.repaired = False
        self._queue: deque[Record] = deque()  # to be given out again
        self._listeners = list(listeners)
        self.horizon = horizon or Horizon(space)
        self._asha = Asha(space.early_stopping.factor)
        self._cursor: list[int] = []  # deterministic: the next trial number to decide at each rung
        self._told = 0  # deterministic: how many trials the sampler has been told of
        self._again: set[int] = set()  # trials trained again, of whose new end the sampler is not told yet
        self._running = 0  # trials without an end
        self._csv_due = 0.0
        self._load()

    independent = 0
    """See `runners.Source`."""

    # -- the contract of runners -----------------------------------------------------------------------------------

    def ask(self) -> Trial | None:
        """The next trial to train, or None: either all are given out (`exhausted` tells), or, in deterministic mode,
        the results that the next suggestion must see are not in yet."""
        if self._queue:
            record = self._queue.popleft()
        else:
            number = len(self.records)
            if number >= self.space.search.trials or self._proposals.used_up:
                return None
            if self.deterministic:
                if not self._tell_again():
                    return None
                while self._told < number - self.space.search.lag + 1:
                    past = self.records[self._told]
                    if past.state == "RUNNING":
                        return None
                    self._tell_sampler(past)
                    self._told += 1
            config = self._proposals.ask(number)
            if config is None:
                return None
            record = self._add(number, config)
            self._running += 1
        for listener in self._listeners:
            listener.started(record)
        return replace(record.trial, known=record.values.last)

    def report(self, number: int, epoch: int, metrics: Mapping[str, float]) -> bool:
        """Takes the metrics of a trial's epoch and returns whether it goes on.

        A validation MAP that is no finite number fails the trial. An epoch that is known already (a trial started again
        after an interruption) changes nothing.
        """
        record = self.records[number]
        if record._left or record._stopped_at is not None:
            return False
        value = metrics.get("val_map")
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            self.tell(number, f"val_map is {value!r} after epoch {epoch}")
            return False
        if epoch not in record.values:
            assert epoch == record.values.last + 1, (epoch, record.values.last)
            numbers = {name: float(v) for name, v in metrics.items() if isinstance(v, int | float)}
            finite = {name: v for name, v in numbers.items() if math.isfinite(v)}
            append_line(self.folder.curves, {"trial": number, "epoch": epoch, **finite})
            self._take(record, epoch, finite)
            for listener in self._listeners:
                listener.epoch(record, epoch, finite)
            self._decide(record)
        return record._stopped_at is None

    def should_stop(self, number: int) -> bool:
        """Whether the trial's training is no longer wanted."""
        record = self.records[number]
        return record._left or record._stopped_at is not None

    def tell(self, number: int, failure: str | None = None, details: str = "") -> None:
        """The trial's training has ended: because `report` said so, by itself, or with a failure (one line; `details`,
        e.g. its traceback, go to `log.txt`). Telling again changes nothing."""
        record = self.records[number]
        if record._left:
            return
        if failure is not None:
            self.folder.note(f"trial {number} failed: {failure}\n{details}")
        record._left = True
        record._flat = failure is None and record.values.last < record.trial.epochs and record.trial.patience > 0
        record.reason = failure or ""
        if failure is None and not record.values:
            record.reason = "it ended without a result"
        self._decide(record)

    def retry_failed(self) -> list[int]:
        """Forgets the ends of the failed trials, which are given out again, before all others: the same configurations,
        numbers and seeds. Values that they left at rungs go too; decisions that were made with them stand.

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
        if failed:  # one line: a kill leaves all of them failed, or none
            append_line(self.folder.curves, {"again": [record.number for record in failed]}, sync=True)
        for record in failed:
            self.folder.note(f"trial {record.number} is trained again; it failed: {record.reason}")
            self._forget(record)
        self._running += len(failed)
        self._queue = deque([*failed, *self._queue])
        return [record.number for record in failed]

    def note(self, text: str) -> None:
        """A line for `log.txt`."""
        self.folder.note(text)

    @property
    def exhausted(self) -> bool:
        """Whether every trial has been given out and has ended."""
        given = len(self.records) >= self.space.search.trials or self._proposals.used_up
        return given and self._running == 0

    def close(self) -> None:
        """Writes `trials.csv` and takes away what no trial needs any more."""
        self._write_csv()
        self.folder.clear_lanes({record.number for record in self.records if record.state == "RUNNING"})

    # -- what came of it -------------------------------------------------------------------------------------------

    @property
    def best(self) -> Record | None:
        """The trial with the highest validation MAP over its evaluated epochs; the lowest number of equals."""
        return next(iter(self.ranking()), None)

    def ranking(self) -> list[Record]:
        """Trials that did not fail, best first."""
        ended = [record for record in self.records if record.state != "FAIL" and record.values]
        return sorted(ended, key=lambda record: (-(record.best_value or 0.0), record.number))

    def count(self, state: State) -> int:
        return sum(record.state == state for record in self.records)

    # -- inside ----------------------------------------------------------------------------------------------------

    def _add(self, number: int, config: Mapping[str, Value]) -> Record:
        record = Record(self._trial(number, config))
        self.records.append(record)
        self._cursor += [0] * (len(record.trial.save_at) - len(self._cursor))
        return record

    def _trial(self, number: int, config: Mapping[str, Value]) -> Trial:
        seed = mix(self.space.search.seed, "trial", number)
        # What a trial ends with may be worse than its best: that is kept. A lane file does not hold it.
        keep_best = self._checkpoints and self.horizon.open
        return replace(
            self.horizon.trial(number, config, seed, self.precision, self.basis),
            save_to=str(self.folder.checkpoint(number).absolute()) if self._checkpoints else None,
            # for processes whose current folder is another
            lane_file=None if keep_best else str(self.folder.lane(number).absolute()),
            save_at=self.horizon.rungs(config),
            keep_best=keep_best,
            output=self.folder.output_of(self.space.method, f"trial_{number}"),
        )

    def _forget(self, record: Record) -> None:
        """A failed trial is one that has not begun."""
        for rung in range(record._decided):
            value = record.values.best_until(record.trial.save_at[rung])
            assert value is not None
            self._asha.forget(rung, value)
        self._cursor = [min(cursor, record.number) for cursor in self._cursor]
        self._again.add(record.number)
        record.state, record.reason, record._left, record._decided = "RUNNING", "", False, 0
        record._flat = False
        record._cut(0)

    def _tell_again(self) -> bool:
        """Deterministic: tells the sampler of the new ends of trials that it has been told of before; returns whether
        there is none that it must wait for."""
        for number in sorted(one for one in self._again if one < self._told):
            if self.records[number].state == "RUNNING":
                return False
            self._tell_sampler(self.records[number])
            self._again.remove(number)
        return True

    def _take(self, record: Record, epoch: int, metrics: Mapping[str, float]) -> None:
        record.values.add(epoch, metrics["val_map"])
        record._seconds.append(metrics.get("seconds", 0.0))
        record.seconds += record._seconds[-1]

    def _decide_rung(self, record: Record, rung: int) -> None:
        epoch = record.trial.save_at[rung]
        value = record.values.best_until(epoch)
        assert value is not None
        record._decided = rung + 1
        if not record._reached(rung):
            assert record.ended_flat
            self._asha.add(rung, value)
        elif not self._asha.decide(rung, value):
            record._stopped_at = epoch
            record._cut(epoch)

    def _can_decide(self, record: Record, rung: int) -> bool:
        """Whether a trial's value at that rung, its next one, is known; that of a flat trial does not change."""
        if record._stopped_at is not None or record._decided != rung or not record._has(rung):
            return False
        return record._reached(rung) or record.ended_flat

    def _decide(self, record: Record, *, loading: bool = False) -> None:
        """Decides what can be decided now that `record` has changed, and ends what has its end."""
        if not self.deterministic:
            while self._can_decide(record, record._decided):
                self._decide_rung(record, record._decided)
            if record._left and not loading:
                self._end(record)
            return
        before = min(self._cursor, default=0)
        for rung in range(len(self._cursor)):
            while self._cursor[rung] < len(self.records):
                one = self.records[self._cursor[rung]]
                if self._can_decide(one, rung):
                    self._decide_rung(one, rung)
                elif self._may_reach(one, rung):
                    break
                self._cursor[rung] += 1
        if loading:
            return
        for one in {id(r): r for r in (*self.records[before:], record)}.values():
            if one._left and one.state == "RUNNING" and all(cursor > one.number for cursor in self._cursor):
                self._end(one)

    def _may_reach(self, record: Record, rung: int) -> bool:
        """Whether trials of higher number must wait at that rung for this one."""
        if record._stopped_at is not None or record._decided > rung or not record._has(rung):
            return False
        return record._reached(rung) or record.ended_flat or not record._left or self._goes_on(record)

    def _goes_on(self, record: Record) -> bool:
        """Whether a trial that had trained all its epochs was given more of them."""
        whole = record.state == "COMPLETE" and not record._flat and record._stopped_at is None
        return whole and record.values.last < record.trial.epochs

    def _end(self, record: Record) -> None:
        if record._stopped_at is not None:
            record.state, record.reason = "PRUNED", ""
        else:
            record.state = "FAIL" if record.reason else "COMPLETE"
        end: dict[str, Any] = {"trial": record.number, "state": record.state, "epochs": record.values.last}
        if record.reason:
            end["reason"] = record.reason
        if record.ended_flat:
            end["flat"] = True
        append_line(self.folder.curves, end, sync=True)
        self._running -= 1
        del record._seconds[:]
        self.folder.drop_lane(record.number)
        if not self.deterministic:
            self._tell_sampler(record)
        for listener in self._listeners:
            listener.ended(record)
        if time.monotonic() >= self._csv_due:
            self._write_csv()

    def _tell_sampler(self, record: Record) -> None:
        rungs = {
            epoch: record.values.best_until(epoch) for epoch in record.trial.save_at if epoch <= record.values.last
        }
        self._proposals.tell(
            record.number, record.state, record.best_value, {e: v for e, v in rungs.items() if v is not None}
        )

    def _load(self) -> None:
        self._proposals = Proposals(self.folder.journal, self.space)
        lines, torn = read_curves(self.folder.curves, repair=True)
        self.repaired = torn or self._proposals.repaired
        for number, config in enumerate(self._proposals.past()):
            self._add(number, config)
        for line in lines:
            if line["trial"] >= len(self.records):  # its proposal was synced before its first epoch
                journal = self.folder.journal.name
                raise UserError(
                    f"{self.folder.curves} names trial {line['trial']}, which {journal} does not know; "
                    f"restore {journal} from a copy"
                )
            record = self.records[line["trial"]]
            if "again" in line:
                self._decide(record, loading=True)
                self._forget(record)
            elif "epoch" in line:
                record.state, record._left = "RUNNING", False  # one that had ended was given more epochs
                self._take(record, line["epoch"], line)
            else:
                record.state, record.reason, record._left = line["state"], line.get("reason", ""), True
                record._flat = line.get("flat", False)
                record._cut(line["epochs"])
            self._decide(record, loading=True)
        if self.deterministic and self.records:
            self._decide(self.records[-1], loading=True)
        self._reopen()
        self._running = self.count("RUNNING")
        for record in self.records:
            # Its last line was written, its end was not. Where its weights were not either, it is trained again.
            trained = record.trial.ends(list(record.values.values())) and not self._lost_weights(record)
            if record.state == "RUNNING" and (record._stopped_at is not None or trained):
                for listener in self._listeners:
                    listener.started(record)
                self.tell(record.number)
            elif record.state != "RUNNING" and not self.deterministic:
                self._tell_sampler(record)
        self._queue = deque(record for record in self.records if record.state == "RUNNING" and not record._left)

    def _reopen(self) -> None:
        """Of a study that was given more epochs, the trials that trained all that they had go on, unless a rung that
        lies there now stops them, which is then their end. The sampler keeps the value that it was told."""
        for record in self.records:
            stopped = record.state == "COMPLETE" and record._stopped_at is not None
            if stopped or self._goes_on(record):
                record.state, record._left = "RUNNING", False
            if record.state != "RUNNING":
                del record._seconds[:]

    def _lost_weights(self, record: Record) -> bool:
        trial = record.trial
        return trial.save_to is not None and not is_left_by(self.folder.checkpoint(record.number), trial)

    def _write_csv(self) -> None:
        start = time.monotonic()
        hypers = list(self.records[0].trial.config) if self.records else []
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(["trial", "state", "epochs", "best_epoch", "val_map", *hypers, "seconds"])
        for record in self.records:
            best = record.best_value
            writer.writerow(
                [
                    record.number,
                    record.state,
                    record.values.last,
                    record.best_epoch if record.best_epoch is not None else "",
                    f"{best:.6f}" if best is not None else "",
                    *(record.trial.config[name] for name in hypers),
                    f"{record.seconds:.3f}",
                ]
            )
        write_text(self.folder.trials_csv, out.getvalue())
        end = time.monotonic()
        self._csv_due = end + max(_CSV_EVERY_SECONDS, _CSV_REST * (end - start))
