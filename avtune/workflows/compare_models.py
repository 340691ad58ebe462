"""Tests two saved models by their scores of every query: which is better on these clips, and what could be seen?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from avtune.core.errors import UserError, shown
from avtune.core.protocol import SELECTED_ON_TEST
from avtune.core.seeds import mix
from avtune.data.dataset import Dataset
from avtune.data.findings import examine
from avtune.engine.model import Model
from avtune.metrics import (
    bootstrap_interval,
    detectable_difference,
    holm,
    randomisation_tests,
    retrieval_scores,
)
from avtune.report.text import p_text
from avtune.workflows.evaluate import embeddings_of
from avtune.workflows.looks import count_look_at
from avtune.workflows.study_reading import Read

LEVEL = 0.05
POWER = 0.8
_SEED = mix("compare models")
_WAYS = ("map", "map_a2v", "map_v2a")
SPLITS = ("test", "train")
LIMITS = (
    "the test is over the clips: it says whether these two trained models differ, not whether their methods would with "
    "other seeds; the tests of avtune bench and avtune compare are over seeds too"
)


@dataclass(frozen=True)
class Difference:
    """One score of both models.

    Attributes:
        name: `map`, the mean of both directions, `map_a2v` or `map_v2a`.
        a, b: of each model.
        difference: a minus b.
        interval: 95 % bootstrap interval of the difference over the clips.
        p: of the paired randomisation test over the clips; of the two directions Holm-adjusted.
        detectable: the smallest true difference that this test would have found, `POWER` of the time; infinite where
            so few clips cannot show any, NaN where the difference is the same on every clip, so that it is not known.
    """

    name: str
    a: float
    b: float
    difference: float
    interval: tuple[float, float]
    p: float
    detectable: float

    @property
    def found(self) -> bool:
        """Whether there is a difference at `LEVEL`."""
        return self.p < LEVEL


@dataclass(frozen=True, repr=False)
class ModelComparison:
    """Two models on the same clips.

    Attributes:
        a, b: what they are called.
        split: of the dataset.
        clips: how many.
        differences: of `map`, then of its directions.
        looks: what is to be said of the looks at test splits.
        problems: of the dataset, which touch the scores.
        selected_on_test: those of both models whose epoch was selected on a test split.
    """

    a: str
    b: str
    split: str
    clips: int
    differences: tuple[Difference, ...]
    looks: tuple[str, ...]
    problems: tuple[str, ...]
    selected_on_test: tuple[str, ...] = ()

    @property
    def map(self) -> Difference:
        """That of `map`."""
        return self.differences[0]

    @property
    def verdict(self) -> str:
        """What was found, in a sentence."""
        selected = f"; the epoch of {' and of '.join(self.selected_on_test)} was {SELECTED_ON_TEST}"
        return self._found + selected * bool(self.selected_on_test)

    @property
    def _found(self) -> str:
        one = self.map
        by = f"by {abs(one.difference):.4f} MAP, 95 % interval {one.interval[0]:+.4f} to {one.interval[1]:+.4f}"
        if one.found:
            better, worse = (self.a, self.b) if one.difference > 0 else (self.b, self.a)
            return f"{better} is better than {worse} ({by}, p {p_text(one.p)})"
        if np.isnan(one.detectable):
            return f"no difference was found ({by}, p {p_text(one.p)}): it is the same on every clip"
        seen = f"{one.detectable:.4f} MAP or more" if one.detectable <= 1 else "no difference at all"
        return (
            f"no difference was found ({by}, p {p_text(one.p)}); these clips would have shown {seen}, {POWER:.0%} of "
            "the time"
        )

    def to_json(self) -> dict[str, Any]:
        """For scripts; a difference that could not have been seen, or is not known, is null."""
        facts = asdict(self)
        for one in facts["differences"]:
            one["detectable"] = one["detectable"] if np.isfinite(one["detectable"]) else None
        return facts | {"level": LEVEL, "power": POWER, "verdict": self.verdict}

    def rows(self) -> list[list[str]]:
        """A table's cells, a row each of `HEADER`."""
        return [
            [
                one.name,
                f"{one.a:.4f}",
                f"{one.b:.4f}",
                f"{one.difference:+.4f}",
                f"{one.interval[0]:+.4f} to {one.interval[1]:+.4f}",
                p_text(one.p),
                size_text(one.detectable),
            ]
            for one in self.differences
        ]

    def __repr__(self) -> str:
        return f"<ModelComparison on {self.clips} clips: {self.verdict}>"

    def _repr_html_(self) -> str:
        head, *rows = (
            "".join(f"<{tag}>{escape(cell)}</{tag}>" for cell in row)
            for tag, row in [("th", header(self)), *(("td", row) for row in self.rows())]
        )
        table = "".join(f"<tr>{row}</tr>" for row in (head, *rows))
        return f"<p>{escape(self.verdict)}</p><table>{table}</table>"


