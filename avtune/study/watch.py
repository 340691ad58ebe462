"""Watches a study from outside: its records as the files have them by now, whoever writes them.

Nothing is locked, written or repaired. Configurations come from Optuna's journal and what came of them from
`curves.jsonl`, as when a study is opened (`study.replay`), but only what was added since the last look is read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any, cast

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import BaseJournalBackend

from avtune.core.errors import UserError
from avtune.core.hyper import Value
from avtune.core.tail import Tail
from avtune.space.recorded import recorded_space
from avtune.space.settings import AUTO
from avtune.space.space import Space
from avtune.study.curves import CurveLines, EndLine
from avtune.study.ending import Stopped, flat_search
from avtune.study.folder import StudyFolder, like_of
from avtune.study.horizon import Horizon
from avtune.study.journal import NUMBER, readable
from avtune.study.origins import Origins
from avtune.study.record import Record
from avtune.study.remaining import Remaining, tried
from avtune.study.replay import replay_line
from avtune.study.rungs import RungPolicy, rung_policy
from avtune.study.sampler import first_turn
from avtune.study.trial_maker import TrialMaker

DefaultsOf = Callable[[str], Mapping[str, Value] | None]
"""The default configuration of a method, by its name; None where it cannot be known here."""


class StudyWatch:
    """A study that another process may be working on. `look` brings `records` up to date.

    Args:
        folder: of the study.
        defaults_of: asked only where something depends on it: with an open horizon and a batch size that is searched,
            rungs are counted in steps of the default one; and the default configuration does not count for
            `search.stop_when_flat`.

    Attributes:
        settings: what `study.yaml` says.
        space: what is searched.
        horizon: how long trials train; None where the rungs cannot be known.
        records: of the trials suggested so far, by number.

    Raises:
        UserError: a file is damaged.
    """

    def __init__(self, folder: StudyFolder, defaults_of: DefaultsOf) -> None:
        self.folder = folder
        self._defaults_of = defaults_of
        self._open()

    def look(self) -> None:
        """Takes what the files say since the last look.

        Raises:
            UserError: one is damaged.
        """
        if self._made != self._stamp() or self._curves.is_another() or self._journal.is_another():
            self._open()
        else:
            self._read()

    def _stamp(self) -> tuple[int, int]:
        """Of `study.yaml`: it is replaced where a study goes on with other settings."""
        state = self.folder.study_yaml.stat()
        return state.st_ino, state.st_mtime_ns

    def _open(self) -> None:
        """Reads everything."""
        self._made = self._stamp()
        self.settings = self.folder.settings()
        self.space = self._space()
        self._remaining = Remaining(self.space)
        self.records: list[Record] = []
        self._curves, self._lines = Tail(self.folder.curves), CurveLines(self.folder.curves)
        self._journal = _Journal(self.folder)
        deterministic, search = bool(self.settings["deterministic"]), self.space.search
        self._rungs: RungPolicy = rung_policy(deterministic=deterministic, factor=self.space.early_stopping.factor)
        lag = search.lag if deterministic else None
        self._flat = flat_search(search.stop_when_flat, self._origins(), self.records, lag)
        self._read()
        ended = not deterministic and Stopped.of(self.settings) is not None  # see `Study._end_running`
        for record in self.records:
            if record.has_more_epochs and not ended:  # the study was given more epochs since
                record.reopen()

    def _space(self) -> Space:
        """The recorded space; `horizon` follows from it."""
        space = recorded_space(self.settings["space"], self.folder.study_yaml)
        rows = int(self.settings.get("rows", 0))
        self.horizon: Horizon | None = None
        searched = any(axis.name == "batch_size" for axis in space.axes)
        if space.early_stopping.epochs == AUTO and searched:
            defaults = self._defaults_of(space.method)
            if defaults is None:
                return space
            space = with_defaults(space, defaults)
        if rows or space.early_stopping.epochs != AUTO:
            self.horizon = Horizon(space, rows)
        return space

    def _origins(self) -> Origins:
        start = self.settings.get("start", ())
        defaults = self._defaults_of(self.space.method) if self.space.search.stop_when_flat else None
        default = first_turn(self.space) + len(start) if defaults is None else None
        point = None if defaults is None else with_defaults(self.space, defaults).default_point()
        return Origins(self.space, [*start, *like_of(self.settings)], point or default, self.records)

    def _read(self) -> None:
        added = self._curves.take()  # before the journal: what they name is there already
        for number, params in sorted(self._journal.added().items()):
            if number == len(self.records):  # else it is one that failed and was trained again
                self._add(number, self.space.configuration(params))
        for found in added:
            for line in self._lines.take(found):
                record = replay_line(line, self.folder, self.records, self._rungs, self._restart)
                if isinstance(line, EndLine):
                    self._flat.ended(record)

    @property
    def trials(self) -> int:
        """How many trials there will be, as far as is known."""
        known, asked = len(self.records), self.space.search.trials
        if known >= asked:
            return known
        if Stopped.of(self.settings) is not None or self._flat.is_flat(known):
            return known
        return known if self._is_used_up() else asked

    def _is_used_up(self) -> bool:
        """Whether every configuration of the space has been suggested."""
        return self._remaining.used_up(tried(self.space, (record.trial.config for record in self.records)))

    def _add(self, number: int, config: Mapping[str, Value]) -> None:
        horizon = self.horizon or Horizon(_without_rungs(self.space))
        trial = TrialMaker(self.folder, horizon, str(self.settings["precision"]), "", False).make(number, config)
        record = Record(trial)
        self.records.append(record)
        self._rungs.added(record)

    def _restart(self, record: Record) -> None:
        self._rungs.restarted(record)
        self._flat.restarted(record)
        record.begin_again()


def with_defaults(space: Space, defaults: Mapping[str, Value]) -> Space:
    """The space with the method's defaults of what is searched."""
    axes = tuple(replace(axis, default=defaults.get(axis.name, axis.default)) for axis in space.axes)
    return replace(space, axes=axes)


