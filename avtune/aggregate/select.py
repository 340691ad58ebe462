"""Names the winner: the best configurations of a search are repeated over fresh seeds, and the best mean wins."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from avtune.aggregate.repeats import Result
from avtune.hyper import Value
from avtune.seeds import mix
from avtune.space import Space
from avtune.study.study import Record
from avtune.trial import Trial


@dataclass(frozen=True)
class Candidate:
    """A configuration that is repeated. `number` is its trial's, None for a default configuration that was none."""

    number: int | None
    config: Mapping[str, Value]


@dataclass(frozen=True)
class Repeated:
    """A candidate over seeds.

    Attributes:
        epoch: the epoch with the highest mean validation MAP over the seeds.
        values: validation MAP of each seed at that epoch.
        curve: mean validation MAP by epoch.
        failure: set when a seed failed; such a candidate cannot win.
    """

    candidate: Candidate
    epoch: int
    values: tuple[float, ...]
    curve: dict[int, float]
    failure: str | None = None

    @property
    def mean(self) -> float:
        return float(np.mean(self.values)) if self.values else float("nan")

    @property
    def spread(self) -> float:
        """Standard deviation over the seeds; 0 for one seed."""
        return float(np.std(self.values, ddof=1)) if len(self.values) > 1 else 0.0


def candidates(ranking: Sequence[Record], space: Space) -> list[Candidate]:
    """The finalists, best first, then the default configuration unless it is one of them."""
    chosen = [Candidate(record.number, record.trial.config) for record in ranking[: space.final.finalists]]
    default = space.defaults()
    if all(dict(candidate.config) != default for candidate in chosen):
        number = next((record.number for record in ranking if dict(record.trial.config) == default), None)
        chosen.append(Candidate(number, default))
    return chosen


def repeat_trials(chosen: Sequence[Candidate], space: Space, precision: str = "fp32") -> list[Trial]:
    """The runs of every candidate over `final.seeds` seeds: candidate by candidate, the same fresh seeds for all, in
    the search's precision."""
    return [
        Trial(0, space.method, candidate.config, repeat_seed(space, index), space.early_stopping.epochs, precision)
        for candidate in chosen
        for index in range(space.final.seeds)
    ]


def repeat_seed(space: Space, index: int) -> int:
    """The seed of the repetition with that index; no trial of the search used it."""
    return mix(space.search.seed, "repeat", index)


def repeated(chosen: Sequence[Candidate], results: Sequence[Result]) -> list[Repeated]:
    """Summarises the runs that `repeat_trials` listed."""
    seeds = len(results) // len(chosen)
    made = []
    for place, candidate in enumerate(chosen):
        runs = results[place * seeds : (place + 1) * seeds]
        failure = next((run.failure for run in runs if run.failure is not None), None)
        if failure is not None:
            made.append(Repeated(candidate, 0, (), {}, failure))
            continue
        curve = {epoch: float(np.mean([run.curve[epoch] for run in runs])) for epoch in runs[0].curve}
        epoch = max(curve, key=lambda at: (curve[at], -at))
        made.append(Repeated(candidate, epoch, tuple(run.curve[epoch] for run in runs), curve))
    return made


def winner(rows: Sequence[Repeated]) -> Repeated | None:
    """The candidate with the highest mean; None when every one failed. The default configuration is one if it was a
    trial, also one that was stopped early: fresh seeds are fair to both. Outside the space, or failed there, it is a
    reference only."""
    fit = [row for row in rows if row.candidate.number is not None and row.failure is None]
    return max(fit, key=lambda row: row.mean, default=None)
