"""What the pages of a bench and of a comparison rank."""

from __future__ import annotations

from dataclasses import dataclass

from avtune.study.scores import Score


@dataclass(frozen=True)
class Shown:
    """What stands side by side with others.

    Attributes:
        name: of the method or study.
        scores: test MAP for each of the series, the first being what counts; None where there is none.
        group: letters: between two that share one no difference was found; empty where that was not tested.
        seconds: device seconds of its search.
    """

    name: str
    scores: tuple[Score | None, ...]
    group: str
    seconds: float


@dataclass(frozen=True)
class Compared:
    """Those that can be ranked against each other, best first.

    Attributes:
        series: names of their scores.
        rows: each has a first score.
    """

    series: tuple[str, ...]
    rows: tuple[Shown, ...]
