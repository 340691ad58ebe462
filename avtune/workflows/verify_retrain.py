"""Compares a retrained winner with the run that it must come from, and with that run done once more."""

from __future__ import annotations

import io
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np

from avtune.core.objective import value_of
from avtune.core.run_files import read_run
from avtune.core.run_key import training_key
from avtune.core.trial import Trial
from avtune.engine.model import EMBEDDINGS, WEIGHTS
from avtune.finals.retraining import Retraining
from avtune.finals.run_record import Curve
from avtune.runners.work import work
from avtune.study.folder import StudyFolder
from avtune.study.results import Results
from avtune.workflows.verify_model import Check, check, difference

RETRAIN_TOLERANCE = 1e-4
"""Largest difference of MAP between two trainings of one run, in fp32 on one kind of device: products of another number
of lanes add up in another order."""


def check_retraining(
    folder: StudyFolder, way: Retraining, trial: Trial, results: Results, *, train: bool
) -> list[Check]:
    """Checks whose weights are in `final/`.

    Args:
        folder: of the study.
        way: how its winner is retrained.
        trial: the run of the winner's first seed.
        results: what its `metrics.json` holds.
        train: do it once more and compare its scores.
    """
    embeddings = folder.embeddings.is_file()
    file = "final/" + (EMBEDDINGS if embeddings else WEIGHTS)
    checks = []
    found, wanted = (_run_of(folder.embeddings) if embeddings else read_run(folder.model)), training_key(trial)
    problem = "" if found == wanted else f"it is of the run {found}; the winner's first seed is the run {wanted}"
    checks.append(Check(file, "it is of the winner's first seed", problem))
    if train:
        checks.append(check(file, "trained once more", lambda: _again(way, trial, results)))
    return checks


def _run_of(embeddings: Path) -> str | None:
    with np.load(io.BytesIO(embeddings.read_bytes()), allow_pickle=False) as file:
        return str(file["run"]) if "run" in file.files else None


def _again(way: Retraining, trial: Trial, results: Results) -> str:
    curve: Curve = {}

    def report(epoch: int, values: dict[str, float]) -> bool:
        value = value_of(values)
        if value is not None:
            curve[epoch] = value
        return True

    with tempfile.TemporaryDirectory(prefix="avtune-verify-") as place:
        run = replace(trial, save_to=str(Path(place) / "run.safetensors"))
        failure = work(run, [way.data], report, device="cpu")
        if failure is not None:
            return f"it failed: {failure.line}"
        return difference(way.scores(run, curve), results.test, RETRAIN_TOLERANCE)
