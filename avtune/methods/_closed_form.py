"""The contract of a method that is solved at once from all training rows instead of trained by steps.

Legend: N training rows, A audio features, V visual features.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import NoReturn

import torch
from torch import Tensor

from avtune.lanes.modules import Tensors
from avtune.methods._base import Batch, Method, Progress


class ClosedForm(Method):
    """A method with a closed-form solution: `solve` takes the place of every optimiser step, once a trial."""

    @abstractmethod
    def solve(
        self,
        audio_NA: Tensor,
        visual_NV: Tensor,
        labels_N: Tensor,
        hyper: dict[str, float],
        generator: torch.Generator,
    ) -> tuple[Tensors, Tensors]:
        """The solution of one lane.

        Args:
            audio_NA: [N, A] scaled features, on any device.
            visual_NV: [N, V] scaled features.
            labels_N: int64 [N], 0..C-1; or bool [N, C], where clips have several labels.
            hyper: every hyper-parameter that is not static.
            generator: for what is drawn at random, on the CPU.

        Returns:
            (parameters, buffers) of the names, shapes and dtypes of `init`, on the CPU, computed in float64.
        """

    def loss(self, params: Tensors, buffers: Tensors, batch: Batch, hyper: Tensors, progress: Progress) -> NoReturn:
        """Never called: there is nothing to descend."""
        raise AssertionError(f"{self.name} is solved in closed form; it has no loss")
