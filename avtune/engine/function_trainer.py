"""Trains one configuration by a user's training function; what `trainer` is for methods.

    def train(config, data, report):
        ...
        for epoch in range(1, data.epochs + 1):
            ...
            if not report(epoch, data.scores(embed) | {"loss": loss}):
                break
        return embed

Legend: N clips, A audio features, V visual features, D embedding.
"""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from avtune.core.errors import UserError
from avtune.core.objective import MAP, VALUE, Objective
from avtune.core.trial import Trial
from avtune.data.dataset import Split
from avtune.data.on_disk import is_on_disk
from avtune.data.prepare import Prepared
from avtune.engine.trainer import Report
from avtune.engine.user_code import Function
from avtune.metrics import retrieval_scores

Embed = Callable[[np.ndarray, np.ndarray], tuple[Any, Any]]
"""Scaled features [N, A] and [N, V] to embeddings [N, D] of each view, as NumPy arrays or CPU tensors."""


@dataclass(frozen=True)
class TrainingData:
    """What a training function is given besides its configuration. The arrays are read-only.

    Attributes:
        train: scaled rows to train on: `audio` float32 [N, A], `visual` float32 [N, V], `labels` int64 [N], 0..C-1, or
            of a multi-label dataset bool [N, C].
        validation: rows to score on; None when the winner is retrained on the whole training set.
        num_classes: C.
        epochs: how many to train, unless `report` says stop; also when the winner is retrained for fewer, so that a
            schedule over them is the same.
        seed: of everything random; torch, NumPy and `random` have been seeded with it.
        device: `cpu` or `cuda:0`.
        objective: what the search maximises on the validation rows.
    """

    train: Split
    validation: Split | None
    num_classes: int
    epochs: int
    seed: int
    device: str
    objective: Objective = MAP

    def scores(self, embed: Embed) -> dict[str, float]:
        """`val_map`, `val_map_a2v` and `val_map_v2a` of embeddings on the validation rows, 0 to 1, and `val_objective`
        where the search maximises another score; nothing when there are no such rows.

        Raises:
            UserError: what `embed` gives is not one finite row a clip and view.
        """
        if self.validation is None:
            return {}
        views = _embedded(embed, self.validation.audio, self.validation.visual)
        threads = torch.get_num_threads()
        score = retrieval_scores(*views, self.validation.labels, threads=threads, objective=self.objective)
        found = {"val_map": score.map, "val_map_a2v": score.map_a2v, "val_map_v2a": score.map_v2a}
        return found if score.objective is None else found | {VALUE: score.objective}


def train_function(
    function: Function, trial: Trial, data: Prepared, report: Report, *, device: str
) -> tuple[np.ndarray, np.ndarray] | None:
    """Runs a training function; it is told to stop when `report` says so.

    Returns:
        The embeddings of `data.unlabelled` after training, float32 [N, D] each; None when there is nothing to embed.

    Raises:
        UserError: the function does not keep to what the head of this file shows.
    """
    progress = _Progress(trial, data, report)
    epochs = trial.horizon or trial.epochs
    validation = None if data.validation is None else _split_read_only(data.validation)
    given = TrainingData(
        _split_read_only(data.train), validation, data.num_classes, epochs, trial.seed, device, data.objective
    )
    with _seeded(trial.seed, device):
        embed = function(dict(trial.config), given, progress)
        if progress.problem is not None:  # the user's code has caught the exception
            raise progress.problem
        if progress.epoch < trial.epochs and not progress.stopped:
            said = f"{trial.method} ended after epoch {progress.epoch} of {trial.epochs} without being told to"
            raise UserError(said)
        if not callable(embed):  # needed of a training that was stopped early too: a retraining may end early
            raise UserError(f"{trial.method} returned {type(embed).__name__}; it must return embed(audio, visual)")
        return None if data.unlabelled is None else _embedded(embed, *map(_read_only, data.unlabelled))


