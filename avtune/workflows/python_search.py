"""From the arguments of `avtune.search` to a request; `cli/search.py` is the command line's counterpart."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

import yaml

from avtune.core.errors import UserError
from avtune.data.dataset import Dataset
from avtune.engine import user_code
from avtune.space.parse import parse
from avtune.space.space import Space
from avtune.workflows.choose_space import chosen
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

    def make(overrides: Sequence[str]) -> Space:
        return _space(arguments.space, code, usual_space(spec), overrides)

    named = arguments.space is not None
    return request_of(dataset, spec, arguments, overrides, code, make, space_is_named=named)


def _space(given: object, code: str | None, usual: str | None, overrides: Sequence[str]) -> Space:
    if isinstance(given, Mapping):
        return parse(
            yaml.safe_dump(plain(given), sort_keys=False),
            file="space",
            hypers_of=user_code.hypers_of,
            method_names=user_code.names(),
            overrides=overrides,
            method=code,
        )
    if given is not None and not isinstance(given, str | os.PathLike):
        raise UserError(f"space is a {type(given).__name__}; give a name, a file, or a mapping")
    return chosen(None if given is None else os.fspath(given), code, usual=usual, overrides=overrides)
