"""From the arguments of `avtune.search` to a request; `cli/search.py` is the command line's counterpart."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

import yaml

from avtune.core.errors import UserError
from avtune.data.dataset import Dataset
from avtune.space.space import Space
from avtune.workflows.choose_space import chosen, holds_configuration, of_configuration, parse_text
from avtune.workflows.python_data import spec_of
from avtune.workflows.python_options import SearchArguments, checked, plain
from avtune.workflows.python_run import check_ray
from avtune.workflows.search_plan import Request
from avtune.workflows.search_request import request_of, usual_space


def request_for(dataset: Dataset, given: object, arguments: SearchArguments, code: str | None) -> Request:
    """What a call asks for.

    Args:
        given: what the caller named the dataset by; the dataset itself, where it was loaded before.
        code: the method or training function that is named, registered already; None for what the space says.

    Raises:
        UserError: something the user gave is wrong.
    """
    arguments = checked(arguments)
    check_ray(arguments)
    spec, overrides = spec_of(dataset, given), arguments.overrides()

    notes: list[str] = []

    def make(overrides: Sequence[str]) -> Space:
        return _space(arguments.space, code, usual_space(spec), overrides, notes)

    named = arguments.space is not None
    return request_of(dataset, spec, arguments, overrides, code, make, space_is_named=named, notes=notes)


def _space(given: object, code: str | None, usual: str | None, overrides: Sequence[str], notes: list[str]) -> Space:
    if isinstance(given, Mapping):
        text = yaml.safe_dump(plain(given), sort_keys=False)
        if holds_configuration(text, "space"):
            return of_configuration(text, "space", code, usual=usual, overrides=overrides, notes=notes)
        return parse_text(text, "space", code, overrides)
    if given is not None and not isinstance(given, str | os.PathLike):
        raise UserError(f"space is a {type(given).__name__}; give a name, a file, or a mapping")
    file = None if given is None else os.fspath(given)
    return chosen(file, code, usual=usual, overrides=overrides, notes=notes)
