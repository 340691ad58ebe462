"""Test and validation scores over seeds, as the files of a study hold them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

HEADLINE = ("map", "map_a2v", "map_v2a", "map_running", "map_running_a2v", "map_running_v2a")
"""The scores of a row, by their names in `metrics.RetrievalScores`; a2v: audio queries, visual gallery."""
SHOWN = ("map", "map_a2v", "map_v2a", "map_running")
"""Those that a table of test scores shows, in its order."""

_SCORE = {"mean": float, "ci95": (None, [float, float]), "seeds": [float], "bootstrap95?": [float, float]}
SCORES_SHAPE = {
    **dict.fromkeys(HEADLINE[1:], _SCORE),
    "map": {**_SCORE, "bootstrap95": [float, float]},
    "epochs?": int,
    "objective?": _SCORE,
}
"""What JSON of `Scores` must hold, see `core.schema`."""
_VALIDATION = {"mean": float, "sd": float, "seeds": [float]}
VALIDATION_SHAPE = {"map?": _VALIDATION, "objective?": _VALIDATION}
"""What JSON of `ValidationScore` must hold."""


@dataclass(frozen=True)
class Score:
    """A retrieval score in [0, 1] of one configuration over seeds.

    Attributes:
        mean: over the seeds.
        seeds: the score of each seed.
        interval: 95 % interval of the mean (low, high), Student t over the seeds; None for one seed.
        bootstrap: 95 % interval (low, high) over the queries, clips drawn with replacement, of the seed-averaged
            average precision; None where it was not taken.
    """

    mean: float
    seeds: tuple[float, ...]
    interval: tuple[float, float] | None = None
    bootstrap: tuple[float, float] | None = None

    @property
    def half_width(self) -> float | None:
        """Half of the width of `interval`."""
        return None if self.interval is None else (self.interval[1] - self.interval[0]) / 2

    def to_json(self) -> dict[str, Any]:
        """As `metrics.json` holds it."""
        facts: dict[str, Any] = {
            "mean": self.mean,
            "ci95": None if self.interval is None else list(self.interval),
            "seeds": list(self.seeds),
        }
        return facts if self.bootstrap is None else facts | {"bootstrap95": list(self.bootstrap)}

    @staticmethod
    def from_json(facts: Mapping[str, Any]) -> Score:
        """From checked JSON."""
        return Score(facts["mean"], tuple(facts["seeds"]), _pair(facts["ci95"]), _pair(facts.get("bootstrap95")))


def _pair(values: list[float] | None) -> tuple[float, float] | None:
    return None if values is None else (values[0], values[1])


@dataclass(frozen=True)
class Scores:
    """A row of a table of test scores: one configuration over seeds.

    Attributes:
        map: mean average precision over all ranks, mean of both directions.
        map_a2v, map_v2a: of one direction.
        map_running, map_running_a2v, map_running_v2a: the same with average precision at k averaged over every k.
        epochs: that the configuration was trained; None where the results say it for all rows, or it was not kept.
        objective: the score that the search maximised; None where that is `map`.
    """

    map: Score
    map_a2v: Score
    map_v2a: Score
    map_running: Score
    map_running_a2v: Score
    map_running_v2a: Score
    epochs: int | None = None
    objective: Score | None = None

    def __getitem__(self, name: str) -> Score:
        """The score with one of the names of `HEADLINE`."""
        assert name in HEADLINE, name
        score: Score = getattr(self, name)
        return score

    def items(self) -> Iterator[tuple[str, Score]]:
        """Every score with its name, in the order of `HEADLINE`."""
        return ((name, self[name]) for name in HEADLINE)

    @property
    def shown(self) -> list[Score]:
        """Those of `SHOWN`, then the objective where it is another one."""
        return [*(self[name] for name in SHOWN), *([] if self.objective is None else [self.objective])]

    def to_json(self) -> dict[str, Any]:
        """As `metrics.json` holds it."""
        facts: dict[str, Any] = {name: score.to_json() for name, score in self.items()}
        facts |= {} if self.epochs is None else {"epochs": self.epochs}
        return facts if self.objective is None else facts | {"objective": self.objective.to_json()}

    @staticmethod
    def from_json(facts: Mapping[str, Any]) -> Scores:
        """From JSON of `SCORES_SHAPE`."""
        other = facts.get("objective")
        return Scores(
            **{name: Score.from_json(facts[name]) for name in HEADLINE},
            epochs=facts.get("epochs"),
            objective=None if other is None else Score.from_json(other),
        )


@dataclass(frozen=True)
class ValidationScore:
    """Validation MAP of the winner over the seeds of the finals, or what the search maximised in its place.

    Attributes:
        mean: over the seeds.
        sd: standard deviation over the seeds; 0 for one seed.
        seeds: the value of each seed.
        is_map: it is MAP.
    """

    mean: float
    sd: float
    seeds: tuple[float, ...]
    is_map: bool = True

    def to_json(self) -> dict[str, Any]:
        """As `metrics.json` holds it."""
        return {"map" if self.is_map else "objective": {"mean": self.mean, "sd": self.sd, "seeds": list(self.seeds)}}

    @staticmethod
    def from_json(facts: Mapping[str, Any]) -> ValidationScore:
        """From JSON of `VALIDATION_SHAPE`."""
        is_map = "objective" not in facts
        score = facts["map" if is_map else "objective"]
        return ValidationScore(score["mean"], score["sd"], tuple(score["seeds"]), is_map)
