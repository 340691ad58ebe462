"""The one way to open a study: what its append-only files say becomes its records.

The configurations come from Optuna's journal (`study.sampler`), what came of them from `curves.jsonl`. Every line goes
through the same rung policy as when it was written, so that its decisions are made again and need no file of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from avtune.core.errors import UserError
from avtune.core.run_files import is_left_by
from avtune.study.curves import AgainLine, EndLine, EpochLine, Line, read_curves
from avtune.study.folder import StudyFolder
from avtune.study.record import Record
from avtune.study.rungs import RungPolicy


def replay(
    folder: StudyFolder,
    records: Sequence[Record],
    rungs: RungPolicy,
    restart: Callable[[Record], None],
    ended: Callable[[Record], None],
) -> bool:
    """Reads `curves.jsonl` into the records of a study that is being opened. A last line torn by a kill is cut off.

    Afterwards a record is RUNNING where its trial has no end yet, and where its study was given more epochs, with which
    it goes on.

    Args:
        folder: of the study.
        records: of all trials that the journal knows, as they begin.
        rungs: the policy, which knows the records and has decided nothing yet.
        restart: has a failed trial begin again.
        ended: is told of each end, in their order.

    Returns:
        Whether a line was cut off.

    Raises:
        UserError: the file is damaged, or names a trial that the journal does not know.
    """
    lines, torn = read_curves(folder.curves, repair=True)
    for line in lines:
        record = replay_line(line, folder, records, rungs, restart)
        if isinstance(line, EndLine):
            ended(record)
    for record in records:
        _reopen(record)
    return torn


def replay_line(
    line: Line,
    folder: StudyFolder,
    records: Sequence[Record],
    rungs: RungPolicy,
    restart: Callable[[Record], None],
) -> Record:
    """Has one line of `curves.jsonl` happen to the record that it names, and has the policy decide; see `replay`.

    Raises:
        UserError: the line names a trial that the journal does not know.
    """
    if line.trial >= len(records):  # its proposal was synced before its first epoch
        journal = folder.journal.name
        raise UserError(
            f"{folder.curves} names trial {line.trial}, which {journal} does not know; restore {journal} from a copy"
        )
    record = records[line.trial]
    if isinstance(line, AgainLine):
        rungs.changed(record)
        restart(record)
    elif isinstance(line, EpochLine):
        record.read_epoch(line)
    else:
        record.read_end(line)
    rungs.changed(record)
    return record


def _reopen(record: Record) -> None:
    """Of a study that was given more epochs, the trials that trained all that they had go on, unless a rung that lies
    there now stops them, which is then their end. The sampler keeps the value that it was told."""
    stopped = record.state == "COMPLETE" and record.stopped_at is not None
    if stopped or record.has_more_epochs:
        record.reopen()
    if record.state != "RUNNING":
        record.release()


def lacks_only_its_end(record: Record, folder: StudyFolder) -> bool:
    """Whether a running trial is stopped or trained, and was killed before its end was written. One whose weights were
    not written either is trained again."""
    if record.state != "RUNNING" or record.stopped_at is not None:
        return record.state == "RUNNING"
    trial = record.trial
    if not trial.ends(list(record.values.values())):
        return False
    return trial.save_to is None or is_left_by(folder.checkpoint(record.number), trial)
