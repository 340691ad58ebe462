"""The part of the Python interface that is about trained models: `avtune.load_model`, `evaluate`, `compare_models`; see
`avtune.api`."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, cast

import numpy.typing as npt

from avtune.core.errors import UserError
from avtune.data.dataset import Dataset
from avtune.engine.model import Model
from avtune.methods import Method
from avtune.workflows.compare_models import ModelComparison
from avtune.workflows.compare_models import compare_models as run_compare
from avtune.workflows.evaluate import Evaluation, model_of
from avtune.workflows.galleries import KINDS
from avtune.workflows.model_place import model_place
from avtune.workflows.python_code import register_model
from avtune.workflows.python_data import Place, dataset_for, dataset_of_models, path_text
from avtune.workflows.python_errors import python_errors
from avtune.workflows.python_evaluate import checked_confusion, checked_ranks, evaluate_embeddings, evaluate_model
from avtune.workflows.retrain import Retrained
from avtune.workflows.study_view import StudyView


def load_model(
    model: StudyView | Retrained | Place, *, method: str | type[Method] | None = None, results: Place = "results"
) -> Model:
    """The model of a finished study, or of a folder that holds one (`final/`, `checkpoints/trial_3`).

    Args:
        model: a study, its name below `results`, what `retrain` returns, or a folder.
        method: your own method, as `module:Class` or the class, where this process does not know it yet.
        results: the folder of studies.

    Raises:
        UserError: there is none, it is damaged, or it is of another method.

    >>> load_model("results/first")
    <Model triplet: audio 10-d, visual 7-d, 3 classes, trained for ... epochs>
    """
    with python_errors():
        named = register_model(method)
        place = Path(path_text(results, "results"))
        return model_of(model.path if isinstance(model, StudyView | Retrained) else _folder(model, place), named)


def evaluate(
    model: StudyView | Retrained | Model | Place | None = None,
    data: Dataset | Place | None = None,
    *,
    audio: npt.ArrayLike | None = None,
    visual: npt.ArrayLike | None = None,
    labels: npt.ArrayLike | None = None,
    query: Dataset | Place | Sequence[npt.ArrayLike] | None = None,
    gallery: Dataset | Place | Sequence[npt.ArrayLike] = "all",
    split: Literal["test", "train"] = "test",
    at: Sequence[int] = (1, 5, 10, 50),
    curve: bool = False,
    per_class: bool = False,
    confusion: bool | int = False,
    method: str | type[Method] | None = None,
    classes: Place | None = None,
    results: Place = "results",
) -> Evaluation:
    """Exact retrieval scores by cosine, as `avtune evaluate` gives them: of a model on a dataset, or of embeddings.

    A model that is scored on the test split of the study that it comes from is a look at it: one that is new is counted
    in the files of the study, and `.look` says so.

    Args:
        model, data: a model, or what `load_model` takes, and a dataset, or what `load_dataset` takes; the file of the
            model's own study is read as the study has read it.
        audio, visual, labels: in place of both, embeddings [N, D] of the same N clips and their labels [N], whole
            numbers or words; or [N, C] of 0 and 1, a column a class, where clips have several.
        query: in place of `data`, a dataset, or a file of features with labels, perhaps of classes that training never
            saw (`"clips.npz"`, `"other.h5:train"`); in place of `audio`, `visual` and `labels` a tuple of the three.
        gallery: what queries are looked for in: `all` (every clip of the other view, the own pair included), `other`
            (the own pair left out), `disjoint` (queries and gallery are different clips), or clips as `query` has them.
        split: of the dataset.
        at: ranks k for precision, class recall, hit rates, MAP@k and NDCG@k.
        curve: also the precision-recall curve.
        per_class: also MAP by class, and its mean over the classes.
        confusion: also which classes are found for which: by the nearest clip, or by that many nearest ones.
        method, results: as for `load_model`; in `results` a model's study is looked for.
        classes: as for `load_dataset`.

    Raises:
        UserError: neither or both are given, the dataset does not fit the model, shapes do not match, a number is not
            finite, or a rank is no whole number from 1.

    >>> import numpy as np
    >>> clips = np.array([[1, 0], [1, 0.1], [0, 1], [0.1, 1]])
    >>> evaluate(audio=clips, visual=clips, labels=["dog", "dog", "rain", "rain"]).map
    1.0
    """
    with python_errors():
        ranks, views = checked_ranks(at), (audio, visual, labels)
        also: dict[str, Any] = {"curve": curve, "per_class": per_class, "confusion": checked_confusion(confusion)}
        if model is not None and (data is None) != (query is None) and all(one is None for one in views):
            found = model if isinstance(model, Model) else load_model(model, method=method, results=results)
            place = Path(path_text(results, "results"))
            asked = _clips(query, classes) if data is None else dataset_of_models(data, classes, (found,), place)
            return evaluate_model(found, asked, split, ranks, gallery=_clips(gallery, classes), results=place, **also)
        arrays = _arrays(views, query, alone=model is None and data is None)
        _check_alone(split=None if split == "test" else split, classes=classes, method=method)
        return evaluate_embeddings(arrays, cast("Any", gallery), ranks, **also)


def _arrays(views: Sequence[Any], query: Any, *, alone: bool) -> Any:
    """The embeddings that are asked with.

    Raises:
        UserError: there are none, or something else is given too.
    """
    twice = query is not None and any(one is not None for one in views)
    arrays = views if query is None else query
    if not alone or twice or any(one is None for one in arrays):
        raise UserError(
            "give a model and a dataset, evaluate(study, data), or embeddings, evaluate(audio=, visual=, labels=)"
        )
    return arrays


def _check_alone(**given: object) -> None:
    """Raises:
    UserError: what goes with a model is given with embeddings.
    """
    for what, one in given.items():
        if one is not None:
            raise UserError(f"{what} goes with a model and a dataset; embeddings hold everything")


def _clips(given: Any, classes: Place | None) -> Dataset | str:
    """A dataset, or what names one, a gallery, or a file of features."""
    if isinstance(given, tuple | list):
        raise UserError("a model is scored on features; give a dataset or a file, and embeddings without a model")
    if isinstance(given, Dataset):
        return given
    text = path_text(given, "data")
    return text if classes is None or text in KINDS else dataset_for(text, classes)


def compare_models(
    a: StudyView | Retrained | Model | Place,
    b: StudyView | Retrained | Model | Place,
    data: Dataset | Place,
    *,
    split: Literal["test", "train"] = "test",
    classes: Place | None = None,
    method: str | type[Method] | None = None,
    results: Place = "results",
) -> ModelComparison:
    """Tests two models against each other by their scores of every query: paired randomisation test over the clips.

    Says nothing of other seeds: these are two trained models. Looks at the test split of a model's study are counted,
    as by `evaluate`.

    Args:
        a, b: models, or what `load_model` takes.
        data: a dataset, or what `load_dataset` takes.
        split: of the dataset.
        classes: as for `load_dataset`.
        method: of models of a method of your own, as for `load_model`.
        results: the folder of studies, where models and their studies are looked for.

    Returns:
        `.map` with `difference` (a minus b), `interval`, `p` and `detectable`; `.differences` of the directions too.

    Raises:
        UserError: a model cannot be read, both are one, or the dataset does not fit.

    >>> compare_models("results/first", "results/first", "toy.h5")
    Traceback (most recent call last):
    avtune.core.errors.UserError: a and b are one model; give two
    """
    with python_errors():
        found = [one if isinstance(one, Model) else load_model(one, method=method, results=results) for one in (a, b)]
        places = [one.folder for one in found]
        assert places[0] is not None, "it was read from there"
        assert places[1] is not None, "it was read from there"
        if places[0].resolve() == places[1].resolve():
            raise UserError("a and b are one model; give two")
        models = {str(place): (one, place) for one, place in zip(found, places, strict=True) if place is not None}
        place = Path(path_text(results, "results"))
        return run_compare(models, dataset_of_models(data, classes, found, place), split=split, results=place)


def _folder(model: Place, results: Path) -> Path:
    place, note = model_place(path_text(model, "model"), results)
    if note:
        warnings.warn(note, stacklevel=3)
    return place
