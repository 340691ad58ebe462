"""The fused tensors of a lane group: weights, buffers, moments of the optimiser and hyper-parameters of every lane.

Each tensor of a trial is a slice of a stack [capacity, ...]. Active lanes are the first `num_active` slices of every
stack: when a lane is released, the last active lane is copied into its place, so that no step computes an idle lane.

Legend: L lanes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from avtune.core.trial import Trial
from avtune.lanes.modules import Tensors
from avtune.lanes.noise import init_generator
from avtune.methods import Method, Progress, static_values
from avtune.methods._closed_form import ClosedForm

LARGE = 1 << 15
"""Weights a lane from which a parameter is updated by itself; all smaller ones are one tensor for the optimiser."""
# In exact mode each lane's slice starts at a multiple of so many bytes, as a tensor that torch allocates would: kernels
# choose their instructions by the alignment.
_ALIGNED = 512


@dataclass(frozen=True)
class LaneView:
    """Consecutive lanes of a store: slices of its stacks, no copies.

    Attributes:
        params, buffers: tensors [L, ...].
        hyper: the hyper-parameters that are not static, [L] each.
        progress: epochs done and epochs of the schedules, [L] each.
        average: the moving average of each parameter, where the group keeps one; else empty.
    """

    params: Tensors
    buffers: Tensors
    hyper: Tensors
    progress: Progress
    average: Tensors

    @property
    def validated(self) -> Tensors:
        """The weights that are validated and kept."""
        return self.average or self.params

    def move_average(self, steps_L: Tensor) -> None:
        """Moves the average, if there is one, towards the parameters, after a step. In the first steps it decays
        faster, n / (n + 9) in step n, so that the fresh weights do not stay in it for long.

        Args:
            steps_L: number of the step, from 1.
        """
        for name, average_L in self.average.items():
            decay_L = torch.minimum(self.hyper["average_decay"], (steps_L / (steps_L + 9)).to(average_L.dtype))
            average_L.lerp_(self.params[name], (1 - decay_L).view(-1, *[1] * (average_L.dim() - 1)))


class LaneStore:
    """Stacks for at most `capacity` lanes of one group on one device.

    Args:
        method: of the group; gives names and shapes.
        capacity: most lanes at a time.
        device: where the stacks are.
        dtype: of all stacks.
        exact: each lane's slices are aligned in memory like tensors of its own.

    Attributes:
        method: as given.
        capacity: as given.
        trials: those of the active lanes, in the order of the lanes.
        epochs: int64 [capacity], epochs that each active lane has done.
        small: of each kind (`params`, and the moments `m` and `v`) one stack [capacity, P] that holds all parameters of
            less than `LARGE` weights; their entries in the other stacks are views of it.
    """

    def __init__(
        self, method: Method, *, capacity: int, device: torch.device, dtype: torch.dtype, exact: bool = False
    ) -> None:
        self.method = method
        self.capacity = capacity
        self.trials: list[Trial] = []
        self.epochs = np.zeros(capacity, np.int64)
        self.small: dict[str, Tensor] = {}
        self._device = device
        self._dtype = dtype
        self._exact = exact
        self._stacks: dict[str, Tensors] = {}
        self._hyper: Tensors = {}

    @property
    def num_active(self) -> int:
        """Lanes that hold a trial."""
        return len(self.trials)

    @property
    def moments(self) -> Tensors:
        """`m.<name>` and `v.<name>` of every parameter, [capacity, ...]; there has been a lane."""
        return self._stacks["moments"]

    @property
    def lane_bytes(self) -> int:
        """Bytes of a lane's weights, buffers and moments; there has been a lane."""
        return sum(stack[0].nbytes for _, stack in self._named())

    @property
    def weight_bytes(self) -> int:
        """Bytes of a lane's weights; there has been a lane."""
        return sum(stack[0].nbytes for stack in self._stacks["params"].values())

    def admit(self, trial: Trial, state: Tensors | None = None, epoch: int = 0) -> None:
        """Puts a trial into a free lane: freshly initialised from its seed, or with a `state` after `epoch` epochs.

        Raises:
            ValueError: the state is not one of this group's lanes.
        """
        assert self.num_active < self.capacity, "no free lane"
        kind = type(self.method)
        assert static_values(kind, trial.config) == self.method.static, "the trial belongs to another group"
        params, buffers = self.method.init(init_generator(trial.seed))
        lane = self.num_active
        if not self._stacks:
            self._stacks = self._new_stacks(params, buffers)
            self._hyper = {hyper.name: self._empty_scalar() for hyper in kind.hypers if not hyper.static}
        self.set(lane, params, buffers)
        for moments_L in self.moments.values():
            moments_L[lane] = 0
        for name, average_L in self._stacks["average"].items():
            average_L[lane] = self._stacks["params"][name][lane]
        if state is not None:
            self._restore(lane, state)
        for name, values_L in self._hyper.items():
            values_L[lane] = float(trial.config[name])
        self.epochs[lane] = epoch
        self.trials.append(trial)

    def release(self, trial: Trial) -> None:
        """Frees the trial's lane; the last active lane moves into it."""
        lane, last = self.trials.index(trial), self.num_active - 1
        if lane != last:
            for tensor in (*(stack for _, stack in self._named()), *self._hyper.values()):
                tensor[lane] = tensor[last]
            self.epochs[lane] = self.epochs[last]
            self.trials[lane] = self.trials[last]
        self.trials.pop()

    def view(self, lanes: slice, progress: Progress | None = None) -> LaneView:
        """The active lanes of a slice; lanes without a trial too where their progress is given."""
        params, buffers, average = (
            {n: t[lanes] for n, t in self._stacks[kind].items()} for kind in ("params", "buffers", "average")
        )
        hyper = {name: value[lanes] for name, value in self._hyper.items()}
        if progress is None:
            horizons = np.array([trial.horizon or trial.epochs for trial in self.trials[lanes]])
            progress = Progress(self._put(self.epochs[lanes]), self._put(horizons))
        return LaneView(params, buffers, hyper, progress, average)

    def changing(self, lanes: slice) -> list[Tensor]:
        """All that training changes of these lanes, [L, ...] each: views, also of lanes without a trial."""
        return [stack[lanes] for _, stack in self._named()]

    def repeat_first(self, lanes: slice) -> None:
        """Puts a copy of the first lane into lanes without a trial."""
        assert lanes.start >= self.num_active, "a lane of a trial would be overwritten"
        for tensor in (*(stack for _, stack in self._named()), *self._hyper.values()):
            tensor[lanes] = tensor[:1]

    def set(self, lane: int, params: Tensors, buffers: Tensors) -> None:
        """Overwrites some weights and buffers of a lane, given without lane axis."""
        for kind, values in (("params", params), ("buffers", buffers)):
            for name, value in values.items():
                self._stacks[kind][name][lane] = value.to(self._device, self._dtype)

    def state(self, trial: Trial) -> Tensors:
        """Copies, on the CPU, of all that changes as the trial trains. A lane that is given this state, with the number
        of epochs done, goes on with the same result: data order and dropout depend on the seed and the epoch only."""
        lane = self.trials.index(trial)
        return {name: stack[lane].detach().cpu().clone() for name, stack in self._named()}

    def weights(self, trial: Trial) -> tuple[Tensors, Tensors]:
        """A copy of the trial's (parameters, buffers) without lane axis, on the CPU; of the averaged parameters, where
        the group keeps an average."""
        lane = self.trials.index(trial)
        params, buffers = (
            {name: value[lane].detach().cpu().clone() for name, value in self._stacks[kind].items()}
            for kind in ("average" if self._stacks["average"] else "params", "buffers")
        )
        return params, buffers

    def _restore(self, lane: int, state: Tensors) -> None:
        stacks = dict(self._named())
        wrong = stacks.keys() ^ state.keys()
        wrong |= {name for name in stacks.keys() - wrong if stacks[name][lane].shape != state[name].shape}
        if wrong:
            raise ValueError(f"the state of a lane of another group: {sorted(wrong)[0]}")
        for name, stack in stacks.items():
            stack[lane] = state[name].to(self._device, self._dtype)

    def _named(self) -> Iterator[tuple[str, Tensor]]:
        """All stacks but the hyper-parameters', by the names that states use."""
        for kind, stacks in self._stacks.items():
            for name, stack in stacks.items():
                yield f"{kind}.{name}", stack

    def _new_stacks(self, params: Tensors, buffers: Tensors) -> dict[str, Tensors]:
        """Empty stacks for lanes with such weights and buffers, and their moments."""
        if isinstance(self.method, ClosedForm):  # nothing is descended
            return {"params": self._stack(params), "buffers": self._stack(buffers), "moments": {}, "average": {}}
        moments = {kind: self._stack_small_together(kind, params) for kind in "mv"}
        return {
            "params": self._stack_small_together("params", params),
            "buffers": self._stack(buffers),
            "moments": {f"{kind}.{name}": moments[kind][name] for name in params for kind in "mv"},
            "average": self._stack(params) if self.method.static.get("average") else {},
        }

    def _stack(self, one: Tensors) -> Tensors:
        return {name: self._empty(*value.shape) for name, value in one.items()}

    def _stack_small_together(self, kind: str, params: Tensors) -> Tensors:
        """Stacks for these parameters, those of the small ones side by side in one tensor, which the optimiser takes as
        one."""
        small = {name: value for name, value in params.items() if value.numel() < LARGE}
        sizes = [value.numel() for value in small.values()]
        self.small[kind] = self._empty(sum(sizes))
        parts = torch.split(self.small[kind], sizes, 1)
        views = {name: part.view(-1, *small[name].shape) for name, part in zip(small, parts, strict=True)}
        return {name: views[name] if name in views else self._empty(*value.shape) for name, value in params.items()}

    def _empty(self, *shape: int) -> Tensor:
        if not self._exact:
            return torch.empty((self.capacity, *shape), device=self._device, dtype=self._dtype)
        size, aligned = math.prod(shape), _ALIGNED // self._dtype.itemsize
        stack = torch.empty(self.capacity, -(-size // aligned) * aligned, device=self._device, dtype=self._dtype)
        return stack[:, :size].view(self.capacity, *shape)

    def _empty_scalar(self) -> Tensor:
        return torch.empty(self.capacity, device=self._device, dtype=self._dtype)

    def _put(self, array: np.ndarray) -> Tensor:
        return torch.tensor(array, device=self._device, dtype=self._dtype)
