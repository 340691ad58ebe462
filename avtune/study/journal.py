"""The journal of one study: an Optuna journal file, which Optuna's own tools open.

Every configuration is one line, written once it is a trial; its end follows, with what Optuna's dashboard shows beside
its value as attributes. What Optuna has as ended is so for good:
where a failed trial was trained again and did not fail, a further one with its number takes its place. Our numbers are
attributes of Optuna's trials, whose own numbers then differ from them.
"""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState

from avtune.core.errors import UserError
from avtune.core.files import append_line, using
from avtune.core.hyper import Value
from avtune.core.schema import is_number, is_whole
from avtune.space.space import Space

NUMBER = "trial"
"""The attribute of an Optuna trial that holds our number."""
ENQUEUED = "enqueued"
"""The attribute that holds Optuna's number of the waiting trial whose configuration a trial of ours has."""
LEFT_OUT = "left_out"
"""The attribute of a waiting trial that was tried and left out: why. Its state is FAIL then."""
# What Optuna raises on a journal that it did not write.
_DAMAGE = (
    LookupError,
    TypeError,
    ValueError,
    AttributeError,
    AssertionError,
    ArithmeticError,
    RecursionError,
    optuna.exceptions.OptunaError,
)


class Journal:
    """The trials that a journal file holds, by our numbers.

    Args:
        path: the file; a last line torn by a kill is cut off.
        space: what is searched.

    Attributes:
        params: the values of the axes of each trial, without those whose condition does not hold.
        ended: the states of those that have ended.
        left_out: why configurations that a script has enqueued were left out, by Optuna's numbers; see `leave_out`.
        repaired: whether a line was cut off.
    """

    def __init__(self, path: Path, space: Space) -> None:
        self._space = space
        self._distributions = space.distributions()
        self.params: dict[int, dict[str, Value]] = {}
        self.ended: dict[int, TrialState] = {}
        self.left_out: dict[int, str] = {}
        self._ids: dict[int, int] = {}  # of Optuna, of those that had not ended when it was read
        self._taken: set[int] = set()  # Optuna's numbers of waiting trials
        self._waiting: dict[int, dict[str, Any]] = {}
        with using(path):
            self.repaired = _cut_torn_line(path)
            self._file = _File(path)
        with readable(path):
            _check_last_line(path)
            self._storage = JournalStorage(self._file)
            self._study_id = _only_study(self._storage, path.absolute().parent.name)

    def read(self) -> Iterator[tuple[int, FrozenTrial]]:
        """Our numbers and Optuna's trials in the order of the file, checked and taken into `params` and `ended` as they
        come.

        Raises:
            ValueError: one is not what we wrote, or of another space.
        """
        for trial in self._storage.get_all_trials(self._study_id, deepcopy=False):
            number = trial.user_attrs.get(NUMBER)
            if number is None:  # enqueued by a user's script; or a proposal that never became a trial (older journals)
                self._wait(trial)
                continue
            self._check(number, trial)
            self._taken.add(trial.user_attrs.get(ENQUEUED, -1))
            self.params[number] = self._space.active_part(trial.params)
            if trial.state.is_finished():
                self.ended[number] = trial.state
            else:
                self._ids[number] = self._storage.get_trial_id_from_study_id_trial_number(self._study_id, trial.number)
            yield number, trial
        if sorted(self.params) != list(range(len(self.params))):
            raise ValueError("the numbers of its trials have gaps")
        self._file.was_read()

    def enqueued(self) -> dict[int, dict[str, Any]]:
        """The configurations that a script of the user's has enqueued (`optuna.Study.enqueue_trial`) and that no trial
        has yet, by Optuna's numbers. They may be of part of the axes, or of no legal values."""
        if self._file.has_grown():
            for trial in self._storage.get_all_trials(self._study_id, deepcopy=False, states=(TrialState.WAITING,)):
                self._wait(trial)
            self._file.was_read()
        return {number: params for number, params in self._waiting.items() if number not in self._taken}

    def _wait(self, trial: FrozenTrial) -> None:
        fixed, why = trial.system_attrs.get("fixed_params"), trial.user_attrs.get(LEFT_OUT)
        if trial.state == TrialState.FAIL and isinstance(why, str):
            self.left_out[trial.number] = why
        if trial.state == TrialState.WAITING and isinstance(fixed, dict):
            self._waiting[trial.number] = fixed

    def leave_out(self, enqueued: int, why: str) -> None:
        """Marks a configuration that a script has enqueued as failed, so that it is not tried again.

        Args:
            enqueued: Optuna's number of the waiting trial.
            why: in words.
        """
        trial_id = self._storage.get_trial_id_from_study_id_trial_number(self._study_id, enqueued)
        self._storage.set_trial_user_attr(trial_id, LEFT_OUT, why)
        self._storage.set_trial_state_values(trial_id, TrialState.FAIL)
        del self._waiting[enqueued]
        self.left_out[enqueued] = why

    def add(self, number: int, params: Mapping[str, Value], enqueued: int | None = None) -> None:
        """Adds a trial; afterwards it survives a power loss.

        Args:
            enqueued: Optuna's number of the waiting trial that it is.

        Raises:
            StorageError: it cannot be written.
        """
        facts: dict[str, Value] = {} if enqueued is None else {ENQUEUED: enqueued}
        if enqueued is not None:
            self._taken.add(enqueued)
        trial = self.trial(number, params, TrialState.RUNNING, facts)
        self._ids[number] = self._storage.create_new_trial(self._study_id, trial)
        self._file.sync()  # before the curves name it; what is told later can be told again
        self.params[number] = self._space.active_part(params)

    def end(
        self,
        number: int,
        state: TrialState,
        values: Sequence[float] | None,
        rungs: Mapping[int, float],
        facts: Mapping[str, Value],
    ) -> None:
        """Writes how a trial ended, see `Sampler.tell`."""
        trial_id = self._ids.pop(number)
        for name, value in facts.items():  # before the end: Optuna changes no trial that has ended
            self._storage.set_trial_user_attr(trial_id, name, value)
        for epoch, seen in rungs.items():
            self._storage.set_trial_intermediate_value(trial_id, epoch, seen)
        self._storage.set_trial_state_values(trial_id, state, values)
        self.ended[number] = state

    def begin_again(self, number: int) -> FrozenTrial | None:
        """Begins a trial in the place of the failed one with that number, which did not fail when it was trained again;
        its end follows, line by line as that of any other: Optuna's page in the browser reads rungs from such lines
        alone. None where there is one without an end, as a kill leaves it."""
        if number in self._ids:
            return None
        trial = self.trial(number, self.params[number], TrialState.RUNNING)
        self._ids[number] = self._storage.create_new_trial(self._study_id, trial)
        return trial

    def times(self) -> dict[int, tuple[float, float | None]]:
        """When each trial was suggested, and when it was told how it ended (None before), in seconds since 1970."""
        found: dict[int, tuple[float, float | None]] = {}
        for trial in self._storage.get_all_trials(self._study_id, deepcopy=False):
            number = trial.user_attrs.get(NUMBER)
            if number is None or trial.datetime_start is None:
                continue
            begun, end = trial.datetime_start.timestamp(), trial.datetime_complete
            begun = min(begun, found[number][0]) if number in found else begun  # trained again after a failure
            found[number] = begun, None if end is None else end.timestamp()
        return found

    def trial(
        self,
        number: int,
        params: Mapping[str, Value],
        state: TrialState,
        facts: Mapping[str, Value] | None = None,
    ) -> FrozenTrial:
        """A trial as the journal holds it."""
        return optuna.trial.create_trial(
            state=state,
            params=dict(params),
            distributions={name: one for name, one in self._distributions.items() if name in params},
            user_attrs={NUMBER: number, **(facts or {})},
        )

    def _check(self, number: Any, trial: FrozenTrial) -> None:
        """Raises:
        ValueError: what the journal says of a trial is not what we wrote.
        """
        if not is_whole(number) or (number in self.params and self.ended.get(number) != TrialState.FAIL):
            raise ValueError("a trial's number is missing or there twice")
        if number in self.params and self.params[number] != trial.params:
            raise ValueError(f"trial {number} is there with two configurations")
        searched = {axis.name for axis in self._space.axes if axis.is_searched(trial.params)}
        if trial.distributions != {
            name: one for name, one in self._distributions.items() if name in searched
        } or not all(axis.contains(trial.params[axis.name]) for axis in self._space.axes if axis.name in searched):
            raise ValueError(f"trial {number} is of another space")
        values = [*(trial.values or []), *trial.intermediate_values.values()]
        if not all(map(is_number, values)) or (trial.state == TrialState.COMPLETE and len(trial.values or []) != 1):
            raise ValueError(f"the value of trial {number} is no number")


