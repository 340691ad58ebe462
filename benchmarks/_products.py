"""The matrix products of a training step: found by running one, then repeated alone. A device that did nothing else
would be no faster: their time is the ceiling of what training can reach."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

_ATEN = torch.ops.aten
_OPERANDS = {_ATEN.mm: 0, _ATEN.bmm: 0, _ATEN.addmm: 1, _ATEN.baddbmm: 1}
"""The operations, and the position of the first of their two matrices."""


@dataclass(frozen=True)
class Matrices:
    """A stack of matrices as it lies in memory: [lanes, rows, columns]."""

    shape: tuple[int, int, int]
    stride: tuple[int, int, int]
    dtype: torch.dtype

    @staticmethod
    def of(tensor: Tensor) -> Matrices:
        stack = tensor if tensor.dim() == 3 else tensor[None]
        (lanes, rows, columns), (apart, down, along) = stack.shape, stack.stride()
        return Matrices((lanes, rows, columns), (apart, down, along), tensor.dtype)

    @property
    def extent(self) -> int:
        """Elements from the first to the last one."""
        return 1 + sum((size - 1) * step for size, step in zip(self.shape, self.stride, strict=True))


Product = tuple[Matrices, Matrices]


def flops(products: Sequence[Product]) -> int:
    """Floating-point operations: a multiplication and an addition for each row, column and inner index."""
    return sum(2 * math.prod(first.shape) * second.shape[2] for first, second in products)


class Recorder(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Within the block, notes the shapes of all matrix products, those of backward passes too, in `products`."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.products: list[Product] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        at = _OPERANDS.get(func.overloadpacket)
        if at is not None:
            self.products.append((Matrices.of(args[at]), Matrices.of(args[at + 1])))
        return func(*args, **(kwargs or {}))


def traffic(products: Sequence[Product]) -> int:
    """Bytes of the operands, each read once, and of the results, each written once."""
    return sum(
        (math.prod(a.shape) + math.prod(b.shape) + a.shape[0] * a.shape[1] * b.shape[2]) * a.dtype.itemsize
        for a, b in products
    )


def replay(products: Sequence[Product], device: torch.device, *, wait: bool = True) -> Callable[[], None]:
    """A call that computes these products one after the other, into memory that is there already, and waits for them
    unless told not to.

    The operands hold random numbers and share memory between products, so that all fits beside the training itself.
    """
    pools: dict[tuple[int, torch.dtype], Tensor] = {}
    outs: list[tuple[int, int, int]] = [(a.shape[0], a.shape[1], b.shape[2]) for a, b in products]
    for place in range(2):
        for dtype in {product[place].dtype for product in products}:
            most = max(product[place].extent for product in products if product[place].dtype == dtype)
            pools[place, dtype] = torch.randn(most, device=device, dtype=dtype)
    for dtype in {first.dtype for first, _ in products}:
        most = max(math.prod(out) for out, (first, _) in zip(outs, products, strict=True) if first.dtype == dtype)
        pools[2, dtype] = torch.empty(most, device=device, dtype=dtype)
    jobs = [
        (
            *(pools[place, m.dtype].as_strided(m.shape, m.stride) for place, m in enumerate(product)),
            pools[2, product[0].dtype][: math.prod(out)].view(out),
        )
        for product, out in zip(products, outs, strict=True)
    ]

    def call() -> None:
        for first, second, out in jobs:
            torch.bmm(first, second, out=out)
        if wait and device.type == "cuda":
            torch.cuda.synchronize(device)

    return call
