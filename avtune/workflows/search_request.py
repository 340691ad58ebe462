"""What a search is asked for, from its options: the same for the command line and for Python."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from avtune.core.names import new_name
from avtune.core.protocol import PUBLISHED
from avtune.data.dataset import Dataset
from avtune.data.registry import REGISTRY
from avtune.space.around import WIDTH
from avtune.space.configuration import Configuration
from avtune.space.space import Space
from avtune.study.folder import StudyFolder
from avtune.workflows.choose_runner import placement_request
from avtune.workflows.choose_space import around_configuration
from avtune.workflows.continuing import space_of_study
from avtune.workflows.first_trials import around_note, centre_of, check_method, named_points
from avtune.workflows.like import like
from avtune.workflows.open_study import open_space
from avtune.workflows.options import SearchOptions
from avtune.workflows.portfolio import portfolio
from avtune.workflows.search_plan import Request
from avtune.workflows.time_budget import TimeBudget, seconds_of
from avtune.workflows.tracking import checked
from avtune.workflows.validation_rows import as_recorded, fitted

MakeSpace = Callable[[Sequence[str]], Space]
"""Makes the space that is asked for, or the usual one, with overrides (`key=value` each)."""


def folder_of(dataset: Dataset, options: SearchOptions) -> StudyFolder:
    """The folder of the study that is meant, which exists or not.

    Raises:
        UserError: its name is not legal.
    """
    mark = "-published" if options.protocol == PUBLISHED else ""
    return StudyFolder(options.results / new_name(options.name, "", dataset.name, mark))


def usual_space(spec: str) -> str | None:
    """The name of the space that comes with a registered dataset; None for any other."""
    return REGISTRY[spec].space if spec in REGISTRY else None


def request_of(
    dataset: Dataset,
    spec: str,
    options: SearchOptions,
    overrides: Sequence[str],
    code: str | None,
    make: MakeSpace,
    *,
    space_is_named: bool,
    notes: Sequence[str] = (),
) -> Request:
    """The request for a new study, or to continue the one that has its name.

    Args:
        dataset: loaded and checked.
        spec: how the user named it.
        overrides: values of the space that are given, as `key=value`.
        code: the method, or the code of the user's own, that is named; None for what the space says.
        make: makes the space of a new study, or the one that is named for a study that exists.
        space_is_named: whether the user names a space.
        notes: what is to be said of the space, which `make` may add.

    Raises:
        UserError: something the user gave is wrong.
    """
    folder = folder_of(dataset, options)
    budget = None if options.time is None else TimeBudget(seconds_of(options.time))
    centre = centre_of(options)
    if centre is not None:
        make, space_is_named = _around(make, centre, options.width), True
    if folder.exists:
        space, overrides = space_of_study(folder, code, overrides, make if space_is_named else None)
        space = as_recorded(space, open_space(folder)) if space_is_named else space
    else:
        space = fitted(make(overrides), dataset, overrides)
    earlier = like(options.like, space, options.results)
    return Request(
        dataset=dataset,
        spec=spec,
        space=space,
        folder=folder,
        placement=placement_request(options),
        runner=options.runner,
        precision=options.precision,
        deterministic=options.deterministic,
        overrides=overrides,
        protocol=options.protocol,
        keep=options.keep,
        retry_failed=options.retry_failed,
        track=checked(options.track or ()),
        start=named_points(
            [*([] if centre is None else [_as_set(centre, space, overrides)]), options.start], space, options.results
        ),
        like=earlier.then(portfolio(space)) if options.portfolio else earlier,
        time=budget,
        notes=[*dict.fromkeys(notes), *([] if centre is None else [around_note(space, centre)])],
    )


def _as_set(centre: Configuration, space: Space, overrides: Sequence[str]) -> Configuration:
    """The centre of ranges without the values in whose place an override has fixed another one."""
    keys = [one.partition("=")[0].strip() for one in overrides]
    values = {
        name: entry for name, entry in centre.values.items() if f"space.{name}" not in keys or name not in space.fixed
    }
    return replace(centre, values=values)


def _around(make: MakeSpace, centre: Configuration, width: float | None) -> MakeSpace:
    """Makes the space with ranges around a configuration."""

    def made(overrides: Sequence[str]) -> Space:
        space = make([])
        check_method(centre, space.method)
        return around_configuration(space, centre, WIDTH if width is None else width, overrides)

    return made
