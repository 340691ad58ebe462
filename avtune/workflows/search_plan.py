"""A search before it runs: what was asked for, resolved against the machine and against a study that exists.

Whatever a user can have got wrong is found here, before there is a folder or a process; but for a dataset that cannot
be split, which is found while the runner's processes start.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from avtune.core.hyper import Value
from avtune.core.objective import objective
from avtune.core.protocol import VALIDATION, checked
from avtune.data.dataset import Dataset
from avtune.engine import user_code
from avtune.finals.checkpoints import checked_keep
from avtune.report.tracking import Target
from avtune.runners._base import Placement, Run, Runner
from avtune.runners.placement import PlacementRequest, place
from avtune.runners.placement_text import Places, places_of
from avtune.space.settings import FULL
from avtune.space.space import Space
from avtune.study.folder import StudyFolder
from avtune.workflows.choose_runner import has_wide_lanes, precision_named, runner_named
from avtune.workflows.continuing import changes_of, grows, start_of, with_schedule
from avtune.workflows.dataset_facts import dataset_facts
from avtune.workflows.end_early import still_ended
from avtune.workflows.like import Like
from avtune.workflows.open_study import FORMAT, open_space
from avtune.workflows.time_budget import TimeBudget


@dataclass(frozen=True)
class Request:
    """What the user asked for.

    Attributes:
        dataset: loaded and checked.
        spec: how the user named it.
        space: the checked space, overrides included.
        folder: where the study is or will be.
        placement: how trials are placed.
        runner: a name of `RUNNERS`, None to choose.
        precision: `fp32`, `tf32`, `bf16`, or None to choose; of the search, the retraining is fp32.
        deterministic: the same result however many devices.
        protocol: of the retraining, see `core.protocol`; None for that of the study, or `validation`.
        keep: the best trials whose weights are kept, None for what the study says, or none.
        retry_failed: train the study's failed trials again, and the failed runs of its finalists.
        overrides: those of the space, as `key=value`; kept for those who continue the study.
        track: where the study is tracked, by processes of their own.
        start: configurations that the user named, values of the axes each.
        like: configurations of earlier studies.
        time: the span of time that search and finals have; None for no limit.
        finish: suggest no further trial, see `study.study.Study.look_for_end`.
        notes: what is to be known of it before it runs.
        run: of a runner that is open already, as a bench has for its searches; None opens one for this search.
        full_finals: where nobody says how the finals go, every finalist has every seed, as the rows of a bench have.
    """

    dataset: Dataset
    spec: str
    space: Space
    folder: StudyFolder
    placement: PlacementRequest
    runner: str | None = None
    precision: str | None = None
    deterministic: bool = False
    protocol: str | None = None
    keep: int | None = None
    retry_failed: bool = False
    overrides: Sequence[str] = ()
    track: Sequence[Target] = ()
    start: Sequence[Mapping[str, Value]] = ()
    like: Like = field(default_factory=Like)
    time: TimeBudget | None = None
    finish: bool = False
    notes: Sequence[str] = ()
    run: Run | None = None
    full_finals: bool = False


@dataclass(frozen=True)
class Plan:
    """What will be done.

    Attributes:
        request: what was asked for; its space has the schedule of a study that is continued.
        before: the settings of the study that is continued; empty for a new one.
        changes: how the study will differ from before, a line each.
        settings: what `study.yaml` will hold, but for the training rows.
        runner: opens the runner.
        placement: how many processes, on which devices.
        function: the method is a training function of the user's own.
    """

    request: Request
    before: Mapping[str, Any]
    changes: Sequence[str]
    settings: Mapping[str, Any]
    runner: Runner
    placement: Placement
    function: bool

    @property
    def space(self) -> Space:
        return self.request.space

    @property
    def folder(self) -> StudyFolder:
        return self.request.folder

    @property
    def places(self) -> Places | None:
        """Where trials run, in numbers."""
        return places_of(self.where)

    @property
    def where(self) -> str:
        """Runner, placement and precision, in words."""
        return f"runner {self.settings['runner']}: {self.placement.text}, {self.settings['precision']}"


def resolve(request: Request) -> Plan:
    """Decides what the request leaves open: as the study that is continued has it, else as the machine suggests.

    Raises:
        UserError: something the user gave is wrong.
    """
    before = request.folder.settings() if request.folder.exists else {}
    objective(request.space.search.objective, request.dataset.views)
    if before:
        request = replace(request, space=with_schedule(request.space, open_space(request.folder)))
    function = user_code.function(request.space.method) is not None
    name, runner = runner_named(request.runner or before.get("runner"), function=function)
    protocol = checked(request.protocol or before.get("protocol") or VALIDATION)
    _check_user_code(request, protocol, function=function)
    keep = checked_keep(int(before.get("keep", 0)) if request.keep is None else request.keep, function=function)
    deterministic = request.deterministic or bool(before.get("deterministic"))
    wide = name == "lanes" and request.run is None and has_wide_lanes(request.space, request.dataset)
    placement = place(request.placement, name, request.space.search.trials, wide=wide, exact=deterministic)
    placement = placement.named("search", request.folder.root)
    known = before.get("precision", "fp32") if before else None
    request = replace(request, space=_with_policy(request, before, placement, name, deterministic=deterministic))
    settings = _asked(request) | {
        "runner": name,
        "placement": placement.text,
        "deterministic": deterministic,
        "precision": "fp32" if function else precision_named(request.precision, known, placement),
        "protocol": protocol,
        "keep": keep,
    }
    start, added = start_of(before, request.start, request.space)
    settings |= {"start": start} if start else {}
    earlier = request.like.after(before)
    settings |= {"like": earlier.to_json()} if earlier.studies else {}
    if before and settings.get("like") != before.get("like"):
        added.append(f"like: {', '.join(request.like.studies)}")
    request = replace(request, notes=[*request.notes, *earlier.notes, *request.like.left_out(before)])
    longest = None if request.time is None else request.time.seconds
    more = bool(before) and grows(open_space(request.folder), request.space)
    ended, goes_on = still_ended(before, more, longest, finish=request.finish)
    settings |= ended
    changes = [*changes_of(request.folder, settings, request.space), *added, *goes_on] if before else []
    return Plan(request, before, changes, settings, runner, placement, function)


def _with_policy(
    request: Request, before: Mapping[str, Any], placement: Placement, runner: str, *, deterministic: bool
) -> Space:
    """The space with a policy for its finals. Where nobody says: a study that is continued keeps its own; a bench has
    every seed of every finalist, so that its tables compare like with like; a new search has the usual one."""
    space, final = request.space, request.space.final
    if before:
        had = before["space"].get("final", {}).get("policy")
        policy = had if final.policy in (None, had or FULL) else final.policy
    elif final.policy is not None or request.full_finals:
        policy = final.policy
    else:
        shared = placement.gpus > 0 and runner == "lanes" and not deterministic
        policy = final.usual_policy(shared=shared)
    return replace(space, final=replace(final, policy=policy))


def _check_user_code(request: Request, protocol: str, *, function: bool) -> None:
    """Asks whether the labels can be learned from; and code of the user's own for what training will ask, but not where
    a study is finished and only shown again."""
    dataset = request.dataset
    user_code.check_labels(request.space.method, multi_label=dataset.is_multi_label)
    if function:
        user_code.check_function_search(request.space, protocol, request.precision)
    elif not request.folder.metrics.is_file():
        dims = dataset.audio_dim, dataset.visual_dim, dataset.num_classes
        user_code.check_method(request.space, dims, len(dataset.train), multi_label=dataset.is_multi_label)


def _asked(request: Request) -> dict[str, Any]:
    """The settings that are as they were asked for."""
    return {
        "format": FORMAT,
        "dataset": dataset_facts(request.dataset, request.spec),
        "space": request.space.as_dict(),
        "overrides": list(request.overrides),
        **({"code": code} if (code := user_code.facts(request.space.method)) else {}),
    }
