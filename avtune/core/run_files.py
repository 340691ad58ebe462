"""The files that training runs leave, safetensors that carry the name of their run and the epoch they are of."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open

from avtune.core.run_key import training_key
from avtune.core.trial import Trial


@dataclass(frozen=True)
class Origin:
    """What a file says of where it comes from.

    Attributes:
        run: `training_key` of the run.
        epochs: after how many epochs of it, from 1.
    """

    run: str
    epochs: int

    def metadata(self, kind: str) -> dict[str, str]:
        """For the header of a file of that kind, e.g. `avtune weights 2`."""
        return {"format": kind, "run": self.run, "epochs": str(self.epochs)}


def origin(trial: Trial, epochs: int) -> Origin:
    """Of what a trial leaves after so many epochs."""
    return Origin(training_key(trial), epochs)


def read_origin(path: Path) -> Origin | None:
    """What a file says of itself; None where there is no file, or none that says it."""
    about = _metadata(path)
    try:
        return Origin(about["run"], int(about["epochs"]))
    except (LookupError, ValueError):
        return None


def is_left_by(path: Path, trial: Trial) -> bool:
    """Whether there is a file that this run left."""
    return read_run(path) == training_key(trial)


def read_run(path: Path) -> str | None:
    """The run that a file names, see `read_origin`."""
    return _metadata(path).get("run")


def _metadata(path: Path) -> dict[str, str]:
    try:
        with safe_open(path, framework="np") as file:
            return file.metadata() or {}
    except (OSError, SafetensorError, ValueError, TypeError):
        return {}
