"""What a search tells while it runs. A workflow prints nothing; who calls it decides what a user reads."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from avtune.data.dataset import Dataset
from avtune.space.space import Space
from avtune.study.horizon import Horizon
from avtune.study.listener import Listener
from avtune.study.record import Record
from avtune.study.results import Results
from avtune.study.study import Study


@dataclass(frozen=True)
class Planned:
    """What a search is about to do.

    Attributes:
        dataset: that is trained on.
        horizon: of the trials, with their space.
        study: its folder.
        where: runner, placement and precision, in words.
        protocol: of the retraining.
        done: trials known from before.
        repaired: a line that a kill had torn was cut off a file of the study.
        changes: how the study differs from before, a line each.
        problems: of the dataset, which touch the test score.
        notes: on the settings.
        limited: what the dataset leaves no room for, see `study.limits`.
        nodes: of the cluster, a line each.
    """

    dataset: Dataset
    horizon: Horizon
    study: Path
    where: str
    protocol: str
    done: int = 0
    repaired: bool = False
    changes: Sequence[str] = ()
    problems: Sequence[str] = ()
    notes: Sequence[str] = ()
    limited: Sequence[str] = ()
    nodes: Sequence[str] = ()


@dataclass(frozen=True)
class Concluded:
    """What a search came to.

    Attributes:
        study: which has ended.
        results: what `final/metrics.json` holds.
        kept: trials whose weights are there, best first.
        time: what came of `--time`, in words; empty where there was no limit.
    """

    study: Study
    results: Results
    kept: Sequence[int]
    time: str = ""


class Stages(Protocol):
    """Is told how far runs are that are not a search's trials."""

    def training(self) -> AbstractContextManager[object]:
        """Training happens inside, and `stage` is called there only."""

    def stage(self, name: str, done: int, total: int) -> None:
        """So many runs of a stage have ended; also called when it begins."""


class SearchListener(Listener, Stages, Protocol):
    """Is told what happens in a search, in the order of these methods, and of its trials as a study's `Listener`."""

    def begins(self, space: Space) -> None: ...
    def nothing_to_retry(self) -> None: ...
    def planned(self, plan: Planned) -> None: ...

    def known(self, study: Study) -> None:
        """What a study that is continued has done before."""

    def finished_before(self) -> None:
        """Nothing is left to do: the result comes again."""

    def ended_early(self, why: str) -> None:
        """There are fewer trials than were asked for, and now the finals."""

    def noted(self, text: str) -> None:
        """A machine of the cluster has come or gone."""

    def concluded(self, end: Concluded) -> None: ...

    def tracking(self, text: str) -> None:
        """A tracker has not got all of the study; what to do about it."""


class Silent:
    """A `SearchListener` that does nothing; others may derive from it and say what they care for."""

    def begins(self, space: Space) -> None:
        return None

    def nothing_to_retry(self) -> None:
        return None

    def planned(self, plan: Planned) -> None:
        return None

    def known(self, study: Study) -> None:
        return None

    def finished_before(self) -> None:
        return None

    def training(self) -> AbstractContextManager[object]:
        return nullcontext()

    def started(self, record: Record) -> None:
        return None

    def epoch(self, record: Record, epoch: int, metrics: Any) -> None:
        return None

    def ended(self, record: Record) -> None:
        return None

    def stage(self, name: str, done: int, total: int) -> None:
        return None

    def ended_early(self, why: str) -> None:
        return None

    def noted(self, text: str) -> None:
        return None

    def concluded(self, end: Concluded) -> None:
        return None

    def tracking(self, text: str) -> None:
        return None
