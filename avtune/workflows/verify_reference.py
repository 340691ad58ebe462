"""Compares the reference row of a finished study with the runs that it must come from."""

from __future__ import annotations

from collections.abc import Sequence

from avtune.core.errors import UserError
from avtune.core.trial import Trial
from avtune.data.dataset import Dataset
from avtune.finals.reference import reference_horizon, repeat_reference
from avtune.finals.retraining import retraining
from avtune.finals.run_record import Result, on_record
from avtune.finals.select import Repeated
from avtune.study.folder import StudyFolder
from avtune.study.results import Results
from avtune.study.study import Study
from avtune.workflows.verify_model import Check, check, skipped

_FILE, _WHAT = "final/metrics.json", "reference, made again from repeats.jsonl"


def check_reference(
    folder: StudyFolder, study: Study, dataset: Dataset, results: Results, protocol: str
) -> list[Check]:
    """Nothing to compare where the study has none.

    Args:
        folder: of the study.
        study: as its files say.
        results: what its `metrics.json` holds.
        protocol: of the retraining.
    """
    horizon = reference_horizon(study.horizon)
    if results.reference is None:
        if horizon is None:
            return []
        why = "it has no such row: an older avtune wrote none, or its runs failed (log.txt)"
        return [skipped(_FILE, _WHAT, why)]
    if horizon is None:
        return [Check(_FILE, _WHAT, f"it has the row {results.reference_method}; the study's settings have none")]

    def known(trials: Sequence[Trial]) -> list[Result]:
        return on_record(folder.repeats, trials)

    def repeated() -> Repeated:
        try:
            return repeat_reference(horizon, dataset, study.precision, known)
        except UserError:
            if not any(horizon.space.validation.more):
                raise
            return repeat_reference(horizon, dataset, study.precision, known, older=True)

    def compare() -> str:
        row = repeated()
        if row.failure is not None:
            return f"it has a row; its runs failed: {row.failure}"
        trial = retraining(horizon, dataset, protocol).trial(row.candidate.config, 0, row.epoch, len(row.curve))
        made = (horizon.space.method, trial.epochs)
        assert results.reference is not None
        told = (results.reference_method, results.reference.epochs)
        return (
            ""
            if told == made
            else f"it is {told[0]} after {told[1]} epochs; made again it is {made[0]} after {made[1]}"
        )

    return [check(_FILE, _WHAT, compare)]