def _without_rungs(space: Space) -> Space:
    """Of a space whose rungs are not known: its trials are compared nowhere; how each ended is in the files."""
    most = 100_000
    return replace(space, early_stopping=replace(space.early_stopping, epochs=most, grace=most, steps=0))


class _Journal:
    """The configurations that a journal holds, read and never written."""

    def __init__(self, folder: StudyFolder) -> None:
        self._path = folder.journal
        self._lines = _Lines(Tail(folder.journal))
        self._storage: JournalStorage | None = None
        self._known = 0

    def is_another(self) -> bool:
        return self._lines.tail.is_another()

    def added(self) -> dict[int, dict[str, Value]]:
        """The parameters of the trials that came since the last call, by our numbers.

        Raises:
            UserError: the journal is damaged.
        """
        with readable(self._path):
            if self._storage is None:
                optuna.logging.set_verbosity(optuna.logging.ERROR)
                self._storage = JournalStorage(self._lines)
            studies = self._storage.get_all_studies()
            if not studies:
                return {}
            trials = self._storage.get_all_trials(
                self._storage.get_study_id_from_name(studies[0].study_name), deepcopy=False
            )
            news, self._known = trials[self._known :], len(trials)
            numbered = [(trial.user_attrs.get(NUMBER), trial.params) for trial in news]
        return {number: cast(dict[str, Value], dict(params)) for number, params in numbered if number is not None}


class _Lines(BaseJournalBackend):
    """What Optuna's journal storage reads from."""

    def __init__(self, tail: Tail) -> None:
        self.tail = tail

    def read_logs(self, log_number_from: int) -> Iterable[dict[str, Any]]:
        return self.tail.take()  # it asks for what came since it asked last

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        raise UserError(f"a study that is looked at is not written to: {logs}")
