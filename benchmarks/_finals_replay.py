"""Full finals of finished studies, and races replayed on them. Nothing is trained."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from avtune.core.errors import UserError
from avtune.core.files import read_lines
from avtune.core.trial import Trial
from avtune.finals.race import pooled_spread
from avtune.finals.repeats import Entrant, Seeds, race
from avtune.finals.run_record import Result
from avtune.finals.select import Candidate, winner
from avtune.space.recorded import recorded_space
from avtune.study.best import Best, read_best
from avtune.study.folder import StudyFolder
from avtune.study.horizon import Horizon
from avtune.study.summary import expected_at_rungs

Curves = npt.NDArray[np.float64]
"""Validation MAP [finalists, seeds, epochs]; the default configuration is the last finalist."""


@dataclass(frozen=True)
class Finals:
    """Full finals on record.

    Attributes:
        name: of the study, with its bench.
        curves: of the repeats.
        may_win: whether the default configuration was a trial.
        trials: of the search.
        search_seconds, repeat_seconds, retraining_seconds: device seconds that it took.
        growth: how many times its epochs a search of 64 trials is expected to train.
    """

    name: str
    curves: Curves
    may_win: bool
    trials: int
    search_seconds: float
    repeat_seconds: float
    retraining_seconds: float
    growth: float

    @property
    def spread(self) -> float:
        """Standard deviation within a finalist at its best epoch, pooled over the finalists."""
        epochs = self.curves.mean(axis=1).argmax(axis=1)
        return pooled_spread(list(self.curves[np.arange(len(self.curves)), :, epochs]))[0]

    @property
    def means(self) -> npt.NDArray[np.float64]:
        """Of each finalist over all seeds, at its best epoch."""
        best: npt.NDArray[np.float64] = self.curves.mean(axis=1).max(axis=1)
        return best


def studies(folder: Path) -> list[Path]:
    """The studies of a bench, or a study itself."""
    if (folder / "study.yaml").is_file():
        return [folder]
    return sorted(path.parent for path in folder.glob("*/study.yaml"))


def read(path: Path) -> Finals | None:
    """The finals of a study; None, and a line that says why, where they cannot be replayed."""
    folder = StudyFolder(path)
    try:
        best, settings = read_best(folder), folder.settings()
        space = recorded_space(settings["space"], folder.study_yaml)
        if best is None or not folder.metrics.is_file():
            raise UserError(f"{path} is not finished")
        lines, _ = read_lines(folder.repeats, repair=False)
        spent, _ = read_lines(folder.curves, repair=False)
        repeats = [line for line in lines if line["curve"]]
        found = by_finalist(best, [list(line["curve"].values()) for line in repeats])
        if space.final.races or found is None or found.shape[1] != space.final.seeds or space.final.seeds < 3:
            raise UserError(f"{path} has no finals in which every finalist has the same epochs over at least 3 seeds")
    except UserError as error:
        print(f"left out: {error}", file=sys.stderr)
        return None
    horizon = Horizon(space, int(settings.get("rows", 0)))
    return Finals(
        name="/".join(path.resolve().parts[-2:]),
        curves=found,
        may_win=next(row.trial for row in best.finalists if row.is_default) is not None,
        trials=space.search.trials,
        search_seconds=sum(float(line.get("seconds", 0.0)) for line in spent),
        repeat_seconds=sum(line["seconds"] for line in repeats),
        retraining_seconds=sum(line["seconds"] for line in lines if not line["curve"]),
        growth=_epochs(64, horizon) / _epochs(space.search.trials, horizon),
    )


def _epochs(trials: int, horizon: Horizon) -> float:
    """That a search of so many trials is expected to train."""
    table = [(0, 0.0), *expected_at_rungs(trials, horizon)]
    return sum(reach * (epoch - before) for (before, _), (epoch, reach) in itertools.pairwise(table))


def by_finalist(best: Best, curves: Sequence[Sequence[float]]) -> Curves | None:
    """The curves of the repeats in order, see `Curves`; None where they are not of one length, or not all there.

    Args:
        best: says which value each seed of each finalist has at which epoch, by which its curve is found.
        curves: in the order in which the runs ended.
    """
    found = []
    for row in sorted(best.finalists, key=lambda row: bool(row.is_default)):
        fits = [
            next((curve for curve in curves if len(curve) >= row.epoch > 0 and curve[row.epoch - 1] == value), [])
            for value in row.seeds or ()
        ]
        found.append(fits)
    lengths = {len(curve) for fits in found for curve in fits}
    has_default = any(row.is_default for row in best.finalists)
    if not has_default or len({len(fits) for fits in found}) != 1 or len(lengths) != 1 or lengths == {0}:
        return None
    return np.array(found, dtype=np.float64)


def orders(curves: Curves) -> Iterator[Curves]:
    """The seeds in every order of which a race of five can take notice: which two come first, and which third."""
    seeds = curves.shape[1]
    for first in itertools.combinations(range(seeds), 2):
        rest = [seed for seed in range(seeds) if seed not in first]
        for third in rest:
            yield curves[:, [*first, third, *(seed for seed in rest if seed != third)]]


def drawn(curves: Curves, draws: int, closer: float = 1.0) -> Iterator[Curves]:
    """Curves of seeds that were not run: the mean curve plus the recorded seeds' deviations from it, added with normal
    weights, the same for all finalists, so that the covariance over epochs and finalists is that of the recorded seeds.

    Args:
        closer: by what the distances of the finalists' best means are multiplied.
    """
    generator = np.random.default_rng(0)
    means = curves.mean(axis=1)
    apart = curves - means[:, None]
    tops = means.max(axis=1)
    means = means + ((tops.max() - tops) * (1 - closer))[:, None]
    seeds = curves.shape[1]
    for _ in range(draws):
        weights = generator.normal(size=(seeds, seeds)) / (seeds - 1) ** 0.5
        yield means[:, None] + np.einsum("ts,fse->fte", weights, apart)


def replay(curves: Curves, *, may_win: bool) -> tuple[int, list[int]]:
    """(the winner's place, runs of each finalist) of a race on these curves.

    Args:
        may_win: the default configuration was a trial.
    """
    count, seeds, epochs = curves.shape
    entrants = []
    for place in range(count):
        number = None if place == count - 1 and not may_win else place
        runs = [Trial(0, "replay", {"finalist": place}, seed, epochs) for seed in range(seeds)]
        entrants.append(Entrant(Candidate(number, {"finalist": place}), runs))

    def do(stage: str, names: Sequence[str], runs: Sequence[Trial]) -> list[Result]:
        found = [curves[int(run.config["finalist"]), run.seed].tolist() for run in runs]
        return [Result(dict(enumerate(curve, 1)), 0.0) for curve in found]

    race(entrants, Seeds(do, "a curve is empty"))
    won = winner([one.repeated() for one in entrants])
    assert won is not None
    return int(won.candidate.config["finalist"]), [len(one.results) for one in entrants]


@dataclass
class Tally:
    """What replays on a study have shown.

    Attributes:
        same: whether the winner was that of the full finals.
        losses: validation MAP over all seeds that the winner lacks of theirs, in the seeds' spread.
        runs: share of the runs of the full finals.
        default_losses: where the default configuration had fewer seeds than there are: what its epoch costs it over
            all seeds, in the seeds' spread.
        default_shares: the same as a share of its distance to the winner.
    """

    same: list[bool] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    runs: list[float] = field(default_factory=list)
    default_losses: list[float] = field(default_factory=list)
    default_shares: list[float] = field(default_factory=list)


def tally(finals: Finals, sets: Iterable[Curves]) -> Tally:
    """Replays races on sets of curves of a study."""
    found, spread = Tally(), max(finals.spread, 1e-9)
    for curves in sets:
        means = curves.mean(axis=1)
        tops = means.max(axis=1)
        fit = tops if finals.may_win else tops[:-1]
        won, runs = replay(curves, may_win=finals.may_win)
        found.same.append(bool(tops[won] == fit.max()))
        found.losses.append(float(fit.max() - tops[won]) / spread)
        found.runs.append(sum(runs) / (curves.shape[0] * curves.shape[1]))
        if runs[-1] < curves.shape[1]:
            epoch = curves[-1, : runs[-1]].mean(axis=0).argmax()
            lost = float(tops[-1] - means[-1, epoch])
            found.default_losses.append(lost / spread)
            found.default_shares.append(lost / max(float(tops[won] - tops[-1]), 1e-9))
    return found
