"""From the arguments of `avtune.evaluate` to scores: of embeddings, or of a model on a dataset."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from numbers import Integral
from pathlib import Path
from typing import Any

import numpy.typing as npt

from avtune.core.errors import UserError, shown
from avtune.data.dataset import Dataset
from avtune.engine.model import Model
from avtune.workflows.asked import SPLITS, of_model
from avtune.workflows.evaluate import Evaluation, checked_embeddings, evaluation
from avtune.workflows.galleries import Embeddings, checked_kind, given, within
from avtune.workflows.study_reading import Read

Clips = Sequence[npt.ArrayLike]
"""`(audio, visual, labels)`."""


def checked_ranks(at: Sequence[int]) -> list[int]:
    """The ranks for precision and recall, each once, ascending.

    Raises:
        UserError: one is no whole number from 1.
    """
    ranks = list(at) if isinstance(at, Iterable) else [0]
    if not all(_is_whole(k) and k >= 1 for k in ranks):
        raise UserError(f"at is {shown(at)}; allowed: whole numbers from 1, e.g. at=(1, 5, 10)")
    return sorted({int(k) for k in ranks})


def _is_whole(given: object) -> bool:
    """Whether it is a whole number, of NumPy too."""
    return isinstance(given, Integral) and not isinstance(given, bool)


def checked_confusion(confusion: bool | int) -> int:
    """How many nearest clips the table of confused classes counts, 0 for no table.

    Raises:
        UserError: it is neither a truth value nor a whole number from 0.
    """
    if not isinstance(confusion, Integral) or confusion < 0:
        raise UserError(f"confusion is {shown(confusion)}; allowed: True, or how many nearest clips count, from 1")
    return int(confusion)


def evaluate_model(
    model: Model,
    query: Dataset | Read | str,
    split: str,
    ranks: Sequence[int],
    *,
    gallery: Dataset | str,
    results: Path,
    **also: Any,
) -> Evaluation:
    """Scores a model, after the look at a test split has been counted.

    Args:
        query, gallery: as `asked.of_model` takes them.
        also: what else `evaluation` is to find.
        results: the folder of studies, where the model's is looked for.

    Raises:
        UserError: there is no such split, or clips do not fit the model.
    """
    if split not in SPLITS:
        raise UserError(f"split is {shown(split)}; allowed: 'test' or 'train'")
    assert model.folder is not None, "it was read from there"
    own = model.method if ":" in model.method else None
    asked = of_model(model, model.folder, query, gallery, split=split, results=results, method=own)
    return Evaluation.of(
        evaluation(asked.sets, ranks, **also),
        epoch=asked.epoch,
        unseen_classes=asked.unseen,
        problems=asked.problems,
        look=asked.look,
        reading=asked.reading,
        views=asked.views,
    )


def evaluate_embeddings(queries: Clips, gallery: Clips | str, ranks: Sequence[int], **also: Any) -> Evaluation:
    """Scores embeddings.

    Args:
        queries: `(audio, visual, labels)`.
        gallery: the same, or one of `galleries.KINDS`.
        also: what else `evaluation` is to find.

    Raises:
        UserError: they are no embeddings, or do not fit each other.
    """
    asked = _embeddings("query", queries)
    if isinstance(gallery, str):
        return Evaluation.of(evaluation(within(asked, checked_kind(gallery)), ranks, **also))
    return Evaluation.of(evaluation(given(asked, _embeddings("gallery", gallery)), ranks, **also))


def _embeddings(name: str, clips: Clips) -> Embeddings:
    if not isinstance(clips, tuple | list) or len(clips) != 3:
        raise UserError(f"{name} is {shown(clips)}; give (audio, visual, labels)")
    return checked_embeddings(*clips)
