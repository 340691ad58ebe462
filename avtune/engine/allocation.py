"""A limit on the tensors that code may make, e.g. `init` of a method under a configuration from a file of others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map


class TooMany(Exception):
    """The code would make more numbers than it may."""


class AtMost(TorchDispatchMode):
    """Within the block, torch's operations may make so many numbers in all, freed ones included; one that would make
    more does not run, or is the last where its shape is known only then. Views and what is written in place are free.
    NumPy's arrays are not counted.

    Args:
        numbers: how many.

    Raises:
        TooMany: an operation would make more.
    """

    def __init__(self, numbers: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._left = numbers

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        foreseen = _new_numbers(func, args, kwargs)
        self._take(foreseen or 0)
        made = func(*args, **kwargs)
        if foreseen is None:
            self._take(_numbers(made))
        return made

    def _take(self, numbers: int) -> None:
        self._left -= numbers
        if self._left < 0:
            raise TooMany


def _new_numbers(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> int | None:
    """How many numbers an operation would make, by its run on the meta device, which has shapes only; None for one that
    cannot run there, since the values decide its shape: it is counted once it has run."""
    if all(made.alias_info is not None for made in func._schema.returns):  # a view, or in place
        return 0
    known = {argument.name for argument in func._schema.arguments}
    there = {"device": torch.device("meta"), "generator": None}
    also = {name: value for name, value in there.items() if name in known}
    try:
        made = func(*tree_map(_on_meta, args), **{**tree_map(_on_meta, kwargs), **also})
    except RuntimeError:  # NotImplementedError is one
        return None
    return _numbers(made)


def _numbers(made: Any) -> int:
    return sum(one.numel() for one in tree_leaves(made) if isinstance(one, Tensor))


def _on_meta(value: Any) -> Any:
    return value.to("meta") if isinstance(value, Tensor) else value