class _File(JournalFileBackend):
    """Optuna's journal file without its lock, which would outlive a killed driver (the study folder is locked as a
    whole), and without its wait for the disk at every line."""

    def __init__(self, path: Path) -> None:
        super().__init__(str(path))
        self._path = path
        self._written = 0  # by us, since it was read
        self._known = 0  # bytes, when it was read

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        for log in logs:
            self._written += append_line(self._path, log, checksum=False)  # lines that Optuna reads

    def was_read(self) -> None:
        """All that is in the file now is known."""
        self._known, self._written = self._path.stat().st_size, 0

    def has_grown(self) -> bool:
        """Whether anyone else has written to it since it was read."""
        return self._path.stat().st_size != self._known + self._written

    def sync(self) -> None:
        """What has been written survives a power loss."""
        with using(self._path):
            handle = os.open(self._path, os.O_RDONLY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)


def _only_study(storage: JournalStorage, name: str) -> int:
    """The id of the journal's study. A new one has the name of its folder, for those who open the journal with Optuna;
    a folder that was moved keeps the one it had, and older journals say `avtune`.

    Raises:
        ValueError: there are several.
    """
    studies = storage.get_all_studies()
    if not studies:
        made = optuna.create_study(storage=storage, study_name=name, direction="maximize")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            made.set_metric_names(["validation MAP"])  # what plots call their axis
        studies = storage.get_all_studies()
    if len(studies) > 1:
        raise ValueError(f"it holds {len(studies)} studies")
    found: int = storage.get_study_id_from_name(studies[0].study_name)
    return found


def _cut_torn_line(path: Path) -> bool:
    """Cuts off a last line without a line end; returns whether there was one."""
    if not path.exists():
        return False
    if not path.is_file():
        raise UserError(f"{path} is no regular file; restore it from a copy")
    data = path.read_bytes()
    end = data.rfind(b"\n") + 1
    if end == len(data):
        return False
    os.truncate(path, end)
    return True


def _check_last_line(path: Path) -> None:
    """Optuna leaves out a last line that is no JSON, as one that is being written, and stumbles over it once another
    one follows.

    Raises:
        ValueError: it is no JSON.
    """
    lines = path.read_bytes().splitlines() if path.exists() else []
    if lines:
        json.loads(lines[-1])


@contextmanager
def readable(journal: Path) -> Iterator[None]:
    """Turns what a damaged journal leads to, whoever notices it, into a sentence.

    Raises:
        UserError: the journal is damaged.
    """
    try:
        yield
    except UserError:
        raise
    except _DAMAGE as error:
        said = " ".join(str(error).split())[:120] or type(error).__name__
        raise UserError(f"{journal} is damaged ({said}); restore it from a copy") from error
