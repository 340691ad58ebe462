"""What a search would take, before it runs: seconds, epochs and stopped trials, from simulated searches.

The search is simulated as `search` would run it (the study, its sampler and rungs, finals and retraining), on a virtual
clock. What trials come to is taken from recorded curves, see `plan_curves`; what things take from a study's seconds, or
from what a named device was measured to do. What was assumed is said.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from avtune.core.errors import UserError
from avtune.core.system import usable_cores
from avtune.data.options import ReadOptions
from avtune.data.registry import REGISTRY, Entry, load, locate
from avtune.engine.memory import is_wide
from avtune.engine.precision import fast_precision
from avtune.engine.user_code import check_labels
from avtune.finals.reference import NONE
from avtune.runners._base import Cluster, Placement
from avtune.runners.costs import Size
from avtune.runners.placement import PlacementRequest, place
from avtune.space.space import Space
from avtune.study.folder import StudyFolder
from avtune.study.horizon import Horizon
from avtune.study.recorded_curves import RecordedCurves
from avtune.study.simulated_curves import Surrogate
from avtune.workflows.like import Like
from avtune.workflows.open_study import horizon_of
from avtune.workflows.plan_costs import costs_of, factor_here
from avtune.workflows.plan_curves import curves_for
from avtune.workflows.plan_steps import slower_here
from avtune.workflows.portfolio import portfolio, tried_text
from avtune.workflows.simulated_search import Setting, Simulated, simulate

_SCORING, _SCORING_PAIR = 0.3, 3e-8  # seconds of scoring a model, and for each pair of test clips
_FINISH = 4.0  # report, model card, TensorBoard
_SECONDS, _LEAST, _MOST = 4.0, 2, 40  # for simulated searches; how many
_MOST_FITTED = 150  # recorded configurations that the surrogate is fitted to


@dataclass(frozen=True)
class Data:
    """What is known of a dataset.

    Attributes:
        name: of it.
        train, test: rows.
        widths: of the features of both views.
        classes: how many.
        is_here: whether its file is.
        multi_label: its clips have several labels.
    """

    name: str
    train: int
    test: int
    widths: tuple[int, int]
    classes: int
    is_here: bool = True
    multi_label: bool = False


@dataclass(frozen=True)
class PlanRequest:
    """What is asked.

    Attributes:
        data: see `data_of`.
        space: what would be searched, with overrides.
        gpus, cpus: of the machine that is planned for; None for those of this one.
        lanes: of an engine, None to choose.
        portfolio: the search also tries the method's portfolio.
        curves: studies and files of recorded curves; none for those that come with avtune.
    """

    data: Data
    space: Space
    gpus: int | None = None
    cpus: int | None = None
    lanes: int | None = None
    portfolio: bool = False
    curves: Sequence[StudyFolder | Path] = ()


@dataclass(frozen=True)
class Range:
    """A figure: what is expected, and between which ends."""

    expected: float
    low: float
    high: float


@dataclass(frozen=True)
class Prediction:
    """The answer.

    Attributes:
        horizon: of the trials.
        placement: of them, in words.
        searches: how many were simulated.
        seconds: by part (`search`, `finals`, `retraining`, `scoring and report`, `whole command`).
        epochs: lane-epochs, by part (`search`, `finals`, `retraining`).
        stopped: trials that rungs stop.
        device_seconds: in which devices train, all together.
        assumed: what the figures rest on, a sentence each.
    """

    horizon: Horizon
    placement: str
    searches: int
    seconds: dict[str, Range]
    epochs: dict[str, Range]
    stopped: Range
    device_seconds: Range
    assumed: Sequence[str]


def data_of(spec: str, reading: ReadOptions | None = None) -> Data:
    """The sizes of a dataset: of its file, or of the registry where the file is not here.

    Args:
        reading: how its file is read.

    Raises:
        UserError: no such dataset.
    """
    entry = REGISTRY.get(spec)
    if entry is not None and entry.file is not None and locate(entry) is None:
        return _registered(entry)
    found = load(spec, reading)
    sizes, widths = (len(found.train), len(found.test)), (found.audio_dim, found.visual_dim)
    return Data(found.name, *sizes, widths, found.num_classes, multi_label=found.is_multi_label)


def data_of_rows(rows: int | None) -> Data:
    """A dataset of which only the number of training clips is known; the rest as in VEGAS.

    Raises:
        UserError: it is not known, or too few.
    """
    if rows is None or rows < 10:
        raise UserError(f"--rows is {rows}; a space file says no sizes: give --rows N, the training clips, 10 or more")
    like = REGISTRY["vegas"]
    widths = like.audio_dim, like.visual_dim
    return Data(f"{rows} clips", rows, rows // 4, widths, like.num_classes, is_here=False)


def _registered(entry: Entry) -> Data:
    widths = entry.audio_dim, entry.visual_dim
    return Data(entry.name, entry.num_train, entry.num_test, widths, entry.num_classes, is_here=False)


def plan(request: PlanRequest) -> Prediction:
    """Predicts a search.

    Raises:
        UserError: the curves cannot be read, the placement is not possible, or the method cannot learn from the labels.
    """
    data = request.data
    check_labels(request.space.method, multi_label=data.multi_label)
    placement, device, precision = _where(request)
    space = _with_policy(request.space, placement)
    folds = space.validation.folds or 1
    held_out = data.train * (1 / folds if space.validation.folds else space.validation.fraction or 0.0)
    size = Size(int(data.train - held_out), round(held_out), data.widths)
    known, note = curves_for(request.curves, data.name, space)
    factor, why, doubt = factor_here(
        request.curves,
        device,
        precision,
        known,
        lambda: slower_here(space, data.widths, data.classes, size.rows, placement.lanes, precision),
    )
    horizon = horizon_of(space, size.rows)
    fitted = [Surrogate(_thinned(one), horizon.steps) for one in known]
    costs = costs_of(size, device, precision, factor, folds)
    costs = replace(costs, scoring=_SCORING + _SCORING_PAIR * data.test**2, finish=_FINISH)
    whole = replace(size, rows=data.train, validation_rows=0)
    tried = portfolio(space) if request.portfolio else Like()
    final_costs = costs_of(whole, device, "fp32", factor, 1)
    found = _simulated([Setting(horizon, one, costs, final_costs, placement, like=tried.points) for one in fitted])
    return Prediction(
        horizon,
        placement.text,
        len(found),
        _seconds(found, doubt),
        {
            "search": _range([one.epochs for one in found]),
            "finals": _range([one.repeats.epochs for one in found]),
            "retraining": _range([one.retraining.epochs for one in found]),
        },
        _range([one.stopped for one in found]),
        _range([_device_seconds(one) for one in found], doubt),
        [
            *_about(data),
            *note,
            why,
            _finals(space),
            *tried_text(space, tried),
            _ranges(len(found), len(known), doubt),
        ],
    )


def _with_policy(space: Space, placement: Placement) -> Space:
    """The space with the policy for its finals that a new search of the runner `lanes` would have there."""
    policy = space.final.policy or space.final.usual_policy(shared=placement.gpus > 0)
    return replace(space, final=replace(space.final, policy=policy))


def _finals(space: Space) -> str:
    default = " and the default configuration" if space.final.default else ""
    most = f"{space.final.finalists} finalists{default} over {space.final.seeds} seeds"
    said = f"finals: {most}, {'those that may still win (a race)' if space.final.races else 'every one (full)'}"
    return said if space.final.reference == NONE else f"{said}; the plain reference beside them is not counted"


def _ranges(searches: int, known: int, doubt: float) -> str:
    shared = f", as many on each of the {known} sets of curves" if known > 1 else ""
    return f"ranges: eight in ten of {searches} simulated searches{shared}, and {doubt:.0%} for the costs"


def _simulated(settings: Sequence[Setting]) -> list[Simulated]:
    """Simulated searches, which differ in their seeds, as many as a few seconds allow; of each setting as many."""
    end, found = time.monotonic() + _SECONDS, list[Simulated]()
    least = max(_LEAST, len(settings))
    while len(found) < least or (time.monotonic() < end and len(found) < _MOST):
        seed = len(found) // len(settings)
        found += [simulate(_seeded(one, seed)) for one in settings]
    return found


def _seeded(setting: Setting, seed: int) -> Setting:
    """The same search with another seed."""
    space = setting.horizon.space
    space = replace(space, search=replace(space.search, seed=space.search.seed + seed))
    return replace(setting, horizon=replace(setting.horizon, space=space))


def _seconds(found: Sequence[Simulated], doubt: float) -> dict[str, Range]:
    parts = {
        "search": [one.search.seconds for one in found],
        "finals": [one.repeats.seconds for one in found],
        "retraining": [one.retraining.seconds for one in found],
        "scoring and report": [one.rest for one in found],
        "whole command": [one.seconds for one in found],
    }
    return {name: _range(values, doubt) for name, values in parts.items()}


def _device_seconds(one: Simulated) -> float:
    return sum(stage.device_seconds for stage in (one.search, one.repeats, one.retraining))


def _range(values: Sequence[float], doubt: float = 0.0) -> Range:
    """The median, and what eight in ten searches come to, widened by the doubt as if both were independent."""
    low, middle, high = (float(np.quantile(values, share)) for share in (0.1, 0.5, 0.9))
    if middle <= 0 or low <= 0:
        return Range(middle, low, high)
    down, up = (math.hypot(math.log(end / middle), math.log1p(doubt)) for end in (low, high))
    return Range(middle, middle * math.exp(-down), middle * math.exp(up))


# --- where


def _where(request: PlanRequest) -> tuple[Placement, str, str]:
    """Where the trials would run: the placement, the kind of device, and the precision of a search there."""
    import torch

    space, data = request.space, request.data
    here = torch.cuda.device_count()
    gpus = here if request.gpus is None else request.gpus
    cpus = usable_cores() if request.cpus is None else request.cpus
    if gpus < 0 or cpus < 1:
        raise UserError(f"--gpus is {gpus} and --cpus {cpus}; allowed: whole numbers from 0, and from 1")
    wide = is_wide(space.method, space.defaults(), (*data.widths, data.classes))
    # A machine that need not be this one: what a search checks against this one is not checked.
    planned = Cluster("the machine that is planned for", max(cpus, gpus), gpus, Path())
    asked = PlacementRequest(gpus, lanes=request.lanes, cpus=max(cpus, gpus), cluster=planned)
    placement = replace(place(asked, "lanes", space.search.trials, wide=wide), cluster=None)
    if gpus:
        return placement, "gpu", "bf16"
    return placement, "cpu", fast_precision(0)


def _thinned(recorded: RecordedCurves) -> RecordedCurves:
    """At most so many configurations, the first ones: they are in no order."""
    kept = set(list(recorded.by_configuration)[:_MOST_FITTED])
    return replace(recorded, runs=[run for run in recorded.runs if run.number in kept])


def _about(data: Data) -> list[str]:
    if data.is_here:
        return []
    audio, visual = data.widths
    whence = "its sizes are the registry's" if data.name in REGISTRY else "sizes"
    return [
        f"data: {data.name} {'is' if data.name in REGISTRY else 'are'} not here; {whence}: {data.train} training and "
        f"{data.test} test clips, audio {audio}-d, visual {visual}-d"
    ]