def header(found: ModelComparison) -> list[str]:
    """Of the columns of `ModelComparison.rows`."""
    marked = [f"{one}, {SELECTED_ON_TEST}" if one in found.selected_on_test else one for one in (found.a, found.b)]
    return ["", *marked, "difference", "95 % interval", "p", "could be seen"]


def size_text(detectable: float) -> str:
    """`0.0123`, `over 1`, or `not known`."""
    if np.isnan(detectable):
        return "not known"
    return f"{detectable:.4f}" if detectable <= 1 else "over 1"


def compare_models(
    models: Mapping[str, tuple[Model, Path]], data: Dataset | Read, *, split: str = "test", results: Path
) -> ModelComparison:
    """Scores two models on the clips of a split and tests the difference, clip by clip.

    A look of a model at the test split of its own study is counted before anything is shown, as `evaluate` does.

    Args:
        models: two, each with its folder, by what they are called.
        data: the same for both.
        split: `test` or `train`.
        results: the folder of studies and benches, where those of the models are looked for.

    Raises:
        UserError: there is no such split, there are not two models, or the dataset does not fit one.
    """
    if split not in SPLITS:
        raise UserError(f"split is {shown(split)}; allowed: 'test' or 'train'")
    if len(models) != 2:
        raise UserError("compare-models takes two models of different names or folders")
    read = data if isinstance(data, Read) else Read(data)
    dataset = read.dataset
    problems = [read.problem] if read.problem and split == "test" else []
    looks, scores = [], []
    for model, place in models.values():
        own = model.method if ":" in model.method else None
        ordered = dataset.in_order(model.views)
        looks.append(count_look_at(model, place, ordered, split, results=results, method=own))
    for model, _ in models.values():
        ordered = dataset.in_order(model.views)
        found = embeddings_of(model, ordered, split)
        first, second = (found.audio, found.visual)[:: 1 if ordered.views == dataset.views else -1]
        scores.append(retrieval_scores(first, second, found.labels, exact=True))
    a, b = models
    by_way = [
        [(one.ap_a2v + one.ap_v2a) / 2 for one in scores],
        [one.ap_a2v for one in scores],
        [one.ap_v2a for one in scores],
    ]
    return ModelComparison(
        a,
        b,
        split,
        len(by_way[0][0]),
        _differences(by_way),
        tuple(look for look in looks if look),
        (*problems, *examine(dataset).problems),
        tuple(name for name, (model, _) in models.items() if model.about.get("epoch") == SELECTED_ON_TEST),
    )


def _differences(by_way: list[list[npt.NDArray[np.float64]]]) -> tuple[Difference, ...]:
    """Args:
    by_way: average precision of every clip [N] of both models, by the score.
    """
    apart = np.stack([one - other for one, other in by_way])
    raw = [float(p) for p in randomisation_tests(apart, _SEED)]
    p_values = [raw[0], *(float(p) for p in holm(raw[1:]))]
    made = []
    for name, (one, other), difference, p in zip(_WAYS, by_way, apart, p_values, strict=True):
        level = LEVEL if name == "map" else LEVEL / 2
        made.append(
            Difference(
                name,
                float(one.mean()),
                float(other.mean()),
                float(difference.mean()),
                bootstrap_interval(difference, seed=_SEED),
                p,
                detectable_difference(difference, 0.0, level, POWER),
            )
        )
    return tuple(made)
