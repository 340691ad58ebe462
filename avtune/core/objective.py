"""What a search maximises on its validation rows: MAP, another retrieval score, one direction, or a weighted pair.

`map` (default), `map@r`, `map@K` and `ndcg` are means of both directions, see `metrics.cutoffs`. `audio->visual` is MAP
of one direction, by the names of the data set's views; `0.7*audio->visual+0.3*visual->audio` is the weighted mean of
both. Metrics of an epoch have `val_objective` where it is another one than MAP, beside `val_map`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from avtune.core.errors import UserError, did_you_mean, shown
from avtune.core.view_names import VIEWS, ways

VALUE = "val_objective"
"""The name of the value of another objective than MAP, where metrics are reported."""
_METRICS = ("map", "map@r", "ndcg")
_AT_K = re.compile(r"map@([1-9]\d{0,5})")
_TERM = re.compile(r"(?:(?P<weight>\d*\.?\d+(?:e-?\d+)?)\*)?(?P<way>[^*]+->[^*]+)")
ALLOWED = "map, map@r, map@K (e.g. map@50), ndcg, a direction, or a weighted pair of directions"


@dataclass(frozen=True)
class Objective:
    """One that is checked against the views of a data set.

    Attributes:
        text: as the user writes it, without spaces.
        metric: `map`, `map@r`, `map@k` or `ndcg`.
        k: of `map@k`; 0 for the others.
        weights: of the two directions, first view to second and back; they sum to 1.
    """

    text: str = "map"
    metric: str = "map"
    k: int = 0
    weights: tuple[float, float] = (0.5, 0.5)

    @property
    def is_map(self) -> bool:
        """Whether it is MAP, the mean of both directions: what is maximised where nobody says."""
        return self.text == "map"

    @property
    def of_map(self) -> bool:
        """Whether MAP of both directions is all that it needs."""
        return self.metric == "map"

    def mean(self, a2v: float, v2a: float) -> float:
        """The value from those of the two directions."""
        return self.weights[0] * a2v + self.weights[1] * v2a

    def cut(self, relevant: int, items: int) -> int:
        """How many ranks a query with so many relevant items looks at."""
        return {"map@r": relevant, "map@k": min(self.k, items)}.get(self.metric, items)


MAP = Objective()


def value_of(metrics: Mapping[str, Any]) -> Any:
    """What is maximised, among the metrics of an epoch; None where there is none."""
    return metrics.get(VALUE, metrics.get("val_map"))


def value_key(metrics: Mapping[str, Any]) -> str:
    """The name of what is maximised among the metrics of an epoch."""
    return VALUE if VALUE in metrics else "val_map"


def value_name(text: str) -> str:
    """What files and messages call the value of an objective on validation rows: `val_map`, `val_map@r`, ..."""
    return f"val_{text}"


def label(text: str, word: str = "val") -> str:
    """What tables call it: `val MAP`, `val map@r`; `word` in place of `val`."""
    return f"{word} {'MAP' if text == 'map' else text}"


def spelled(text: str) -> str:
    """An objective as it is kept, which need not fit any data set.

    Raises:
        UserError: it is none.

    >>> spelled("2 * audio->visual + visual->audio")
    '2*audio->visual+visual->audio'
    """
    kept = "".join(text.split())
    if kept in _METRICS or _AT_K.fullmatch(kept):
        return kept
    terms = kept.split("+")
    if len(terms) <= 2 and all(map(_TERM.fullmatch, terms)):
        return kept
    raise UserError(f"objective is {shown(text)}; allowed: {ALLOWED}{_hint(kept)}")


def objective(text: str, views: tuple[str, str] = VIEWS) -> Objective:
    """An objective for a data set with these views.

    Raises:
        UserError: it is none, or names other directions than the data set has.

    >>> objective("3*audio->visual+visual->audio").weights
    (0.75, 0.25)
    """
    kept = spelled(text)
    if kept == "map":
        return MAP
    if kept in _METRICS:
        return Objective(kept, kept)
    if at_k := _AT_K.fullmatch(kept):
        return Objective(kept, "map@k", int(at_k[1]))
    known = list(ways(views).values())
    weights = dict.fromkeys(known, 0.0)
    for term in kept.split("+"):
        found = _TERM.fullmatch(term)
        assert found is not None, "checked above"
        way, weight = found["way"], float(found["weight"] or 1)
        if way not in known:
            both = " and ".join(known)
            raise UserError(
                f"objective names the direction {shown(way)}; this data set has {both}{did_you_mean(way, known)}"
            )
        if weights[way] or not (weight > 0 and math.isfinite(weight)):
            raise UserError(
                f"objective is {shown(text)}; a weighted pair names each direction once, with a weight above 0, e.g. "
                f"0.7*{known[0]}+0.3*{known[1]}"
            )
        weights[way] = weight
    total = sum(weights.values())
    return Objective(kept, "map", 0, (weights[known[0]] / total, weights[known[1]] / total))


def _hint(kept: str) -> str:
    if kept.endswith("-"):
        return "\nput quotes around a direction: a shell takes what comes after > for a file, e.g. 'audio->visual'"
    return did_you_mean(kept, _METRICS)
