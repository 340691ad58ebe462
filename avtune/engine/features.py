"""The features of a fold as tensors on a device: one copy for all lane groups of a process. On a CPU the arrays
themselves are read, without a copy; where Ray's object store or a file holds them, all engines of a machine read the
same memory.

So nobody may write to them: a method is given copies (`Rows.copy`).
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from avtune.core.objective import MAP, Objective
from avtune.data.dataset import Split
from avtune.data.prepare import Prepared
from avtune.methods._in_place import ChangedInPlace


@dataclass(frozen=True, eq=False)
class Rows:
    """Clips of one split.

    Attributes:
        audio: [N, A] features.
        visual: [N, V] features.
        labels: int64 [N], or bool [N, C].
    """

    audio: Tensor
    visual: Tensor
    labels: Tensor

    @classmethod
    def of(cls, split: Split, device: torch.device, dtype: torch.dtype) -> Rows:
        """A split's; on a CPU the arrays' own memory where they have the dtype."""
        return cls(
            _tensor(split.audio, device, dtype), _tensor(split.visual, device, dtype), _tensor(split.labels, device)
        )

    def split(self, size: int) -> Iterator[Rows]:
        """So many of the clips at a time, without a copy."""
        for parts in zip(*(torch.split(one, size) for one in (self.audio, self.visual, self.labels)), strict=True):
            yield Rows(*parts)

    def copy(self) -> Rows:
        """Copies of all three tensors."""
        return Rows(self.audio.clone(), self.visual.clone(), self.labels.clone())

    def check_copy(self, given: Rows, what: str) -> None:
        """
        Args:
            given: a copy that a method was given.
            what: the part of the method, for the message.

        Raises:
            ChangedInPlace: the copy has changed since.
        """
        for name in ("audio", "visual", "labels"):
            if not torch.equal(getattr(self, name), getattr(given, name)):
                raise ChangedInPlace(what, name)

    @property
    def nbytes(self) -> int:
        """Bytes of all three tensors."""
        return self.audio.nbytes + self.visual.nbytes + self.labels.nbytes


@dataclass(frozen=True, eq=False)
class Features:
    """What `Prepared` holds, on a device; `validation` is None where there is none."""

    train: Rows
    validation: Rows | None
    objective: Objective = MAP

    @classmethod
    def of(cls, data: Prepared, device: torch.device | str, dtype: torch.dtype = torch.float32) -> Features:
        """The rows of both splits on a device; on a CPU without a copy where the dtype is theirs."""
        where = torch.device(device)
        validation = None if data.validation is None else Rows.of(data.validation, where, dtype)
        return cls(Rows.of(data.train, where, dtype), validation, data.objective)


def _tensor(array: np.ndarray, device: torch.device, dtype: torch.dtype | None = None) -> Tensor:
    if device.type != "cpu":
        return torch.tensor(array, device=device, dtype=dtype)
    with warnings.catch_warnings():
        # Arrays from Ray's object store, and maps of files, are read-only, and torch warns that the tensor could write
        # to them. Nothing does, see the top of this file.
        warnings.filterwarnings("ignore", "The given NumPy array is not writable", UserWarning)
        return torch.from_numpy(np.ascontiguousarray(array)).to(dtype)
