"""The training steps of an epoch, for a block of lanes.

`Steps.train` takes one step after the other. `Steps.fixed` gives the step as a call without arguments that reads its
place in the epoch from a tensor, so that it can be recorded once and replayed (`engine.captured`).

Legend: L lanes, S steps of an epoch, B rows of a batch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from avtune.core.trial import Trial
from avtune.engine.descent import Descent
from avtune.engine.features import Rows
from avtune.engine.lane_rows import LaneRows, Scale
from avtune.engine.lane_store import LaneStore, LaneView
from avtune.engine.optimizer import AdamW
from avtune.engine.row_orders import epoch_rows
from avtune.lanes.mixup import mixed
from avtune.lanes.modules import matrix_precision
from avtune.lanes.noise import step_keys
from avtune.methods import Batch, Progress
from avtune.methods._in_place import read_by_a_step, unchanged


@dataclass
class Plan:
    """All that the steps of an epoch take from the host, on the device, so that no step waits for the host.

    Attributes:
        rows_LSB: int64, the rows of each batch.
        keys_SL: int32, keys of the dropout.
        steps_SL: int64, numbers of the steps in each lane's own count, from 1.
        progress: of the lanes.
        step: int64 [1], the next step of the epoch.
        sums: the sum over the steps taken of each term of the loss, [L].
        scale: what the rows are scaled by, where they are not scaled yet.
    """

    rows_LSB: Tensor
    keys_SL: Tensor
    steps_SL: Tensor
    progress: Progress
    step: Tensor
    sums: dict[str, Tensor] = field(default_factory=dict)
    scale: Scale | None = None

    def tensors(self) -> list[Tensor]:
        """All that change from epoch to epoch, but the sums."""
        changing = [self.rows_LSB, self.keys_SL, self.steps_SL, self.progress.epoch, self.progress.epochs, self.step]
        return changing if self.scale is None else changing + self.scale.tensors()


class Steps:
    """The steps of a group's epochs.

    Args:
        store: the lanes.
        train: the rows.
        batch_size: rows of a step.
        precision: see `LaneTrainer`.
        optimizer: the update.
        labels: of the rows, on the host.
        own: the rows of each trial, where they are not all of `train`.
    """

    def __init__(
        self,
        store: LaneStore,
        train: Rows,
        batch_size: int,
        precision: str,
        optimizer: AdamW,
        labels: np.ndarray,
        own: LaneRows | None = None,
    ) -> None:
        self.store = store
        self.count = (len(train.labels) if own is None else own.rows) // batch_size
        self._train = train
        self._batch_size = batch_size
        self._precision = precision
        self._optimizer = optimizer
        self._labels = labels
        self._own = own
        self._orders: dict[tuple[int, int, int], np.ndarray] = {}

    def train(self, block: slice) -> dict[str, Tensor]:
        """One epoch of these lanes: the sum over its steps of each term [L]. Reads nothing back from the device."""
        lanes, plan = self.store.view(block), self.plan(block)
        descent = Descent(self.store, self._optimizer, block, lanes.progress, self.count)
        for step in range(self.count):
            batch = self._batch(plan.rows_LSB[:, step], plan.keys_SL[step], plan.scale)
            self._take(lanes, descent, batch, plan.steps_SL[step], plan.sums)
        return plan.sums

    def fixed(self, block: slice, plan: Plan) -> Callable[[], None]:
        """A call that takes the plan's next step with lanes that need not hold trials. It works on the same memory
        every time: what changes from epoch to epoch is copied into the plan's tensors."""
        lanes = self.store.view(block, plan.progress)
        descent = Descent(self.store, self._optimizer, block, plan.progress, self.count)

        def take() -> None:
            rows_LB = plan.rows_LSB.index_select(1, plan.step).squeeze(1)
            keys_L, steps_L = (x.index_select(0, plan.step).squeeze(0) for x in (plan.keys_SL, plan.steps_SL))
            self._take(lanes, descent, self._batch(rows_LB, keys_L, plan.scale), steps_L, plan.sums)
            plan.step.add_(1)

        return take

    def _take(self, lanes: LaneView, descent: Descent, batch: Batch, steps_L: Tensor, sums: dict[str, Tensor]) -> None:
        """One step; its losses are added to the sums in place."""
        method = self.store.method
        if method.static.get("mixup"):
            audio, visual = mixed(
                (batch.audio, batch.visual), batch.labels, batch.dropout_keys, lanes.hyper["mixup_share"]
            )
            batch = replace(batch, audio=audio, visual=visual)
        leaves = {name: value.detach().requires_grad_() for name, value in lanes.params.items()}
        with unchanged("loss or after_step", read_by_a_step(batch, lanes.hyper, lanes.progress)):
            with matrix_precision(self._precision):
                losses = method.loss(leaves, lanes.buffers, batch, dict(lanes.hyper), lanes.progress)
                descent.step(losses["loss"], leaves, steps_L)
            with torch.no_grad():
                method.after_step(lanes.params, lanes.buffers, lanes.hyper)
        with torch.no_grad():
            lanes.move_average(steps_L)
            for name, value in losses.items():
                if name in sums:
                    sums[name].add_(value)
                else:
                    sums[name] = value.detach().clone()

    def plan(self, block: slice, padded: int | None = None) -> Plan:
        """The plan of these lanes' next epoch; with `padded`, for so many lanes: those after the block's repeat its
        first lane."""
        epochs, trials = self.store.epochs[block], self.store.trials[block]
        orders = np.stack([self._order(t, int(e)) for t, e in zip(trials, epochs, strict=True)])
        seeds = np.array([trial.seed for trial in trials], np.int64)
        done_SL = epochs * self.count + np.arange(self.count)[:, None]
        keys_SL = np.stack([step_keys(seeds, done_L) for done_L in done_SL])
        rows_LSB = orders.reshape(len(trials), self.count, self._batch_size)
        progress = self.store.view(block).progress
        lanes = np.arange(padded or len(trials))
        lanes[len(trials) :] = 0
        device = progress.epoch.device
        rows, keys, steps = (
            torch.tensor(x, device=device) for x in (rows_LSB[lanes], keys_SL[:, lanes], done_SL[:, lanes] + 1)
        )
        if padded:
            index = torch.tensor(lanes, device=device)
            progress = Progress(progress.epoch[index], progress.epochs[index])
        scale = None if self._own is None else self._own.scale([trials[lane] for lane in lanes])
        step = torch.zeros(1, dtype=torch.int64, device=device)
        return Plan(rows, keys, steps, progress, step, scale=scale)

    def prepare(self, block: slice) -> None:
        """Draws the orders of the rows for the epoch after this one, while the device trains this one."""
        pairs = zip(self.store.trials[block], self.store.epochs[block], strict=True)
        self._orders = {_order_key(t, int(e) + 1): self._order(t, int(e) + 1) for t, e in pairs}

    def _order(self, trial: Trial, epoch: int) -> np.ndarray:
        made = self._orders.get(_order_key(trial, epoch))
        if made is not None:
            return made
        if self._own is None:
            return epoch_rows(trial, epoch, self._labels, self._batch_size)
        own = self._own.of(trial)
        return np.asarray(own.fit[epoch_rows(trial, epoch, own.labels, self._batch_size, self.count)])

    def _batch(self, rows_LB: Tensor, keys_L: Tensor, scale: Scale | None) -> Batch:
        train = self._train
        audio, visual, labels = (take_rows(x, rows_LB) for x in (train.audio, train.visual, train.labels))
        if scale is not None:
            audio, visual = scale.apply(audio, visual)
        return Batch(audio, visual, labels, keys_L)


def _order_key(trial: Trial, epoch: int) -> tuple[int, int, int]:
    return trial.seed, epoch, int(trial.config.get("per_class", 0))


def take_rows(x: Tensor, rows_LB: Tensor) -> Tensor:
    """`x[rows]`: on a CPU `index_select` is five times as fast."""
    return x.index_select(0, rows_LB.flatten()).view(*rows_LB.shape, *x.shape[1:])
