"""A checksum over the kept states of a trial's lanes: damage anywhere in the file is found, also in the numbers."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import numpy as np
import torch

from avtune.lanes.modules import Tensors

_NAME = "checksum"


def with_checksum(values: Sequence[float], folds: Sequence[Tensors]) -> list[Tensors]:
    """The states, with a checksum (CRC-32) among the tensors of the first fold.

    Args:
        values: the trial's `val_map` after every epoch so far.
        folds: the state of its lane in each fold.
    """
    first, *others = folds
    return [first | {_NAME: torch.tensor(_checksum(values, folds))}, *others]


def verified(values: Sequence[float], folds: Sequence[Tensors]) -> list[Tensors]:
    """The states without their checksum.

    Raises:
        ValueError: the checksum is missing or is that of something else.
    """
    first = dict(folds[0])
    found = first.pop(_NAME, None)
    plain = [first, *folds[1:]]
    if found is None or not torch.equal(found, torch.tensor(_checksum(values, plain))):
        raise ValueError("the checksum of the lane's state does not fit")
    return plain


def _checksum(values: Sequence[float], folds: Sequence[Tensors]) -> int:
    found = zlib.crc32(np.array(values, np.float64).tobytes())
    for fold, tensors in enumerate(folds):
        for name in sorted(tensors):
            value = tensors[name]
            found = zlib.crc32(f"{fold} {name} {value.dtype} {list(value.shape)}".encode(), found)
            found = zlib.crc32(value.flatten().view(torch.uint8).numpy().data, found)
    return found
