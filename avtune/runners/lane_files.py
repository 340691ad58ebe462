"""The states of running trials' lanes on disk: a trial goes on when its engine or the whole search was killed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save as serialise

from avtune.core.run_key import training_key
from avtune.core.schema import misfit
from avtune.core.trial import Trial
from avtune.lanes.modules import Tensors
from avtune.runners.study_files import SeenFiles, StudyFiles

_FORMAT = "avtune lane 3"


class LaneFiles:
    """Implements `engine.lane_states.LaneFiles`.

    Args:
        files: reaches them.
    """

    def __init__(self, files: StudyFiles | None = None) -> None:
        self._files = files or SeenFiles()

    def save(self, trial: Trial, values: Sequence[float], folds: Sequence[Tensors]) -> None:
        """One file a trial, replaced as a whole."""
        assert trial.lane_file is not None
        tensors = {f"{fold}.{name}": value for fold, state in enumerate(folds) for name, value in state.items()}
        about = {
            "format": _FORMAT,
            "run": training_key(trial),
            "values": json.dumps(list(values)),
            "folds": str(len(folds)),
        }
        self._files.write(Path(trial.lane_file), serialise(tensors, about))

    def load(self, trial: Trial) -> tuple[Sequence[float], Sequence[Tensors]] | None:
        """A file that cannot be read is no state: the trial then starts again, with the same
        result."""
        assert trial.lane_file is not None
        try:
            with self._files.reading(Path(trial.lane_file)) as path, safe_open(path, framework="pt") as file:
                about = file.metadata() or {}
                if about.get("format") != _FORMAT or about.get("run") != training_key(trial):
                    return None
                names = list(file.keys())
                count, values = int(about["folds"]), json.loads(about["values"])
                if not 0 < count <= max(1, len(names)) or misfit(values, [float]) is not None or not values:
                    return None
                folds: list[Tensors] = [{} for _ in range(count)]
                for name in names:
                    fold, _, tensor = name.partition(".")
                    folds[int(fold)][tensor] = file.get_tensor(name)
                return values, folds
        except (RecursionError, OSError, SafetensorError, LookupError, ValueError, TypeError, RuntimeError):
            return None
