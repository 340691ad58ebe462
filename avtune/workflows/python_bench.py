"""From the arguments of `avtune.bench` to a request; `cli/bench.py` is the command line's counterpart."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from avtune.core.errors import UserError, shown
from avtune.data.dataset import ARRAYS, Dataset
from avtune.methods import Method
from avtune.workflows.bench.request import request_of
from avtune.workflows.bench.run import BenchRequest
from avtune.workflows.options import BenchOptions
from avtune.workflows.python_code import named_code
from avtune.workflows.python_data import path_text, spec_of
from avtune.workflows.python_options import checked, whole_or_none
from avtune.workflows.python_run import check_ray


def request_for(
    dataset: Dataset,
    given: object,
    options: BenchOptions,
    methods: Sequence[str | type[Method]] | None,
    space: Mapping[str, str | os.PathLike[str]] | None,
    train: str | Callable[..., Any] | None = None,
) -> BenchRequest:
    """What a call asks for.

    Args:
        given: what the caller named the dataset by; the dataset itself, where it was loaded before.

    Raises:
        UserError: something the user gave is wrong.
    """
    trials, seeds = whole_or_none("trials", options.trials), whole_or_none("seeds", options.seeds)
    options = replace(checked(options), trials=trials, seeds=seeds)
    check_ray(options)
    spec = spec_of(dataset, given)
    return request_of(
        dataset,
        spec,
        options,
        _names(methods),
        _spaces(space),
        called="DATASET" if spec == ARRAYS else spec,
        train=named_code(None, train),
    )


def _names(methods: Sequence[str | type[Method]] | None) -> str | None:
    """The methods as the command line names them, code of the user's own registered."""
    if methods is None:
        return None
    if isinstance(methods, str) or not isinstance(methods, Sequence):
        raise UserError(f"methods is {shown(methods)}; give a list, for example methods=['psd', 'triplet']")
    return ",".join(str(named_code(method, None)) for method in methods)


def _spaces(space: Mapping[str, str | os.PathLike[str]] | None) -> list[str]:
    if space is None:
        return []
    if not isinstance(space, Mapping):
        raise UserError(f"space is {shown(space)}; give a mapping, for example space={{'psd': 'my.yaml'}}")
    return [f"{method}={Path(path_text(file, f'space of {method}'))}" for method, file in space.items()]
