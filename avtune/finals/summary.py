"""What the finals found, as `best.yaml` and `final/metrics.json` hold it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from avtune.core.hyper import Value
from avtune.core.objective import MAP
from avtune.core.patience import still_rises
from avtune.core.protocol import PUBLISHED, SELECTED_ON_TEST
from avtune.core.trial import Trial
from avtune.data.dataset import Dataset
from avtune.data.findings import examine
from avtune.finals.race import ERROR
from avtune.finals.retraining import Retraining
from avtune.finals.run_record import Curve
from avtune.finals.scores import over_seeds
from avtune.finals.select import Repeated, default_among, retraining_seed
from avtune.metrics import RetrievalScores
from avtune.space.space import Space
from avtune.study.best import Best, Finalist
from avtune.study.folder import StudyFolder
from avtune.study.horizon import Horizon
from avtune.study.results import Race, Results, ScoredDataset, StillRises
from avtune.study.scores import ValidationScore
from avtune.study.status import longer_command
from avtune.study.study import Study


@dataclass(frozen=True)
class Chosen:
    """The configuration that is retrained and scored, and with what.

    Attributes:
        horizon: of its study; `final.seeds` of its space is the number of retrainings.
        dataset: whose training rows it is retrained on and whose test split it is scored on.
        best: the configuration, and for how many epochs validation says to train it.
        rows: all finalists; none where the user chose a trial.
        protocol: of the retraining, see `avtune.core.protocol`.
    """

    horizon: Horizon
    dataset: Dataset
    best: Repeated
    rows: tuple[Repeated, ...]
    protocol: str

    @property
    def space(self) -> Space:
        return self.horizon.space

    @property
    def seeds(self) -> list[int]:
        """Of the retrainings."""
        return [retraining_seed(self.space, index) for index in range(self.space.final.seeds)]

    @property
    def default(self) -> Repeated | None:
        """The default configuration among the finalists, also where it won; None where it is none, or failed."""
        return next((row for row in self.rows if self.is_default(row) and not row.failure), None)

    @property
    def retrained(self) -> dict[str, Repeated]:
        """What is retrained, by its row in the table of test scores: `test` and, where it is another, `default`."""
        default = self.default if self.space.final.default else None
        return {"test": self.best} | ({"default": default} if default is not None and default is not self.best else {})

    def is_default(self, row: Repeated) -> bool:
        """Whether a finalist is the default configuration."""
        return dict(row.candidate.config) == _default(self.rows, self.space)


@dataclass(frozen=True)
class Retrained:
    """The runs of a retraining, done.

    Attributes:
        runs: each with its curve, by the row of the table of test scores, seed by seed.
        seconds: device seconds of those of the row `test`.
    """

    runs: Mapping[str, Sequence[tuple[Trial, Curve]]]
    seconds: float

    def epochs(self, row: str) -> int:
        """Of the runs of a row."""
        return self.runs[row][0][0].epochs


def best_of(study: Study, best: Repeated, rows: Sequence[Repeated]) -> Best:
    """What `best.yaml` holds.

    Args:
        best: the winner.
        rows: all finalists.
    """
    assert best.candidate.number is not None
    record = study.records[best.candidate.number]
    ordered = sorted(rows, key=lambda row: (row.failure is not None, row.dropped, -row.mean if row.values else 0.0))
    default = _default(rows, study.space)
    return Best(
        trial=record.number,
        epoch=record.best_epoch,
        val_map=record.best_value,
        config=dict(record.trial.config),
        finalists=tuple(_finalist(row, default) for row in ordered),
        retrain_epochs=best.epoch,
        objective=study.space.search.objective,
        method=study.space.method,
    )


def _default(rows: Sequence[Repeated], space: Space) -> dict[str, Value]:
    return default_among((row.candidate.config for row in rows), space)


def _finalist(row: Repeated, default: Mapping[str, Value]) -> Finalist:
    return Finalist(
        trial=row.candidate.number,
        epoch=row.epoch,
        mean=row.mean if row.failure is None else None,
        sd=row.spread if row.failure is None else None,
        is_default=dict(row.candidate.config) == default,
        seeds=row.values,
        failure=row.failure,
        dropped=row.dropped or None,
    )


def results_of(
    chosen: Chosen,
    way: Retraining,
    done: Retrained,
    scores: Mapping[str, Sequence[RetrievalScores]],
    *,
    folder: StudyFolder,
    times: int,
) -> Results:
    """What `metrics.json` holds, but for the digests of files.

    Args:
        done: the runs of the retraining.
        scores: test scores of each seed by the row of the table: `test`, and `default` and `untrained` where they are.
        folder: of the study.
        times: configurations of the study that have been scored on its test split, these included.
    """
    best, dataset = chosen.best, chosen.dataset
    published = chosen.protocol == PUBLISHED
    rows = {
        name: over_seeds(of, chosen.space.search.seed, done.epochs(name) if name == "default" else None)
        for name, of in scores.items()
    }
    default_won = best is chosen.default
    is_map = chosen.space.search.objective == MAP.text
    return Results(
        dataset=ScoredDataset(dataset.name, dataset.digest, len(dataset.test), dataset.views),
        problems=examine(dataset).problems,
        method=chosen.space.method,
        trial=best.candidate.number,
        epochs=done.epochs("test"),
        seeds=tuple(chosen.seeds),
        precision=way.precision,
        protocol=chosen.protocol,
        selected_on=("test" if published else "validation") if chosen.rows else "nothing: chosen by hand",
        times_test_was_scored=times,
        scored_together=len(chosen.retrained),
        test=rows["test"],
        tied_queries=sum(one.tied for one in scores["test"]) / len(scores["test"]) or None,
        label=SELECTED_ON_TEST if published else None,
        best_epochs=tuple(way.best_epoch(*run) for run in done.runs["test"]) if published else None,
        still_rises=_still_rises(folder, chosen),
        validation=ValidationScore(best.mean, best.spread, best.values, is_map) if best.values else None,
        default=rows["test"] if default_won else rows.get("default"),
        default_is_winner=True if default_won else None,
        untrained=rows.get("untrained"),
        retraining_seconds=done.seconds,
        race=race_of(chosen.space, chosen.rows),
        objective=None if is_map else chosen.space.search.objective,
    )


def race_of(space: Space, rows: Sequence[Repeated]) -> Race | None:
    """What the results say of a race; None where every finalist was run over all seeds.

    Args:
        rows: all finalists; none where the user chose a trial.
    """
    if not (rows and space.final.races):
        return None
    return Race(space.final.seeds, ERROR, {row.candidate.called: len(row.results) for row in rows})


def ended_by_horizon(horizon: Horizon, row: Repeated) -> bool:
    """Whether a finalist's mean curve still rose when it had no epochs left."""
    whole = 0 < len(row.curve) >= horizon.epochs(row.candidate.config)
    return whole and still_rises(list(row.curve.values()))


def _still_rises(folder: StudyFolder, chosen: Chosen) -> StillRises | None:
    """Of the winner, or of a finalist that may overtake it. The default configuration is a reference: its curve does
    not matter unless it wins."""
    others = [row for row in chosen.rows if row is not chosen.best and not chosen.is_default(row)]
    for row in (chosen.best, *others):
        if ended_by_horizon(chosen.horizon, row):
            assert row.candidate.number is not None
            return StillRises(row.candidate.number, len(row.curve), longer_command(folder, chosen.horizon))
    return None
