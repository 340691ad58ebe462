"""Names the winner: the best configurations of a search are repeated over fresh seeds, and the best mean wins."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from avtune.core.hyper import Value
from avtune.core.patience import still_rises
from avtune.core.seeds import mix
from avtune.core.trial import Trial
from avtune.finals.run_record import Result
from avtune.space.space import Space
from avtune.study.horizon import Horizon
from avtune.study.record import Record

Do = Callable[[str, Sequence[str], Sequence[Trial]], list[Result]]
"""Takes what the runs are called, a name for each, and the runs; gives their results in the same order."""


@dataclass(frozen=True)
class Candidate:
    """A configuration that is repeated. `number` is its trial's, None for a default configuration that was none."""

    number: int | None
    config: Mapping[str, Value]

    @property
    def called(self) -> str:
        """Its trial's number, or `default`."""
        return "default" if self.number is None else str(self.number)


@dataclass(frozen=True)
class Repeated:
    """A candidate over seeds.

    Attributes:
        epoch: the epoch with the highest mean validation MAP over the seeds.
        values: validation MAP of each seed at that epoch.
        curve: mean validation MAP by epoch, as far as every seed has trained.
        failure: set when a seed failed; such a candidate cannot win.
        dropped: it has fewer seeds than others because it cannot win any more, see `finals.race`.
        results: of the runs, by seed.
    """

    candidate: Candidate
    epoch: int
    values: tuple[float, ...]
    curve: dict[int, float]
    failure: str | None = None
    dropped: bool = False
    results: tuple[Result, ...] = ()

    @property
    def mean(self) -> float:
        """Mean validation MAP over the seeds at `epoch`; NaN where a seed failed."""
        return float(np.mean(self.values)) if self.values else float("nan")

    @property
    def spread(self) -> float:
        """Standard deviation over the seeds; 0 for one seed."""
        return float(np.std(self.values, ddof=1)) if len(self.values) > 1 else 0.0


def candidates(
    ranking: Sequence[Record], space: Space, repeated_before: Callable[[Candidate], bool] = lambda one: False
) -> list[Candidate]:
    """The finalists, best first, then the default configuration unless it is one of them, or `final.default` is false.

    Args:
        repeated_before: whether all runs of a candidate are on record. One that was a finalist before its study was
            extended stays one: what is known of it over several seeds is worth more than its place by one. Where
            `final.default` is false, the default configuration was one for its own sake, and does not stay one.
    """
    ranked = [Candidate(record.number, record.trial.config) for record in ranking]
    most = space.final.finalists
    default = default_among([candidate.config for candidate in ranked], space)
    stays = (one for one in ranked[most:] if space.final.default or dict(one.config) != default)
    chosen = [*ranked[:most], *filter(repeated_before, stays)]
    if space.final.default and all(dict(candidate.config) != default for candidate in chosen):
        number = next((candidate.number for candidate in ranked if dict(candidate.config) == default), None)
        chosen.append(Candidate(number, default))
    return chosen


def default_among(configs: Iterable[Mapping[str, Value]], space: Space) -> dict[str, Value]:
    """The default configuration as one of these has it. On an axis with steps its value may differ from the method's by
    a rounding; where a study of before has both, it is the method's."""
    found = [dict(config) for config in configs if space.is_default(config)]
    default = space.defaults()
    return found[0] if found and default not in found else default


def repeat_trials(
    chosen: Sequence[Candidate], horizon: Horizon, precision: str = "fp32", basis: str = ""
) -> list[Trial]:
    """The runs of every candidate over `final.seeds` seeds: candidate by candidate, the same fresh seeds for all, in
    the search's precision. With an open horizon each ends by its own curve."""
    space = horizon.space
    return [
        horizon.trial(0, candidate.config, repeat_seed(space, index), precision, basis)
        for candidate in chosen
        for index in range(space.final.seeds)
    ]


def longer(trials: Sequence[Trial], results: Sequence[Result], seeds: int) -> list[Trial]:
    """The runs again, those of a candidate whose mean curve still rises lengthened: where one seed's curve was flat
    early and cut the mean curve short, all seeds train as long as the longest one did.

    Args:
        trials: as `repeat_trials` made them.
        results: theirs.
        seeds: runs of a candidate.
    """
    made = list(trials)
    for first in range(0, len(trials), seeds):
        runs = results[first : first + seeds]
        lengths = [len(run.curve) for run in runs]
        if not trials[first].patience or any(run.failure is not None for run in runs):
            continue
        if still_rises(list(_mean_curve(runs).values())):
            for place in range(first, first + seeds):
                if lengths[place - first] < max(lengths):
                    made[place] = replace(trials[place], least=max(lengths))
    return made


def _mean_curve(runs: Sequence[Result]) -> dict[int, float]:
    """Mean by epoch, as far as every run has one."""
    last = min(len(run.curve) for run in runs)
    return {epoch: float(np.mean([run.curve[epoch] for run in runs])) for epoch in range(1, last + 1)}


def repeat_seed(space: Space, index: int) -> int:
    """The seed of the repetition with that index; no trial of the search used it."""
    return mix(space.search.seed, "repeat", index)


def retraining_seed(space: Space, index: int) -> int:
    """The seed of the retraining with that index; neither a trial nor a repetition used it, so nothing that was chosen
    for how it did with a seed is scored with that seed."""
    return mix(space.search.seed, "retraining", index)


def repeated(chosen: Sequence[Candidate], results: Sequence[Result]) -> list[Repeated]:
    """Summarises the runs that `repeat_trials` listed."""
    seeds = len(results) // len(chosen)
    return [repeated_one(one, results[place * seeds : (place + 1) * seeds]) for place, one in enumerate(chosen)]


def repeated_one(candidate: Candidate, runs: Sequence[Result]) -> Repeated:
    """Summarises the runs of a candidate, at least one."""
    failure = next((run.failure for run in runs if run.failure is not None), None)
    if failure is not None:
        return Repeated(candidate, 0, (), {}, failure, results=tuple(runs))
    curve = _mean_curve(runs)
    epoch = max(curve, key=lambda at: (curve[at], -at))
    return Repeated(candidate, epoch, tuple(run.curve[epoch] for run in runs), curve, results=tuple(runs))


def winner(rows: Sequence[Repeated]) -> Repeated | None:
    """The candidate with the highest mean; None when every one failed. The default configuration is one if it was a
    trial, also one that was stopped early: fresh seeds are fair to both. Outside the space, or failed there, it is a
    reference only. One that was dropped from a race has too few seeds to be compared."""
    fit = [row for row in rows if row.candidate.number is not None and row.failure is None and not row.dropped]
    return max(fit, key=lambda row: row.mean, default=None)
