"""One step of the optimiser for a block of lanes, made while the backward pass runs.

Legend: L lanes.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from avtune.engine.lane_store import LARGE, LaneStore
from avtune.engine.learning_rate import learning_rates
from avtune.engine.optimizer import AdamW
from avtune.lanes.modules import Tensors
from avtune.methods import Progress


class Descent:
    """Updates the weights of some lanes by the gradient of their losses.

    A large gradient is used and freed as soon as autograd has computed it: it need not be held together with all
    others, and on a CPU it is still in the cache. The gradients of small parameters are collected and applied as one.

    Args:
        store: whose weights and moments are updated in place; its hypers hold `lr` and `weight_decay`.
        optimizer: the update.
        block: the lanes.
        progress: of these lanes.
        steps: of an epoch.
    """

    def __init__(self, store: LaneStore, optimizer: AdamW, block: slice, progress: Progress, steps: int) -> None:
        self._store = store
        self._optimizer = optimizer
        self._block = block
        view = store.view(block, progress)
        self._params = view.params
        self._hyper = view.hyper
        self._progress = progress
        self._steps = steps
        self._moments = {name: value[block] for name, value in store.moments.items()}

    def step(self, loss_L: Tensor, leaves: Tensors, steps_L: Tensor) -> None:
        """
        Args:
            loss_L: the losses, computed from the leaves.
            leaves: the weights as leaves of the graph.
            steps_L: number of this step in each lane, from 1.
        """
        unreached = dict.fromkeys(leaves)
        small: Tensors = {}
        lr_L = learning_rates(self._hyper, steps_L, self._progress.epochs * self._steps)
        rates = self._optimizer.rates(steps_L, lr_L, self._hyper["weight_decay"])

        def take(name: str, grad: Tensor) -> None:
            if grad[0].numel() < LARGE:
                small[name] = grad
            else:
                m, v = self._moments[f"m.{name}"], self._moments[f"v.{name}"]
                self._optimizer.update(self._params[name], grad, m, v, rates)

        def ready(name: str, leaf: Tensor) -> None:
            grad, leaf.grad = leaf.grad, None
            assert grad is not None
            del unreached[name]
            take(name, grad)

        for name, leaf in leaves.items():
            leaf.register_post_accumulate_grad_hook(partial(ready, name))  # type: ignore[no-untyped-call]
        # Lanes share no weights: the gradient of the sum is each lane's own gradient.
        loss_L.sum().backward()  # type: ignore[no-untyped-call]
        for name in unreached:  # a weight that the loss does not depend on has a gradient of zero, and decays
            take(name, torch.zeros_like(leaves[name]))
        if small:
            side_by_side = torch.cat([small[name].flatten(1) for name in leaves if name in small], 1)
            param, m, v = (self._store.small[kind][self._block] for kind in ("params", "m", "v"))
            self._optimizer.update(param, side_by_side, m, v, rates)
