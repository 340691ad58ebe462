"""The lines of `curves.jsonl`, one an epoch and one an end, checked as they are read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from avtune.core.errors import UserError
from avtune.core.files import stream_lines
from avtune.core.objective import value_of
from avtune.core.schema import is_number, is_whole
from avtune.core.trained_on import TrainedOn

EndState = Literal["COMPLETE", "PRUNED", "FAIL"]
_STATES: tuple[str, ...] = get_args(EndState)
ON = "on"
"""The key of an epoch's line that says where it was trained, where that is not where the trial's last epoch was."""


@dataclass(frozen=True, slots=True)
class EpochLine:
    """An epoch of a trial: its validation MAP, or the value of another objective, the device seconds that it took, all
    that the line says (these too, and the losses), and, of the first epoch there, where it was trained."""

    trial: int
    epoch: int
    value: float
    seconds: float
    said: Mapping[str, Any]
    on: TrainedOn | None = None


@dataclass(frozen=True, slots=True)
class EndLine:
    """How a trial ended.

    Attributes:
        trial: its number.
        state: how.
        epochs: how many count.
        reason: why it failed, else empty.
        flat: its curve ended it, before its last epoch and no rung.
    """

    trial: int
    state: EndState
    epochs: int
    reason: str = ""
    flat: bool = False

    def to_json(self) -> dict[str, int | str | bool]:
        """The line as it is written."""
        line: dict[str, int | str | bool] = {"trial": self.trial, "state": self.state, "epochs": self.epochs}
        if self.reason:
            line["reason"] = self.reason
        if self.flat:
            line["flat"] = True
        return line


@dataclass(frozen=True, slots=True)
class AgainLine:
    """A failed trial begins anew."""

    trial: int


Line = EpochLine | EndLine | AgainLine


def read_curves(path: Path, *, repair: bool) -> tuple[Iterator[Line], bool]:
    """The lines, in the order in which they were written, and whether the last one was torn by a kill and is left out.

    The epochs of a trial come one after the other from 1, then its end; a stopped trial's end may name an earlier
    epoch, the last one that counts. Where the study was given more epochs, a complete trial's end may be followed by
    further epochs and another end, or at once by an end: a new rung stopped it, it had become flat at its last epoch,
    or it failed before the next one. A line `{"again": [3, 5]}` has trials that failed begin anew: what is known of
    them is forgotten, and they come again from epoch 1. It is given here as an `AgainLine` for each.

    Args:
        repair: as in `read_lines`.

    Raises:
        UserError: a line is not as it should be (found when the iterator comes to it); names it.
    """
    lines, torn = stream_lines(path, repair=repair)
    return _checked(path, lines), torn


class CurveLines:
    """Checks the lines of a `curves.jsonl` one by one, in the order in which they were written.

    Args:
        path: of the file, for messages.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._number = 0  # of the last line
        self._last: dict[int, int] = {}  # epoch of each trial
        self._ended: dict[int, str] = {}

    def take(self, found: dict[str, Any]) -> list[Line]:
        """What the next line says; several lines for one that has several trials begin anew.

        Raises:
            UserError: the line is not as it should be.
        """
        self._number += 1
        several = found.get("again") if "trial" not in found else None
        again = [{"trial": trial, "again": True} for trial in several] if isinstance(several, list) else []
        lines = []
        for line in again or [found]:
            wrong = _wrong(line, self._last, self._ended)
            if wrong is not None:
                raise UserError(f"{self._path}, line {self._number} is damaged ({wrong}); restore the file from a copy")
            lines.append(_line(line))
        return lines


def _checked(path: Path, lines: Iterator[dict[str, Any]]) -> Iterator[Line]:
    checks = CurveLines(path)
    for found in lines:
        yield from checks.take(found)


def _line(line: dict[str, Any]) -> Line:
    """A line that has been checked."""
    if line.get("again") is True:
        return AgainLine(line["trial"])
    if "epoch" in line:
        said = {name: value for name, value in line.items() if name != ON} if ON in line else line
        on = TrainedOn.from_json(line[ON]) if ON in line else None
        return EpochLine(line["trial"], line["epoch"], value_of(line), line.get("seconds", 0.0), said, on)
    return EndLine(line["trial"], line["state"], line["epochs"], line.get("reason", ""), bool(line.get("flat")))


def _wrong(line: dict[str, Any], last: dict[int, int], ended: dict[int, str]) -> str | None:
    """What is wrong with a line, given the last epochs and the ends of the lines before it."""
    trial: Any = line.get("trial")
    if not is_whole(trial) or trial < 0:
        return "it names no trial"
    if line.get("again") is True and ended.get(trial) == "FAIL":
        del ended[trial]
        last[trial] = 0
        return None
    if trial in ended:
        further = "epoch" in line or line.get("state") in ("PRUNED", "FAIL") or line.get("flat") is True
        if ended.pop(trial) != "COMPLETE" or not further:
            return f"trial {trial} has ended before"
    known = last.get(trial, 0)
    if "epoch" in line:
        if not is_whole(line["epoch"]) or line["epoch"] != known + 1:
            return f"epoch {known + 1} of trial {trial} is missing"
        if not is_number(value_of(line)) or not is_number(line.get("seconds", 0.0)):
            return "a metric is no number"
        if ON in line and TrainedOn.from_json(line[ON]) is None:
            return "it does not say where the epoch was trained"
        last[trial] = known + 1
        return None
    state: Any = line.get("state")
    epochs = line.get("epochs")
    if state not in _STATES or not isinstance(line.get("reason", ""), str) or line.get("flat") not in (None, True):
        return "it is neither an epoch nor an end"
    allowed = range(1, known + 1) if state == "PRUNED" else (known,)
    if not is_whole(epochs) or epochs not in allowed or (state == "COMPLETE" and not known):
        return f"trial {trial} ends after another epoch than its last"
    ended[trial] = state
    return None
