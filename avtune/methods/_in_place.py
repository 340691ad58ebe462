"""Finds methods that write to tensors which other lanes or steps read too."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from torch import Tensor

from avtune.lanes.modules import Tensors

if TYPE_CHECKING:  # avtune.methods imports this file
    from avtune.methods import Batch, Progress


class ChangedInPlace(RuntimeError):
    """A part of a method has written to a tensor that is not its own."""

    def __init__(self, part: str, tensor: str) -> None:
        super().__init__(f"{part} changes {tensor} in place, which other lanes or steps read too; work on a copy")


@contextmanager
def unchanged(part: str, tensors: Mapping[str, Tensor]) -> Iterator[None]:
    """Watches tensors while a part of a method runs. Costs next to nothing: torch counts the changes of a tensor and
    its views. It does not count those through `.data` and `.numpy()`.

    Args:
        part: for the message, as the names of the tensors.

    Raises:
        ChangedInPlace: the block has changed one of them.
    """
    before = {name: value._version for name, value in tensors.items()}
    yield
    for name, value in tensors.items():
        if value._version != before[name]:
            raise ChangedInPlace(part, name)


def read_by_a_step(batch: Batch, hyper: Tensors, progress: Progress) -> Tensors:
    """What `Method.loss` is given and must leave as it is, by the names that messages use."""
    names = ("audio", "visual", "labels", "dropout_keys")
    found = {f"batch.{name}": getattr(batch, name) for name in names} | named("hyper", hyper)
    return found | {"progress.epoch": progress.epoch, "progress.epochs": progress.epochs}


def named(kind: str, tensors: Tensors) -> Tensors:
    """Tensors by the names that messages use, e.g. `hyper['margin']`."""
    return {f"{kind}[{name!r}]": value for name, value in tensors.items()}
