"""AdamW over stacked weights, where each lane has its own learning rate, weight decay and count of steps.

Three ways to the same update. On a CPU the kernel of `torch.optim.AdamW(fused=True)`, one call a lane: it passes over
memory once, where separate operations pass seven times (`benchmarks/optimizer.py`). Its function is not public, but the
public optimiser keeps moments of its own and has one learning rate for all lanes of a tensor. On a GPU a Triton kernel
for all lanes at once (`adamw_triton`), where it agrees with the operations. Else a few operations over all lanes, which
are the definition.

Legend: L lanes, P weights of one tensor.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from avtune.lanes.measured import disagreement, kernel_or_none
from avtune.lanes.modules import Tensors

_KERNEL: Callable[..., None] | None = getattr(torch, "_fused_adamw_", None)
_AGREE = 1e-5
"""Largest relative difference of a step of the Triton kernel to the operations; rounding makes 2e-7."""


@dataclass(frozen=True)
class Rates:
    """What the lanes' steps differ by, made once a step for all tensors.

    Attributes:
        by_lane: on a CPU (step, learning rate, weight decay) of each lane, for the kernel.
        factors_L3: 1 - lr * decay, -lr / (1 - beta1^step) and (1 - beta2^step)^-1/2 of each lane.
    """

    by_lane: Sequence[tuple[float, float, float]] | None
    factors_L3: Tensor | None


class AdamW:
    """Adam with decoupled weight decay (Loshchilov, Hutter 2019), equal per lane to `torch.optim.AdamW`.

    Args:
        betas: decay of the first and second moment.
        eps: added to the root of the second moment.
        kernel: use the kernel of the device; None to choose, False for the operations.
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

    def rates(self, steps_L: Tensor, lr_L: Tensor, decay_L: Tensor) -> Rates:
        """
        Args:
            steps_L: [L], the number of this step in each lane's own count, from 1.
            lr_L: [L], learning rates.
            decay_L: [L], weight decays.
        """
        if steps_L.device.type == "cpu" and (self._kernel or (self._kernel is None and _KERNEL is not None)):
            return Rates(list(zip(steps_L.tolist(), lr_L.tolist(), decay_L.tolist(), strict=True)), None)
        beta1, beta2 = self._betas
        # In float64: 1 - 0.999**1 in float32 is off by 5e-5.
        steps, lr, decay = steps_L.double(), lr_L.double(), decay_L.double()
        factors = (1 - lr * decay, -lr / (1 - beta1**steps), (1 - beta2**steps).rsqrt())
        return Rates(None, torch.stack(factors, 1).to(lr_L.dtype))

    @torch.no_grad()
    def step(
        self, params: Tensors, grads: Tensors, moments: Tensors, steps_L: Tensor, lr_L: Tensor, decay_L: Tensor
    ) -> None:
        """One update in place.

        Args:
            params, grads: tensors [L, ...] by name.
            moments: from `init`.
            steps_L, lr_L, decay_L: see `rates`.
        """
        rates = self.rates(steps_L, lr_L, decay_L)
        for name, param in params.items():
            self.update(param, grads[name], moments[f"m.{name}"], moments[f"v.{name}"], rates)

    @torch.no_grad()
    def update(self, param: Tensor, grad: Tensor, m: Tensor, v: Tensor, rates: Rates) -> None:
        """One update in place of one tensor [L, ...]; its gradient and moments have the same shape."""
        if rates.by_lane is not None:
            self._by_torch_kernel(param, grad, m, v, rates.by_lane)
            return
        assert rates.factors_L3 is not None
        lanes = param.shape[0]
        p, m, v = (x.view(lanes, -1) for x in (param, m, v))
        g = grad.reshape(lanes, -1)
        if self._kernel is not False and param.dtype == torch.float32 and (triton := _triton(param.device)):
            triton(p, g, m, v, rates.factors_L3, self._betas, self._eps)
        else:
            by_operations(p, g, m, v, rates.factors_L3, self._betas, self._eps)

    def _by_torch_kernel(
        self, param: Tensor, grad: Tensor, m: Tensor, v: Tensor, by_lane: Sequence[tuple[float, float, float]]
    ) -> None:
        assert _KERNEL is not None
        beta1, beta2 = self._betas
        for (step, lr, decay), *lane in zip(by_lane, *(x.unbind() for x in (param, grad, m, v)), strict=True):
            _KERNEL(
                *([x] for x in lane),
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


def by_operations(
    p: Tensor, g: Tensor, m: Tensor, v: Tensor, factors_L3: Tensor, betas: tuple[float, float], eps: float
) -> None:
    """The update [L, P] in torch's operations. Arguments as of `adamw_triton.update`, of any dtype and device."""
    beta1, beta2 = betas
    shrink_L1, rate_L1, root_L1 = factors_L3.unsqueeze(1).unbind(2)
    m.lerp_(g, 1 - beta1)
    v.mul_(beta2).addcmul_(g, g, value=1 - beta2)
    denominator = v.sqrt().mul_(root_L1).add_(eps)
    p.mul_(shrink_L1).addcmul_(m.div(denominator), rate_L1)


@functools.cache
def _triton(device: torch.device) -> Callable[..., None] | None:
    """The Triton kernel, where there is a GPU. Trying it takes a second, once a process."""
    if device.type != "cuda":
        return None
    return kernel_or_none("AdamW", _load, functools.partial(_why_not, device))


def _load() -> Callable[..., None]:
    from avtune.engine.adamw_triton import update

    return update


def _why_not(device: torch.device, update: Callable[..., None]) -> str:
    """Why the kernel is not to be used; empty if it is."""
    generator = torch.Generator(device).manual_seed(0)
    first = [torch.rand(2, 1 << 20, generator=generator, device=device) for _ in range(4)]
    factors = torch.tensor([[0.999, -0.01, 1.5], [1.0, -0.001, 1.0]], device=device)

    def by(way: Callable[..., None]) -> list[Tensor]:
        tensors = [x.clone() for x in first]
        way(*tensors, factors, (0.9, 0.999), 1e-8)
        return tensors

    return disagreement(by(update), by(by_operations), _AGREE)
