"""`best.yaml`: the winner of a study and its finalists."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from avtune.core.files import read_yaml, to_yaml, write_text
from avtune.core.hyper import Value
from avtune.core.objective import MAP, VALUE
from avtune.core.schema import fitting
from avtune.study.folder import StudyFolder

_DEFAULT = "default"
_FINALIST = {
    "trial": (int, _DEFAULT),
    "default?": bool,
    "epoch": int,
    "val_map_mean": (float, None),
    "val_map_sd": (float, None),
    "seeds?": [float],
    "dropped?": bool,
    "failure?": str,
}
_BEST = {
    "method?": str,
    "trial": int,
    "epoch": (int, None),
    "val_map": (float, None),
    "config": {str: (float, str, bool)},
    "retrain_epochs?": int,
    "objective?": str,
    "finalists": [_FINALIST],
}


@dataclass(frozen=True)
class Finalist:
    """A configuration that was repeated over seeds.

    Attributes:
        trial: its number; None for the default configuration where it was no trial.
        epoch: the one with the highest mean validation MAP; 0 where a seed failed.
        mean, sd: validation MAP over the seeds at that epoch, and its standard deviation, 0 for one seed; None where a
            seed failed.
        is_default: it is the default configuration; None in files of an avtune that did not say so.
        seeds: validation MAP of each seed at that epoch; None in files of an avtune that did not keep them.
        dropped: it could not win any more and was given no further seeds; None where it has all of them.
        failure: why a seed failed; None where none did.
    """

    trial: int | None
    epoch: int
    mean: float | None
    sd: float | None
    is_default: bool | None = None
    seeds: tuple[float, ...] | None = None
    failure: str | None = None
    dropped: bool | None = None

    @property
    def spread(self) -> float | None:
        """`sd`; None also for one seed, of which it says nothing."""
        return None if self.seeds is not None and len(self.seeds) == 1 else self.sd

    @property
    def called(self) -> str:
        """Its trial's number, or `default`."""
        return _DEFAULT if self.trial is None else str(self.trial)

    def to_json(self) -> dict[str, Any]:
        """As `best.yaml` holds it."""
        facts = {
            "trial": _DEFAULT if self.trial is None else self.trial,
            "default": self.is_default,
            "epoch": self.epoch,
            "val_map_mean": self.mean,
            "val_map_sd": self.sd,
            "seeds": None if self.seeds is None else list(self.seeds),
            "dropped": self.dropped,
            "failure": self.failure,
        }
        left_out = [key for key in ("default", "seeds", "dropped", "failure") if facts[key] is None]
        return {key: value for key, value in facts.items() if key not in left_out}

    @staticmethod
    def from_json(facts: Mapping[str, Any]) -> Finalist:
        """From a checked entry of `best.yaml`."""
        return Finalist(
            trial=None if facts["trial"] == _DEFAULT else facts["trial"],
            epoch=facts["epoch"],
            mean=facts["val_map_mean"],
            sd=facts["val_map_sd"],
            is_default=facts.get("default"),
            seeds=None if "seeds" not in facts else tuple(facts["seeds"]),
            failure=facts.get("failure"),
            dropped=facts.get("dropped"),
        )


@dataclass(frozen=True)
class Best:
    """What `best.yaml` holds.

    Attributes:
        trial: the number of the winner.
        epoch, val_map: its best epoch in the search and the validation MAP there; None where it has none.
        config: its hyper-parameters, complete.
        finalists: best first, then those that were dropped, failed ones last.
        objective: what the study maximises; where that is not MAP, its values have `val_objective` in their names.
        method: of the study; None in files of an avtune that did not say so.
        retrain_epochs: how long the finalists' curves say that it is retrained; None in files of an avtune that did
            not say so.
    """

    trial: int
    epoch: int | None
    val_map: float | None
    config: Mapping[str, Value]
    finalists: tuple[Finalist, ...]
    retrain_epochs: int | None = None
    objective: str = MAP.text
    method: str | None = None

    def to_json(self) -> dict[str, Any]:
        """As `best.yaml` holds it."""
        facts = {
            **({} if self.method is None else {"method": self.method}),
            "trial": self.trial,
            "epoch": self.epoch,
            "val_map": self.val_map,
            "config": dict(self.config),
            **({} if self.retrain_epochs is None else {"retrain_epochs": self.retrain_epochs}),
            "finalists": [one.to_json() for one in self.finalists],
        }
        if self.objective == MAP.text:
            return facts
        return {"objective": self.objective, **_renamed(facts, "val_map", VALUE)}

    @staticmethod
    def from_json(facts: Any, path: Path) -> Best:
        """From what was read from `path`. What a newer avtune says beside it is left out.

        Raises:
            UserError: it is damaged; names the file and the field.
        """
        other = isinstance(facts, dict) and "objective" in facts
        checked: Mapping[str, Any] = fitting(_renamed(facts, VALUE, "val_map") if other else facts, _BEST, path)
        return Best(
            trial=checked["trial"],
            epoch=checked["epoch"],
            val_map=checked["val_map"],
            config=checked["config"],
            finalists=tuple(map(Finalist.from_json, checked["finalists"])),
            retrain_epochs=checked.get("retrain_epochs"),
            objective=checked.get("objective", MAP.text),
            method=checked.get("method"),
        )


def _renamed(facts: Any, old: str, new: str) -> Any:
    """The same with other names for values; of the finalists too."""
    if isinstance(facts, list):
        return [_renamed(one, old, new) for one in facts]
    if not isinstance(facts, dict):
        return facts
    deep = {key: _renamed(value, old, new) if key == "finalists" else value for key, value in facts.items()}
    return {str(key).replace(old, new, 1) if str(key).startswith(old) else key: value for key, value in deep.items()}


def write_best(folder: StudyFolder, best: Best) -> None:
    """Writes `best.yaml`."""
    write_text(folder.best_yaml, to_yaml(best.to_json()))


def read_best(folder: StudyFolder) -> Best | None:
    """`best.yaml`, None before the finalists are known.

    Raises:
        UserError: it cannot be read, or is damaged.
    """
    path = folder.best_yaml
    return Best.from_json(read_yaml(path), path) if path.is_file() else None
