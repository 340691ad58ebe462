"""The options of verbs that are neither data nor code, each named in one place for the command line and for Python."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Self


@dataclass(frozen=True, kw_only=True)
class DeviceOptions:
    """Where trials run; `cli/arguments.add_devices` and the docstring of `avtune.search` say what each means.

    Attributes:
        results: the folder of studies. The machines of a cluster are looked at for it, see `Cluster.shared`; a study
            may be elsewhere, then `at`.
    """

    results: Path
    gpus: int | None
    cpus: int | None
    trials_per_gpu: int
    lanes: int | None
    cluster: str | None
    runner: str | None
    max_failures: int
    trial_timeout: float | None

    @classmethod
    def of(cls, given: object) -> Self:
        """From an object that has all of them as attributes: a parsed command line, or further options."""
        return cls(**{field.name: getattr(given, field.name) for field in fields(cls)})

    def at(self, results: Path) -> Self:
        """The same with another folder of studies."""
        return replace(self, results=results)


@dataclass(frozen=True, kw_only=True)
class SearchOptions(DeviceOptions):
    """Those of a search. An option that is added here is one of both, or neither can make a request.

    Attributes:
        track: trackers, as `workflows.tracking.checked` takes them.
        start: configurations to try, as `workflows.first_trials` takes them.
        like: earlier studies, as `workflows.like` takes them.
        portfolio: the search also tries the method's portfolio.
        around: a configuration, around which ranges are searched; given as `start`.
        time: the span of time that search and finals have, as `workflows.time_budget` takes it.
        width: share of each range that is searched around it; None for a quarter.
    """

    name: str | None
    precision: str | None
    deterministic: bool
    protocol: str | None
    keep: int | None
    retry_failed: bool
    track: Sequence[str] | None
    start: object
    like: object
    portfolio: bool
    around: object
    width: float | None
    time: object


@dataclass(frozen=True, kw_only=True)
class BenchOptions(DeviceOptions):
    """Those of a bench; None for what a bench has by itself."""

    name: str | None
    precision: str | None
    deterministic: bool
    trials: int | None
    epochs: int | str | None
    seeds: int | None
    reference: bool
    protocol: str | None
    set: Sequence[str]
