"""AdamW over stacked weights, where each lane has its own learning rate, weight decay and count of steps.

Two ways to the same update. On a GPU a few operations over all lanes at once. On a CPU the kernel of
`torch.optim.AdamW(fused=True)`, one call a lane: it passes over memory once, where separate operations pass seven times
(`benchmarks/optimizer.py`). Its function is not public, but the public optimiser keeps moments of its own and has one
learning rate for all lanes of a tensor. Where torch lacks the function, the operations are used on a CPU too, and
`tests/engine/test_lane_optimizer.py` fails.

Legend: L lanes, P weights of one tensor.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from avtune.lanes.modules import Tensors

_KERNEL: Callable[..., None] | None = getattr(torch, "_fused_adamw_", None)


class AdamW:
    """Adam with decoupled weight decay (Loshchilov, Hutter 2019), equal per lane to `torch.optim.AdamW`.

    Args:
        betas: decay of the first and second moment.
        eps: added to the root of the second moment.
        kernel: use the fused kernel; None for on a CPU only, where torch has it.
    """

    def __init__(
        self, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8, *, kernel: bool | None = None
    ) -> None:
        self._betas = betas
        self._eps = eps
        self._kernel = kernel

    @staticmethod
    def init(params: Tensors) -> Tensors:
        """Zero moments for `params`, named `m.<name>` and `v.<name>`, of the same shapes."""
        return {f"{moment}.{name}": torch.zeros_like(value) for name, value in params.items() for moment in "mv"}

    @torch.no_grad()
    def step(
        self, params: Tensors, grads: Tensors, moments: Tensors, steps_L: Tensor, lr_L: Tensor, decay_L: Tensor
    ) -> None:
        """One update in place.

        Args:
            params, grads: tensors [L, ...] by name.
            moments: from `init`.
            steps_L: [L], the number of this step in each lane's own count, from 1.
            lr_L: [L], learning rates.
            decay_L: [L], weight decays.
        """
        kernel = self._kernel
        if kernel is None:
            kernel = steps_L.device.type == "cpu" and _KERNEL is not None
        update = self._update_by_kernel if kernel else self._update
        update(params, grads, moments, steps_L, lr_L, decay_L)

    def _update(
        self, params: Tensors, grads: Tensors, moments: Tensors, steps_L: Tensor, lr_L: Tensor, decay_L: Tensor
    ) -> None:
        beta1, beta2 = self._betas
        # In float64: 1 - 0.999**1 in float32 is off by 5e-5.
        steps_L, lr_L, decay_L = steps_L.double(), lr_L.double(), decay_L.double()
        factors = (1 - lr_L * decay_L, -lr_L / (1 - beta1**steps_L), (1 - beta2**steps_L).rsqrt())
        for name, param in params.items():
            lanes = param.shape[0]
            p, m, v = (t.view(lanes, -1) for t in (param, moments[f"m.{name}"], moments[f"v.{name}"]))
            g = grads[name].reshape(lanes, -1)
            shrink_L1, rate_L1, root_L1 = (factor[:, None].to(param.dtype) for factor in factors)
            m.lerp_(g, 1 - beta1)
            v.mul_(beta2).addcmul_(g, g, value=1 - beta2)
            denominator = v.sqrt().mul_(root_L1).add_(self._eps)
            p.mul_(shrink_L1).addcmul_(m.div(denominator), rate_L1)

    def _update_by_kernel(
        self, params: Tensors, grads: Tensors, moments: Tensors, steps_L: Tensor, lr_L: Tensor, decay_L: Tensor
    ) -> None:
        assert _KERNEL is not None
        beta1, beta2 = self._betas
        lanes = list(zip(steps_L.tolist(), lr_L.tolist(), decay_L.tolist(), strict=True))
        for name in params:
            stacks = (params[name], grads[name], moments[f"m.{name}"], moments[f"v.{name}"])
            for (step, lr, decay), p, g, m, v in zip(lanes, *(stack.unbind() for stack in stacks), strict=True):
                _KERNEL(
                    [p],
                    [g],
                    [m],
                    [v],
                    [],
                    [torch.tensor(float(step))],
                    lr=lr,
                    beta1=beta1,
                    beta2=beta2,
                    weight_decay=decay,
                    eps=self._eps,
                    amsgrad=False,
                    maximize=False,
                )