@contextlib.contextmanager
def _seeded(seed: int, device: str) -> Iterator[None]:
    """Within the block the global generators are seeded. Afterwards they are as before: the process may be a program of
    the caller's."""
    before, numpys = random.getstate(), np.random.get_state()  # noqa: NPY002 - a user's code may use the global one
    gpus = [] if device == "cpu" else [torch.device(device).index or 0]
    with torch.random.fork_rng(gpus):
        random.seed(seed)
        np.random.seed(seed % 2**32)  # noqa: NPY002
        torch.manual_seed(seed)
        try:
            yield
        finally:
            random.setstate(before)
            np.random.set_state(numpys)  # noqa: NPY002


def _split_read_only(split: Split) -> Split:
    return Split(_read_only(split.audio), _read_only(split.visual), _read_only(split.labels))


def _read_only(rows: np.ndarray) -> np.ndarray:
    """The same values in an array that NumPy does not write to.

    `torch.from_numpy` shares the memory of such an array all the same, after a warning. So where later trials of this
    process would read that memory it is a copy, for as long as the trial: of arrays that are ours to write to, which
    those that Ray hands to a trial's own process are not. Arrays on disk are larger than a copy may be.
    """
    given = rows.copy() if rows.flags.writeable and not is_on_disk(rows) else rows.view()
    given.flags.writeable = False
    return given


class _Progress:
    """The `report` that a training function is given."""

    def __init__(self, trial: Trial, data: Prepared, report: Report) -> None:
        self._trial = trial
        self._data = data
        self._report = report
        self._start = time.perf_counter()
        self.epoch = 0
        self.stopped = False
        self.problem: UserError | None = None

    def __call__(self, epoch: int, metrics: Mapping[str, Any]) -> bool:
        """Takes an epoch's metrics; returns whether to go on."""
        try:
            numbers = self._checked(epoch, metrics)
        except UserError as error:
            self.problem = error
            raise
        self.epoch = epoch
        now = time.perf_counter()
        seconds, self._start = now - self._start, now
        numbers |= {"seconds": seconds, "clips_per_second": len(self._data.train) / seconds}
        self.stopped = not self._report(epoch, numbers)
        return not self.stopped and epoch < self._trial.epochs

    def _checked(self, epoch: int, metrics: Mapping[str, Any]) -> dict[str, float]:
        name, last = self._trial.method, self._trial.epochs
        if self.stopped or self.epoch == last:
            raise UserError(
                f"{name} reported epoch {epoch} after epoch {self.epoch} of {last}, for which report returned False; "
                "end the training there and return embed"
            )
        if epoch != self.epoch + 1:
            raise UserError(
                f"{name} reported epoch {epoch} after epoch {self.epoch} of {last}; report every epoch once, from 1"
            )
        if not isinstance(metrics, Mapping):
            raise UserError(f"{name} reported {type(metrics).__name__}; report(epoch, metrics) takes a dict of numbers")
        numbers = {key: _number(key, value) for key, value in metrics.items()}
        needed = "val_map" if self._data.objective.is_map else VALUE
        if self._data.validation is not None and needed not in numbers:
            raise UserError(f"{name} reported no {needed}; report data.scores(embed)")
        return numbers


def _number(name: str, value: Any) -> float:
    try:
        return float(value.detach() if isinstance(value, torch.Tensor) else value)
    except (TypeError, ValueError):
        raise UserError(f"the metric {name} is {value!r}; report numbers") from None


def _embedded(embed: Embed, audio: np.ndarray, visual: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    with torch.no_grad():
        views = embed(audio, visual)
    try:
        z_a, z_v = (np.ascontiguousarray(_for_numpy(view), dtype=np.float32) for view in views)
    except (TypeError, ValueError, RuntimeError) as error:
        raise UserError(f"embed must return two arrays on the CPU, audio and visual: {error}") from None
    if z_a.ndim != 2 or z_a.shape != z_v.shape or len(z_a) != len(audio):
        raise UserError(f"embed returned {z_a.shape} and {z_v.shape} for {len(audio)} clips; both must be [clips, D]")
    if not (np.isfinite(z_a).all() and np.isfinite(z_v).all()):
        raise UserError("an embedding is not finite")
    return z_a, z_v


def _for_numpy(view: Any) -> Any:
    """NumPy has no bfloat16."""
    return view.float() if isinstance(view, torch.Tensor) and view.dtype == torch.bfloat16 else view
