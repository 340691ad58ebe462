"""Writes the finals of a finished study to TensorBoard."""

from __future__ import annotations

from collections.abc import Sequence

from avtune.core.errors import UserError
from avtune.core.files import using
from avtune.core.trial import Trial
from avtune.data.dataset import Dataset
from avtune.engine.model import load_model
from avtune.finals.repeats import finalists
from avtune.finals.run_record import Result, on_record, runs_that_ended_well
from avtune.report.columns import logs_of
from avtune.report.winner_board import Embedded, FinalistRun, write_finalists, write_winner
from avtune.study.results import Results, read_results
from avtune.study.study import Study
from avtune.workflows.evaluate import read_embeddings


def write_finals(study: Study, dataset: Dataset) -> None:
    """Writes the finalists and the winner, from `repeats.jsonl` and `final/`.

    It is no further look at the test split: the model is the published one, which has been scored on it.

    Args:
        study: a finished one, or there is nothing to write.
        dataset: the one of the study.
    """
    results = read_results(study.folder)
    if results is None:
        return
    with using(study.folder.tensorboard):
        write_finalists(
            study.folder.tensorboard, _finalist_runs(study), logs_of(study.space), study.space.search.objective
        )
        card = study.folder.model_card.read_text(encoding="utf-8")
        write_winner(study.folder.tensorboard, results, card, _embedded(study, dataset, results))


def _finalist_runs(study: Study) -> list[FinalistRun]:
    """The runs of the finalists as the record has them; none where an older avtune wrote it, which named no runs."""

    def recorded(stage: str, names: Sequence[str], trials: Sequence[Trial]) -> list[Result]:
        return on_record(study.folder.repeats, trials)

    try:
        rows = finalists(study, runs_that_ended_well(study.folder.repeats), recorded)
    except UserError:
        return []
    return [
        FinalistRun(
            one.candidate.called, index, one.candidate.config, run.curve, one.epoch, failed=run.failure is not None
        )
        for one in rows
        for index, run in enumerate(one.results)
    ]


def _embedded(study: Study, dataset: Dataset, results: Results) -> Embedded | None:
    """What the published model makes of the test clips; of a training function, what it left."""
    folder, names = study.folder, dataset.class_names
    if folder.embeddings.is_file():
        return Embedded(*read_embeddings(folder.embeddings)[:3], names, dataset.views)
    if results.dataset.digest != dataset.digest:
        return None
    audio, visual = load_model(folder.final).embed(dataset.test.audio, dataset.test.visual)
    return Embedded(audio, visual, dataset.test.labels, names, dataset.views)
