"""Trains the trials of one group together, an epoch at a time, and validates them.

A group is the trials that agree on every static hyper-parameter. Each lane has its own weights, hyper-parameters, data
order, dropout and epoch count, all from its trial's seed, and gets the result that its trial would have had alone: up
to rounding where lanes share steps, because kernels may add in another order for tensors of another size, and bit for
bit where they do not (`exact`).

Legend: L lanes.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from avtune.core.hyper import Value
from avtune.core.trial import Trial
from avtune.data.prepare import Prepared
from avtune.engine.blocks import blocks_of
from avtune.engine.captured import Captured, CudaGraphs
from avtune.engine.features import Features
from avtune.engine.lane_rows import LaneRows
from avtune.engine.lane_store import LaneStore
from avtune.engine.learning_rate import learning_rates
from avtune.engine.optimizer import AdamW
from avtune.engine.own_validation import validate_own
from avtune.engine.steps import Steps
from avtune.engine.validation import EMBED_ROWS, Scores, validate
from avtune.lanes.modules import Tensors
from avtune.lanes.noise import init_generator
from avtune.methods import Method, get
from avtune.methods._base import has_rate_schedule
from avtune.methods._closed_form import ClosedForm
from avtune.methods._in_place import named, unchanged


@dataclass(frozen=True)
class EpochResult:
    """What one lane's epoch gave.

    Attributes:
        trial: as it was admitted.
        epoch: epochs done, from 1.
        metrics: by name; `loss` and its terms are means over the steps, `val_map*` are 0 to 1, `seconds` is the lane's
            share of the time.
        failed: why the trial cannot be trained further; None where it can.
    """

    trial: Trial
    epoch: int
    metrics: dict[str, float]
    failed: str | None = None


class LaneTrainer:
    """Trains the lanes of a `LaneStore`, which it makes.

    Args:
        method: name of the method.
        static: the group's static hyper-parameters, see `methods.static_values`.
        data: what is trained on.
        capacity: most lanes at a time.
        device: where the stacks live.
        dtype: of weights and data; float64 is for tests.
        precision: of the large matrix products in training, see `modules.matrix_precision`. Validation is fp32.
        block: most lanes in one training step; the others have their steps of the epoch after theirs. None for all on
            a GPU, and for blocks of a fitting size on a CPU (`engine.blocks`): a little slower than all at once when
            there are few, and with much less memory, see `benchmarks/lanes.py`.
        features: the data on the device, of this dtype, where several groups share it; None makes it.
        exact: each lane has its steps and its validation by itself, in calls and memory like the lone trial's: the same
            bits, however many lanes there are and whichever is its own. Takes 7 to 42 % longer on a CPU, the more the
            narrower the lanes; on a GPU, where a lone lane does not fill the device, many times as long.
        record: on a GPU a step of all lanes is recorded and replayed, see `engine.captured`; never if `exact` or with a
            `block`. False launches the kernels of every step.

    Attributes:
        store: the lanes. Trials are admitted to it, by `admit`, and released from it between epochs.
        method: the method, bound to the data's dimensions.
    """

    def __init__(
        self,
        method: str,
        static: Mapping[str, Value],
        data: Prepared,
        *,
        capacity: int = 1,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
        precision: str = "fp32",
        block: int | None = None,
        features: Features | None = None,
        exact: bool = False,
        record: bool = True,
    ) -> None:
        assert not exact or block is None
        self._device = torch.device(device)
        self.method: Method = get(method)(static, data.audio_dim, data.visual_dim, data.num_classes)
        self.store = LaneStore(self.method, capacity=capacity, device=self._device, dtype=dtype, exact=exact)
        self._features = features or Features.of(data, self._device, dtype)
        # A closed form takes all rows at once.
        self._batch_size = min(int(static.get("batch_size", data.rows)), data.rows)
        train, labels = self._features.train, data.train.labels
        self._own = None if data.own_rows is None else LaneRows(data, train)
        self._steps = Steps(self.store, train, self._batch_size, precision, AdamW(), labels, self._own)
        self._block = 1 if exact else block
        self._exact = exact
        self._captured: Captured | None = None
        together = self._device.type == "cuda" and self._block is None
        if record and together and self.method.recorded and not isinstance(self.method, ClosedForm):
            self._captured = Captured(self._steps, CudaGraphs(self._device), self._device)

    @property
    def num_active(self) -> int:
        """Lanes that hold a trial."""
        return self.store.num_active

    def admit(self, trial: Trial, state: Tensors | None = None, epoch: int = 0) -> None:
        """Puts a trial into a free lane, see `LaneStore.admit`.

        Raises:
            ValueError: the state is not one of this group's lanes.
            UserError: trials have validation rows of their own, and none are found for this one.
        """
        if self._own is not None:
            self._own.of(trial)
        self.store.admit(trial, state, epoch)

    @property
    def copied_bytes(self) -> tuple[int, int]:
        """Bytes of the features that an epoch copies at a time: (for each lane, however many lanes there are)."""
        train, validation = self._features.train, self._features.validation
        if self._own is not None:
            rows = self._own.rows if isinstance(self.method, ClosedForm) else self._batch_size
            clip = train.nbytes // len(train.labels)
            return rows * clip, min(EMBED_ROWS, self.store.capacity * (len(train.labels) - self._own.rows)) * clip
        held_out = 0
        if validation is not None:
            held_out = validation.nbytes * min(EMBED_ROWS, len(validation.labels)) // len(validation.labels)
        if isinstance(self.method, ClosedForm):
            return 0, max(train.nbytes, held_out)
        return train.nbytes * self._batch_size // len(train.labels), held_out

    def blocks(self) -> list[slice]:
        """The active lanes in the blocks that share steps."""
        return blocks_of(self.num_active, self.store.weight_bytes, self._device, self._block)

    def train_epoch(self) -> list[EpochResult]:
        """Trains every active lane for an epoch and validates it. The results come in the order of the lanes.

        Raises:
            ChangedInPlace: the method has written to tensors that other lanes or steps read.
        """
        start = time.perf_counter()
        lanes = self.num_active
        assert lanes, "no active lane"
        if self._own is not None:
            self._own.keep(self.store.trials)
        terms = self._train()
        parts = self.blocks() if self._exact else [slice(0, lanes)]
        values = terms | self._schedules(parts)
        rates = self._learning_rates(parts)
        self.store.epochs[:lanes] += 1
        scores = self._validate(parts)
        seconds = (time.perf_counter() - start) / lanes
        speed = {"seconds": seconds, "clips_per_second": self._steps.count * self._batch_size / seconds}
        results = []
        for lane, trial in enumerate(self.store.trials):
            epoch = int(self.store.epochs[lane])
            metrics = {name: value[lane] for name, value in values.items()} | speed
            if "lr" in trial.config:
                metrics["lr"] = rates[lane] if has_rate_schedule(trial.config) else float(trial.config["lr"])
            failed = _failure(lane, epoch, terms, scores)
            if failed is None and scores is not None:
                metrics |= scores[lane] or {}
            results.append(EpochResult(trial, epoch, metrics, failed))
        return results

    def _validate(self, parts: Sequence[slice]) -> Scores | None:
        """The scores of each lane; None without validation rows."""
        if self._own is not None:
            return validate_own(self.store, self._own, parts, self._features.objective)
        return validate(self.store, self._features.validation, parts, self._features.objective)

    def _train(self) -> dict[str, list[float]]:
        """An epoch of all active lanes; returns the mean over its steps of each term of the loss, by lane."""
        if isinstance(self.method, ClosedForm):
            self._solve(self.method)
            return {}
        blocks = [self._train_block(block) for block in self.blocks()]
        sums = {name: torch.cat([block[name] for block in blocks]) for name in blocks[0]}
        return {name: (value / self._steps.count).tolist() for name, value in sums.items()}

    @torch.no_grad()
    def _solve(self, method: ClosedForm) -> None:
        """Solves every lane that is in its first epoch; later epochs change nothing."""
        hyper = self.store.view(slice(0, self.num_active)).hyper
        new = [(lane, trial) for lane, trial in enumerate(self.store.trials) if not self.store.epochs[lane]]
        rows = self._features.train
        given = rows.copy() if new and self._own is None else rows
        for lane, trial in new:
            values = {name: float(value_L[lane]) for name, value_L in hyper.items()}
            if self._own is not None:
                rows = self._own.taken(trial, self._own.of(trial).fit)
                given = rows.copy()
            params, buffers = method.solve(given.audio, given.visual, given.labels, values, init_generator(trial.seed))
            rows.check_copy(given, "solve")
            self.store.set(lane, params, buffers)

    def _train_block(self, block: slice) -> dict[str, Tensor]:
        """One epoch of these lanes: the sum over its steps of each term [L]. Reads nothing back from the device."""
        if self._captured is not None and (sums := self._captured.train(block.stop)) is not None:
            return sums
        return self._steps.train(block)

    def _learning_rates(self, parts: Sequence[slice]) -> list[float]:
        """The learning rate of the last step of this epoch, by lane."""
        rates: list[float] = []
        for part in parts:
            lanes = self.store.view(part)
            if "lr" in lanes.hyper:
                steps_L = (lanes.progress.epoch + 1) * self._steps.count
                found = learning_rates(lanes.hyper, steps_L, lanes.progress.epochs * self._steps.count)
                rates += found.double().tolist()
        return rates

    def _schedules(self, parts: Sequence[slice]) -> dict[str, list[float]]:
        """The values of the method's schedules in this epoch, by lane; the lanes of a part are computed together."""
        values: dict[str, list[float]] = {}
        for part in parts:
            lanes = self.store.view(part)
            with unchanged("schedules", named("hyper", lanes.hyper)):
                scheduled = self.method.schedules(lanes.hyper, lanes.progress)
            for name, value in scheduled.items():
                values.setdefault(name, []).extend(value.tolist())
        return values


def mean_metrics(results: Sequence[EpochResult]) -> dict[str, float]:
    """The metrics of a trial's folds: their means, but the sum of `seconds`."""
    if len(results) == 1:
        return results[0].metrics
    merged = {name: float(np.mean([r.metrics[name] for r in results])) for name in results[0].metrics}
    merged["seconds"] = sum(result.metrics["seconds"] for result in results)
    return merged


def _failure(lane: int, epoch: int, terms: Mapping[str, list[float]], scores: Scores | None) -> str | None:
    """Why a lane cannot be trained further; None where it can."""
    for name, value in terms.items():
        if not np.isfinite(value[lane]):
            return f"{name} is {value[lane]} in epoch {epoch}"
    if scores is not None and scores[lane] is None:
        return f"an embedding is not finite after epoch {epoch}"
    return None
