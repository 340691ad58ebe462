"""Scores of embeddings, from a file or from a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from avtune.core.errors import UserError, did_you_mean
from avtune.core.view_names import VIEWS, ways
from avtune.data.arrays import check_memory
from avtune.data.dataset import Dataset
from avtune.data.labels import encode, held_by, is_columns, renumbered
from avtune.data.layouts.kinds import HEAD_BYTES, kind_of
from avtune.data.layouts.npz import open_npz
from avtune.engine.model import Model, load_model
from avtune.metrics import bootstrap_interval
from avtune.metrics.average_precision import scores_of
from avtune.metrics.cutoffs import cutoffs_of
from avtune.metrics.directions import Directions
from avtune.metrics.hits import hits_of
from avtune.metrics.precision_recall import precision_recall_of
from avtune.workflows.evaluate_classes import RATES, WAYS, by_class, confused, median_ranks
from avtune.workflows.galleries import CLASS_NAMES, Sets, within, words
from avtune.workflows.galleries import Embeddings as Embeddings

_KEYS = ("audio", "visual", "labels")


def read_embeddings(path: Path) -> Embeddings:
    """Reads `audio` [N, D], `visual` [N, D] and `labels` ([N], or [N, C] of 0 and 1) from an npz file; the views may
    have other names where they are the only two arrays beside the labels, and `class_names` [C] of labels from 0.

    Raises:
        UserError: the file or one of the three is missing, damaged or does not match the others.
    """
    if not path.exists():
        raise UserError(f"{path} does not exist")
    if not path.is_file():
        raise UserError(f"{path} is no regular file; an npz with audio, visual and labels is needed")
    try:
        with path.open("rb") as opened:
            head = opened.read(HEAD_BYTES)
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from None
    if head[:2] != b"PK" and (kind := kind_of(path, head, _KEYS)):
        raise UserError(f"{path} {kind}")
    with open_npz(path, _KEYS) as file:
        keys = (*_views_in(file.keys), "labels")
        for key in keys:
            if key not in file.keys:
                held = ", ".join(file.keys)[:200] or "nothing"
                raise UserError(f"{path} has no {key!r}{did_you_mean(key, file.keys)}; it holds {held}")
        declared = [file.declare(key) for key in keys]
        check_memory(declared)
        audio, visual, labels = (one.read() for one in declared)
        names = file.declare(CLASS_NAMES).read() if CLASS_NAMES in file.keys else None
    made = _checked(audio, visual, labels, f"{path}: ")
    return made if names is None or labels.dtype.kind in "US" else _with_names(made, names, path)


def _with_names(clips: Embeddings, names: np.ndarray, path: Path) -> Embeddings:
    """Raises:
    UserError: they are no names of the labels.
    """
    places = [int(one) if one.isdecimal() else -1 for one in clips.names]
    if names.ndim != 1 or names.dtype.kind != "U" or not all(0 <= place < len(names) for place in places):
        raise UserError(
            f"{path}: {CLASS_NAMES} is {names.dtype} {names.shape}; a name for each label from 0 is needed, or none"
        )
    return clips._replace(names=[str(names[place]) for place in places])


def views_of_embeddings(path: Path) -> tuple[str, str]:
    """What an npz file of embeddings calls its views."""
    with open_npz(path, _KEYS) as file:
        return _views_in(file.keys)


def _views_in(keys: Sequence[str]) -> tuple[str, str]:
    others = [key for key in keys if key not in ("labels", "run", CLASS_NAMES)]
    return (others[0], others[1]) if len(others) == 2 and not set(others) & set(VIEWS) else VIEWS


def checked_embeddings(audio: npt.ArrayLike, visual: npt.ArrayLike, labels: npt.ArrayLike) -> Embeddings:
    """Embeddings in memory as `evaluation` takes them, of `audio` [N, D], `visual` [N, D] and `labels` ([N], or [N, C]
    of 0 and 1).

    Raises:
        UserError: one of the three is no such array, or does not match the others.
    """
    made = []
    for key, given in zip(_KEYS, (audio, visual, labels), strict=True):
        if np.ma.is_masked(given):  # else the mask would be dropped
            raise UserError(f"{key} is a masked array with masked values; leave those clips out, or fill them in")
        try:
            made.append(np.asarray(given))
        except (TypeError, ValueError, RuntimeError) as error:  # rows of different lengths; a tensor that is on a GPU
            raise UserError(f"{key} cannot be made an array: {str(error).splitlines()[0]}") from None
    return _checked(made[0], made[1], made[2], "")


def _checked(audio: np.ndarray, visual: np.ndarray, labels: np.ndarray, where: str) -> Embeddings:
    for key, view in (("audio", audio), ("visual", visual)):
        if view.ndim != 2 or view.dtype.kind not in "fiu":
            raise UserError(
                f"{where}{key} is {view.dtype} {view.shape}; a table of numbers [clips, dimensions] is needed"
            )
        if not view.shape[1]:
            raise UserError(
                f"{where}{key} is {view.shape}: its clips have no dimensions, so that none is nearer than another"
            )
    labels = labels.reshape(-1) if labels.ndim == 2 and labels.shape[1] == 1 else labels
    columns = is_columns(labels.shape)
    if not columns and (labels.ndim != 1 or labels.dtype.kind not in "iufUSO"):
        raise UserError(
            f"{where}labels is {labels.dtype} {labels.shape}; one whole number or word a clip is needed, or a "
            "column of 0 and 1 a class"
        )
    if not len(audio) == len(visual) == len(labels) or audio.shape[1] != visual.shape[1]:
        raise UserError(
            f"{where}audio {audio.shape}, visual {visual.shape} and labels {labels.shape} do not match; "
            "all need one row a clip, and both views the same number of dimensions"
        )
    if not len(labels):
        raise UserError(f"{where}there are no clips" if not where else f"{where[:-2]} holds no clips")
    words = None
    if labels.dtype.kind not in "US":  # text is shown as it is, whatever it holds
        encoded = encode({"labels": labels}, {"labels": f"{where}labels"})
        labels, words = encoded.labels["labels"], encoded.words
    held = held_by(labels)
    return Embeddings(audio, visual, renumbered(labels, held), [words[v] if words else str(v) for v in held.tolist()])


def model_of(folder: Path, method: str | None) -> Model:
    """A model from its folder.

    Args:
        method: the user's own method that the command line names, None for none.

    Raises:
        UserError: it cannot be read, or is a model of another method.
    """
    model = load_model(folder)
    if method is not None and model.method != method:
        raise UserError(f"{folder} is a model of {model.method}; leave --method {method} out")
    return model


def embeddings_of(model: Model, dataset: Dataset, split: str) -> Embeddings:
    """A model's embeddings of a dataset's `test` or `train` clips, and their labels.

    Raises:
        UserError: the dataset does not fit the model.
    """
    dataset = dataset.in_order(model.views)
    clips = dataset.test if split == "test" else dataset.train
    audio, visual = model.embed(clips.audio, clips.visual)
    if not (np.isfinite(audio).all() and np.isfinite(visual).all()):
        raise UserError(f"the model's embeddings of {dataset.source} are not finite; model and features do not fit")
    return Embeddings(audio, visual, clips.labels, dataset.class_names)


@dataclass(frozen=True, repr=False)
class Evaluation:
    """Retrieval scores of embeddings; docs/scores.md has the definitions.

    Attributes:
        map, map_a2v, map_v2a: exact mean average precision, 0 to 1; its two directions, audio to visual and back.
        map_running, map_running_a2v, map_running_v2a: the average over every cut-off that is in circulation too.
        map_at_r, map_at_r_a2v, map_at_r_v2a: MAP@R.
        ndcg, ndcg_a2v, ndcg_v2a: normalised discounted cumulative gain over all ranks.
        bootstrap95: 95 % interval of `map` over the queries.
        tied_queries: share of the queries with ties, whose scores are means over the orders.
        clips, classes: of the queries, how many.
        gallery: what they are looked for in: `kind` (`all`, `disjoint`, `other` or `given`), `queries`, `clips` (of the
            gallery), `own_pair` (each query's own pair is in the gallery), `queries_left_out` (those without a clip of
            their class in the gallery, which no score counts), `queries_in_gallery` (whose clip is in it).
        at: for each rank `k`, with `_a2v` and `_v2a`: `precision` (share of the first k that are of the query's class),
            `recall` (class recall: share of the class that is among the first k), `hit_rate` (share of the queries with
            a clip of their class among the first k), `pair_hit_rate` (with their own pair among the first k; where the
            gallery has it), `map` (MAP@k divided by min(R, k)), `map_found` (MAP@k divided by the relevant clips
            found) and `ndcg` (NDCG@k).
        median_rank: of the first clip of the query's class (`class_a2v`, `class_v2a`) and, where the gallery has it, of
            its own pair (`pair_a2v`, `pair_v2a`), from 1.
        by_class: `macro_map`, `macro_map_a2v` and `macro_map_v2a`, means over the classes, and for each of `classes`
            `name`, `clips`, `map`, `map_a2v` and `map_v2a`; None unless it was asked for.
        confusion: shares of the `classes` among the `k` nearest clips (columns) of the queries of each class (rows),
            `a2v` and `v2a`; None unless it was asked for.
        curve: `levels` of recall and the precision `curve_a2v` and `curve_v2a` there; None unless it was asked for.
        epoch: how the model's epoch was chosen, where that is to be said.
        unseen_classes: classes of the queries of which the model was trained on no clip.
        problems: of the dataset, which touch the test score.
        look: what is to be said of the look at the test split of the model's study; empty where there is nothing.
        views: what the dataset calls its views; a2v is from the first to the second.
        reading: that the data of the model's study are read as the study has read them, or how else; empty where there
            is nothing to say.
        at_left_out: ranks that were asked for and are not in `at`, since the gallery has fewer clips.
    """

    map: float
    map_a2v: float
    map_v2a: float
    map_running: float
    map_running_a2v: float
    map_running_v2a: float
    map_at_r: float
    map_at_r_a2v: float
    map_at_r_v2a: float
    ndcg: float
    ndcg_a2v: float
    ndcg_v2a: float
    bootstrap95: tuple[float, float]
    tied_queries: float
    clips: int
    classes: int
    at: tuple[dict[str, float], ...]
    median_rank: dict[str, float]
    gallery: dict[str, Any]
    by_class: dict[str, Any] | None = None
    confusion: dict[str, Any] | None = None
    curve: dict[str, list[float]] | None = None
    epoch: str = ""
    unseen_classes: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    look: str = ""
    views: tuple[str, str] = VIEWS
    reading: str = ""
    at_left_out: tuple[int, ...] = ()

    @classmethod
    def of(cls, facts: Mapping[str, Any], **more: Any) -> Evaluation:
        """What `evaluation` returns, typed; `more` are further attributes."""
        low, high = facts["bootstrap95"]["map"]
        lists = {name: tuple(facts[name]) for name in ("at", "at_left_out") if name in facts}
        return cls(**{**facts, "bootstrap95": (low, high), **lists, **more})

    def _rows(self) -> list[tuple[str, str]]:
        low, high = self.bootstrap95
        way = ways(self.views)
        ranks = {"median rank of the first clip of the class": "class", "median rank of the own pair": "pair"}
        return [
            ("MAP", f"{self.map:.4f}"),
            ("over the queries (bootstrap)", f"{low:.4f} to {high:.4f}"),
            (way["a2v"], f"{self.map_a2v:.4f}"),
            (way["v2a"], f"{self.map_v2a:.4f}"),
            ("map_running", f"{self.map_running:.4f}"),
            ("MAP@R", f"{self.map_at_r:.4f}"),
            ("NDCG", f"{self.ndcg:.4f}"),
            *([("macro MAP", f"{self.by_class['macro_map']:.4f}")] if self.by_class is not None else []),
            *((f"precision and recall at {row['k']}, {way['a2v']}", _pair(row, "a2v")) for row in self.at),
            *((f"precision and recall at {row['k']}, {way['v2a']}", _pair(row, "v2a")) for row in self.at),
            *([("ranks beyond the gallery", ", ".join(map(str, self.at_left_out)))] if self.at_left_out else []),
            *(
                (said, _both(self.median_rank, key, way))
                for said, key in ranks.items()
                if f"{key}_a2v" in self.median_rank
            ),
            *(("gallery" if place == 0 else "", line) for place, line in enumerate(words(self.gallery))),
            *([("classes without training clips", ", ".join(self.unseen_classes))] if self.unseen_classes else []),
            *([("epoch of the model", self.epoch)] if self.epoch else []),
            *(("problem of the dataset", line) for line in self.problems),
            *(("note", line) for line in (self.reading, self.look) if line),
        ]

    def __repr__(self) -> str:
        rows = self._rows()
        width = max(len(name) for name, _ in rows)
        lines = [f"  {name:<{width}}  {value}" for name, value in rows]
        return "\n".join([f"<Evaluation of {self.clips} clips of {self.classes} classes>", *lines])

    def _repr_html_(self) -> str:
        rows = "".join(f"<tr><td>{escape(name)}</td><td>{escape(value)}</td></tr>" for name, value in self._rows())
        return f"<p>{self.clips} clips of {self.classes} classes</p><table>{rows}</table>"


def _pair(row: Mapping[str, float], way: str) -> str:
    return f"{row[f'precision_{way}']:.4f}, {row[f'recall_{way}']:.4f}"


def _both(ranks: Mapping[str, float], name: str, ways: Mapping[str, str]) -> str:
    return ", ".join(f"{said} {ranks[f'{name}_{way}']:g}" for way, said in ways.items())


def evaluation(
    embedded: Embeddings | Sets,
    ranks: Sequence[int],
    *,
    curve: bool = False,
    per_class: bool = False,
    confusion: int = 0,
) -> dict[str, Any]:
    """Exact retrieval scores of embeddings by cosine.

    Args:
        embedded: clips, each of which is a query and in the gallery; or queries and a gallery.
        ranks: the k of what is said at k; those beyond N are left out, and told as `at_left_out`.
        curve: also the precision-recall curve.
        per_class: also MAP by class.
        confusion: also the classes of that many nearest clips; 0 for not.

    Returns:
        `map`, `map_a2v`, `map_v2a`, `map_running`, `map_at_r`, `ndcg` and their directions as numbers; `bootstrap95` of
        `map`: [low, high]; `tied_queries`: share of the queries with ties, for which these are means over the orders;
        `at`: what is said at each rank, both directions; the rest as `Evaluation` has it.

    Raises:
        UserError: there are fewer clips than `confusion`.
    """
    sets = embedded if isinstance(embedded, Sets) else within(embedded)
    labels, names, directions = sets.queries.labels, sets.names, sets.directions()
    scores = scores_of(directions)
    low, high = bootstrap_interval((scores.ap_a2v + scores.ap_v2a) / 2, seed=0)
    facts: dict[str, Any] = {
        name: float(getattr(scores, name))
        for name in ("map", "map_a2v", "map_v2a", "map_running", "map_running_a2v", "map_running_v2a")
    }
    facts["bootstrap95"] = {"map": [low, high]}
    facts["tied_queries"] = scores.tied
    facts["clips"], facts["classes"] = len(labels), len(held_by(labels))
    facts["gallery"] = sets.facts()
    facts |= _at_ranks(directions, ranks, curve=curve)
    facts |= {"by_class": by_class(scores, labels, names)} if per_class else {}
    return facts | ({"confusion": confused(directions, names, confusion)} if confusion else {})


AT_CUTOFF = ("map", "map_found", "ndcg")
"""Scores at k of `metrics.cutoffs`."""


def _with_mean(name: str, a2v: float, v2a: float) -> dict[str, float]:
    return {name: (a2v + v2a) / 2, f"{name}_a2v": a2v, f"{name}_v2a": v2a}


def _at_ranks(directions: Directions, ranks: Sequence[int], *, curve: bool) -> dict[str, Any]:
    inside = [k for k in ranks if k <= directions.a2v.items]
    found = precision_recall_of(directions, inside)
    hit = hits_of(directions, inside)
    cut = cutoffs_of(directions, inside)
    columns = {name: getattr(found, name) for name in ("precision_a2v", "precision_v2a", "recall_a2v", "recall_v2a")}
    columns |= {name: rate for name in RATES if (rate := getattr(hit, name)) is not None}
    columns |= {f"{name}_{way}": getattr(cut, f"{name}_at_k_{way}") for name in AT_CUTOFF for way in WAYS}
    facts: dict[str, Any] = {
        **_with_mean("map_at_r", cut.map_at_r_a2v, cut.map_at_r_v2a),
        **_with_mean("ndcg", cut.ndcg_a2v, cut.ndcg_v2a),
        "at": [
            {"k": k} | {name: float(values[place]) for name, values in columns.items()}
            for place, k in enumerate(inside)
        ],
        "median_rank": median_ranks(hit),
    }
    if beyond := [k for k in ranks if k > directions.a2v.items]:
        facts["at_left_out"] = beyond
    if curve:
        facts["curve"] = {name: getattr(found, name).tolist() for name in ("levels", "curve_a2v", "curve_v2a")}
    return facts
