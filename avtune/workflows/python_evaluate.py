"""From the arguments of `avtune.evaluate` to scores: of embeddings, or of a model on a dataset."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from avtune.core.errors import UserError, shown
from avtune.data.dataset import Dataset
from avtune.data.findings import examine
from avtune.engine.model import Model
from avtune.workflows.evaluate import Evaluation, embeddings_of, evaluation
from avtune.workflows.looks import count_look_at

SPLITS = ("test", "train")


def checked_ranks(at: Sequence[int]) -> list[int]:
    """The ranks for precision and recall, each once, ascending.

    Raises:
        UserError: one is no whole number from 1.
    """
    ranks = list(at)
    if not all(isinstance(k, int) and not isinstance(k, bool) and k >= 1 for k in ranks):
        raise UserError(f"at is {shown(at)}; allowed: whole numbers from 1, e.g. at=(1, 5, 10)")
    return sorted({*ranks})


def checked_confusion(confusion: bool | int) -> int:
    """How many nearest clips the table of confused classes counts, 0 for no table.

    Raises:
        UserError: it is neither a truth value nor a whole number from 0.
    """
    if not isinstance(confusion, int) or confusion < 0:
        raise UserError(f"confusion is {shown(confusion)}; allowed: True, or how many nearest clips count, from 1")
    return int(confusion)


def evaluate_model(
    model: Model, dataset: Dataset, split: str, ranks: Sequence[int], *, results: Path, **also: Any
) -> Evaluation:
    """Scores a model on a split of a dataset, after the look at a test split has been counted.

    Args:
        also: what else `evaluation` is to find.
        results: the folder of studies, where the model's is looked for.

    Raises:
        UserError: there is no such split, or the dataset does not fit the model.
    """
    if split not in SPLITS:
        raise UserError(f"split is {shown(split)}; allowed: 'test' or 'train'")
    assert model.folder is not None, "it was read from there"
    own = model.method if ":" in model.method else None
    look = count_look_at(model, model.folder, dataset, split, results=results, method=own)
    facts = evaluation(embeddings_of(model, dataset, split), ranks, **also)
    problems = tuple(examine(dataset).problems)
    return Evaluation.of(
        facts, epoch=str(model.about.get("epoch", "")), problems=problems, look=look, views=dataset.views
    )
