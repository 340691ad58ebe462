"""Trains the configurations of one group together, an epoch at a time.

A group is the trials that agree on every static hyper-parameter. Each lane has its own weights, hyper-parameters, data
order, dropout and epoch count, all from its trial's seed, and gets the result that its trial would have had alone: up
to rounding where lanes share steps, because kernels may add in another order for tensors of another size, and bit for
bit where they do not (`exact`).
Active lanes are the first `num_active` slices of every stack; a lane that ends is replaced by the last one, so nothing
idle is computed.

Long: the stacks of a group and what trains, solves and validates them share one state.

Legend: L lanes, S steps of an epoch, B rows of a batch, N rows of a set, D embedding.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

from avtune.core.hyper import Value
from avtune.core.trial import Trial
from avtune.data.prepare import Prepared
from avtune.engine.features import Features, Rows
from avtune.engine.optimizer import AdamW
from avtune.engine.validation import lane_map, lane_map_on_cpu
from avtune.lanes.modules import Tensors, matrix_precision
from avtune.lanes.noise import init_generator, row_order, step_keys
from avtune.methods import Batch, Method, Progress, get, static_values
from avtune.methods._closed_form import ClosedForm
from avtune.methods._in_place import named, read_by_a_step, unchanged

# Rows x lanes embedded at a time in validation: bounds the memory of hidden layers.
_EMBED_ROWS = 1 << 15
# Weights of the lanes that a CPU trains at a time: what they keep for the backward pass stays small and near.
BLOCK_BYTES = 40 << 20
# Lanes with more weights than this make two blocks at least. A step of narrower ones takes as long for its calls as for
# its arithmetic (8 lanes of 128 units: 50 ms an epoch and lane in two blocks, 41 in one), and what they keep is little.
WIDE_BYTES = 2 << 20
_NARROW_LANES = 16
# Weights a lane from which a tensor is updated by itself; all smaller ones are one tensor for the optimiser.
_LARGE = 1 << 15
_SMALL = "small"
# Bytes at whose multiples a lane's part of a stack begins in exact mode, as memory of its own would.
_ALIGNED = 512


@dataclass(frozen=True)
class EpochResult:
    """What one lane's epoch gave: `metrics` by name, or why it `failed`."""

    trial: Trial
    epoch: int
    metrics: dict[str, float]
    failed: str | None = None


class Lanes:
    """The lanes of one group on one device.

    Args:
        method: name of the method.
        static: the group's static hyper-parameters, see `methods.static_values`.
        data: what is trained on.
        capacity: most lanes at a time.
        device: where the stacks live.
        dtype: of weights and data; float64 is for tests.
        precision: of the large matrix products in training, see `modules.matrix_precision`. Validation is fp32.
        block: most lanes in one training step; the others have their steps of the epoch after theirs. None for all on
            a GPU, and on a CPU for half of the active ones, or fewer where their weights exceed `BLOCK_BYTES`: a little
            slower than all when there are few, and much smaller, see `benchmarks/lanes.py`. Lanes of at most
            `WIDE_BYTES` are up to 16 in a block.
        features: the data on the device, of this dtype, where several groups share it; None makes it.
        exact: each lane has its steps and its validation by itself, in calls and memory like the lone trial's: the same
            bits, however many lanes there are and whichever is its own. Takes 7 to 42 % longer on a CPU, the more the
            narrower the lanes; on a GPU, where a lone lane does not fill the device, many times as long.
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
    ) -> None:
        assert not exact or block is None
        self._device = torch.device(device)
        self._dtype = dtype
        self._precision = precision
        self._type = get(method)
        self.method: Method = self._type(static, data.audio_dim, data.visual_dim, data.num_classes)
        self._features = features or Features.of(data, self._device, dtype)
        rows = self._features.train
        self._audio, self._visual, self._labels = rows.audio, rows.visual, rows.labels
        # A closed form takes all rows at once.
        self._batch_size = min(int(static.get("batch_size", len(data.train))), len(data.train))
        self._steps_per_epoch = len(data.train) // self._batch_size
        self._capacity = capacity
        self._block = 1 if exact else block
        self._exact = exact
        self._optimizer = AdamW()
        self._trials: list[Trial] = []
        self._epochs = np.zeros(capacity, np.int64)
        self._stacks: dict[str, Tensors] = {}
        self._small: dict[str, Tensor] = {}  # of each kind, the stacks of all small parameters side by side
        self._hyper: Tensors = {}

    @property
    def num_active(self) -> int:
        return len(self._trials)

    @property
    def capacity(self) -> int:
        return self._capacity

    @property
    def lane_bytes(self) -> int:
        """Of a lane's weights, buffers and moments; there has been a lane."""
        return sum(value[0].nbytes for stack in self._stacks.values() for value in stack.values())

    @property
    def copied_bytes(self) -> tuple[int, int]:
        """Of the features that an epoch copies at a time: (for each lane, however many lanes there are)."""
        train, validation = self._features.train, self._features.validation
        held_out = validation.nbytes if validation else 0
        if isinstance(self.method, ClosedForm):
            return 0, max(train.nbytes, held_out)
        return train.nbytes * self._batch_size // len(train.labels), held_out

    def blocks(self) -> list[slice]:
        """The active lanes in blocks of even sizes. What a step keeps for its backward pass is of one block only, so on
        a CPU wide lanes make two blocks at least."""
        assert self._trials, "no active lane"
        most = self._block or self.num_active
        if self._block is None and self._device.type == "cpu":
            weights = sum(value[0].nbytes for value in self._stacks["params"].values())
            most = -(-self.num_active // 2) if weights > WIDE_BYTES else _NARROW_LANES
            most = max(1, min(BLOCK_BYTES // weights, most))
        parts = np.array_split(np.arange(self.num_active), -(-self.num_active // most))
        return [slice(int(part[0]), int(part[-1]) + 1) for part in parts]

    def admit(self, trial: Trial, state: Tensors | None = None, epoch: int = 0) -> None:
        """Puts a trial into a free lane: freshly initialised from its seed, or with a `state` after `epoch` epochs.

        Raises:
            ValueError: the state is not one of this group's lanes.
        """
        assert self.num_active < self._capacity, "no free lane"
        assert static_values(self._type, trial.config) == self.method.static, "the trial belongs to another group"
        params, buffers = self.method.init(init_generator(trial.seed))
        lane = self.num_active
        if not self._stacks:
            self._stacks = self._new_stacks(params, buffers)
            self._hyper = {
                hyper.name: torch.empty(self._capacity, device=self._device, dtype=self._dtype)
                for hyper in self._type.hypers
                if not hyper.static
            }
        for name, value in params.items():
            self._stacks["params"][name][lane] = value.to(self._device, self._dtype)
        for name, value in buffers.items():
            self._stacks["buffers"][name][lane] = value.to(self._device, self._dtype)
        for moments_L in self._stacks["moments"].values():
            moments_L[lane] = 0
        if state is not None:
            self._restore(lane, state)
        for name, values_L in self._hyper.items():
            values_L[lane] = float(trial.config[name])
        self._epochs[lane] = epoch
        self._trials.append(trial)

    def _new_stacks(self, params: Tensors, buffers: Tensors) -> dict[str, Tensors]:
        """Stacks for lanes with such weights and buffers, and their moments. The small parameters of a kind lie side by
        side, so that the optimiser takes them as one."""

        def stack(one: Tensors) -> Tensors:
            return {name: self._empty(*value.shape) for name, value in one.items()}

        large = {name: value for name, value in params.items() if value.numel() >= _LARGE}
        small = {name: value for name, value in params.items() if name not in large}
        sizes = [value.numel() for value in small.values()]

        def side_by_side(kind: str) -> Tensors:
            self._small[kind] = self._empty(sum(sizes))
            parts = torch.split(self._small[kind], sizes, 1)
            views = {name: part.view(-1, *small[name].shape) for name, part in zip(small, parts, strict=True)}
            return {name: views[name] if name in views else self._empty(*value.shape) for name, value in params.items()}

        if isinstance(self.method, ClosedForm):
            return {"params": stack(params), "buffers": stack(buffers), "moments": {}}
        moments = {kind: side_by_side(kind) for kind in "mv"}
        return {
            "params": side_by_side("params"),
            "buffers": stack(buffers),
            "moments": {f"{kind}.{name}": moments[kind][name] for name in params for kind in "mv"},
        }

    def _empty(self, *shape: int) -> Tensor:
        if not self._exact:
            return torch.empty((self._capacity, *shape), device=self._device, dtype=self._dtype)
        size, aligned = math.prod(shape), _ALIGNED // self._dtype.itemsize
        stack = torch.empty(self._capacity, -(-size // aligned) * aligned, device=self._device, dtype=self._dtype)
        return stack[:, :size].view(self._capacity, *shape)

    def release(self, trial: Trial) -> None:
        """Frees the trial's lane; the last active lane moves into it."""
        lane, last = self._trials.index(trial), self.num_active - 1
        if lane != last:
            for tensor in (*(t for stack in self._stacks.values() for t in stack.values()), *self._hyper.values()):
                tensor[lane] = tensor[last]
            self._epochs[lane] = self._epochs[last]
            self._trials[lane] = self._trials[last]
        self._trials.pop()

    def state(self, trial: Trial) -> Tensors:
        """Copies, on the CPU, of all that changes as the trial trains: with it and the number of epochs done, another
        lane goes on as if it were this one. Data order and dropout depend on the seed and the epoch only."""
        lane = self._trials.index(trial)
        return {
            f"{kind}.{name}": stack[lane].detach().cpu().clone()
            for kind, stacks in self._stacks.items()
            for name, stack in stacks.items()
        }

    def _restore(self, lane: int, state: Tensors) -> None:
        stacks = {f"{kind}.{name}": stack for kind, named in self._stacks.items() for name, stack in named.items()}
        wrong = stacks.keys() ^ state.keys()
        wrong |= {name for name in stacks.keys() - wrong if stacks[name][lane].shape != state[name].shape}
        if wrong:
            raise ValueError(f"the state of a lane of another group: {sorted(wrong)[0]}")
        for name, stack in stacks.items():
            stack[lane] = state[name].to(self._device, self._dtype)

    def weights(self, trial: Trial) -> tuple[Tensors, Tensors]:
        """A copy of the trial's (parameters, buffers) without lane axis, on the CPU."""
        lane = self._trials.index(trial)
        params, buffers = (
            {name: value[lane].detach().cpu().clone() for name, value in self._stacks[kind].items()}
            for kind in ("params", "buffers")
        )
        return params, buffers

    def train_epoch(self) -> list[EpochResult]:
        """Trains every active lane for an epoch and validates it. The results come in the order of the lanes."""
        assert self._trials, "no active lane"
        start = time.perf_counter()
        lanes = self.num_active
        if isinstance(self.method, ClosedForm):
            params, buffers, hyper, _ = self._of(slice(0, lanes))
            self._solve(self.method, params, buffers, hyper)
            sums: dict[str, Tensor] = {}
        else:
            blocks = [self._train(block) for block in self.blocks()]
            sums = {name: torch.cat([block[name] for block in blocks]) for name in blocks[0]}
        terms = {name: (value / self._steps_per_epoch).tolist() for name, value in sums.items()}
        parts = self.blocks() if self._exact else [slice(0, lanes)]
        values = self._schedules(parts)
        self._epochs[:lanes] += 1
        scores = self._validate(parts)
        seconds = (time.perf_counter() - start) / lanes
        clips = self._steps_per_epoch * self._batch_size
        results = []
        for lane, trial in enumerate(self._trials):
            epoch = int(self._epochs[lane])
            metrics = {name: value[lane] for name, value in (terms | values).items()}
            metrics |= {"seconds": seconds, "clips_per_second": clips / seconds}
            if "lr" in trial.config:
                metrics["lr"] = float(trial.config["lr"])
            failed = None
            bad = [name for name, value in terms.items() if not np.isfinite(value[lane])]
            if bad:
                failed = f"{bad[0]} is {terms[bad[0]][lane]} in epoch {epoch}"
            elif scores is not None and scores[lane] is None:
                failed = f"an embedding is not finite after epoch {epoch}"
            elif scores is not None:
                metrics |= scores[lane] or {}
            results.append(EpochResult(trial, epoch, metrics, failed))
        return results

    @torch.no_grad()
    def _solve(self, method: ClosedForm, params: Tensors, buffers: Tensors, hyper: Tensors) -> None:
        """Solves every lane that is in its first epoch; later ones change nothing."""
        new = [(lane, trial) for lane, trial in enumerate(self._trials) if not self._epochs[lane]]
        rows = self._features.train
        given = rows.copy() if new else rows
        for lane, trial in new:
            values = {name: float(value_L[lane]) for name, value_L in hyper.items()}
            solved = method.solve(given.audio, given.visual, given.labels, values, init_generator(trial.seed))
            rows.check_copy(given, "solve")
            for stacks, found in zip((params, buffers), solved, strict=True):
                for name, value in found.items():
                    stacks[name][lane] = value.to(self._device, self._dtype)

    def _of(self, block: slice) -> tuple[Tensors, Tensors, Tensors, Progress]:
        """(parameters, buffers, hyper-parameters, progress) of these lanes: parts of the stacks, no copies."""
        params, buffers = ({n: t[block] for n, t in self._stacks[kind].items()} for kind in ("params", "buffers"))
        hyper = {name: value[block] for name, value in self._hyper.items()}
        horizons = np.array([trial.horizon or trial.epochs for trial in self._trials[block]])
        return params, buffers, hyper, Progress(self._put(self._epochs[block]), self._put(horizons))

    def _train(self, block: slice) -> dict[str, Tensor]:
        """One epoch of these lanes: the sum over its steps of each term [L]. Reads nothing back from the device."""
        params, buffers, hyper, progress = self._of(block)
        epochs, trials = self._epochs[block], self._trials[block]
        seeds = np.array([trial.seed for trial in trials], np.int64)
        orders = [row_order(t.seed, int(e), len(self._labels)) for t, e in zip(trials, epochs, strict=True)]
        # All that steps take from the host goes there now: nothing waits for the device inside an epoch.
        order = torch.tensor(np.stack(orders), device=self._device)
        done_SL = epochs * self._steps_per_epoch + np.arange(self._steps_per_epoch)[:, None]
        keys_SL = torch.tensor(np.stack([step_keys(seeds, done_L) for done_L in done_SL]), device=self._device)
        steps_SL = torch.tensor(done_SL + 1, device=self._device)
        sums: dict[str, Tensor] = {}
        for step in range(self._steps_per_epoch):
            rows = order[:, step * self._batch_size : (step + 1) * self._batch_size]
            audio, visual, labels = (_rows(x, rows) for x in (self._audio, self._visual, self._labels))
            batch = Batch(audio, visual, labels, keys_SL[step])
            leaves = {name: value.detach().requires_grad_() for name, value in params.items()}
            with unchanged("loss or after_step", read_by_a_step(batch, hyper, progress)):
                with matrix_precision(self._precision):
                    losses = self.method.loss(leaves, buffers, batch, dict(hyper), progress)
                    self._descend(losses["loss"], leaves, block, steps_SL[step])
                with torch.no_grad():
                    self.method.after_step(params, buffers, hyper)
            with torch.no_grad():
                for name, value in losses.items():
                    sums[name] = sums[name] + value.detach() if name in sums else value.detach()
        return sums

    def _descend(self, loss_L: Tensor, leaves: Tensors, block: slice, steps_L: Tensor) -> None:
        """One step of the optimiser. A large gradient is used up as soon as the backward pass has made it: it need not
        be held with all others, and on a CPU it is still in the cache."""
        hyper = self._hyper["lr"][block], self._hyper["weight_decay"][block]
        missing = dict.fromkeys(leaves)
        small: Tensors = {}

        def descend(name: str, param: Tensor, grad: Tensor, m: Tensor, v: Tensor) -> None:
            moments = {f"m.{name}": m[block], f"v.{name}": v[block]}
            self._optimizer.step({name: param[block]}, {name: grad}, moments, steps_L, *hyper)

        def take(name: str, grad: Tensor) -> None:
            if grad[0].numel() < _LARGE:
                small[name] = grad
            else:
                params, moments = self._stacks["params"], self._stacks["moments"]
                descend(name, params[name], grad, moments[f"m.{name}"], moments[f"v.{name}"])

        def ready(name: str, leaf: Tensor) -> None:
            grad, leaf.grad = leaf.grad, None
            assert grad is not None
            del missing[name]
            take(name, grad)

        for name, leaf in leaves.items():
            leaf.register_post_accumulate_grad_hook(partial(ready, name))  # type: ignore[no-untyped-call]
        # Lanes share no weights: the gradient of the sum is each lane's own gradient.
        loss_L.sum().backward()  # type: ignore[no-untyped-call]
        for name in missing:  # a weight that the loss does not reach has a gradient of zero, and decays
            take(name, torch.zeros_like(leaves[name]))
        if small:
            side_by_side = torch.cat([small[name].flatten(1) for name in leaves if name in small], 1)
            descend(_SMALL, self._small["params"], side_by_side, self._small["m"], self._small["v"])

    def _schedules(self, parts: Sequence[slice]) -> dict[str, list[float]]:
        """What the method's schedules say in this epoch, lane by lane; computed for these lanes together."""
        values: dict[str, list[float]] = {}
        for part in parts:
            _, _, hyper, progress = self._of(part)
            with unchanged("schedules", named("hyper", hyper)):
                scheduled = self.method.schedules(hyper, progress)
            for name, value in scheduled.items():
                values.setdefault(name, []).extend(value.tolist())
        return values

    @torch.no_grad()
    def _validate(self, parts: Sequence[slice]) -> list[dict[str, float] | None] | None:
        """MAP of each lane on the validation rows, computed for these lanes together; None for a lane whose embeddings
        are not finite; None without validation rows."""
        rows = self._features.validation
        if rows is None:
            return None
        given = rows.copy()
        embedded = [self._embed(part, given) for part in parts]
        rows.check_copy(given, "embed")
        finite_L = torch.cat([torch.isfinite(a).all(2).all(1) & torch.isfinite(v).all(2).all(1) for a, v in embedded])
        scores: list[tuple[float, float]] = []
        for part, views in zip(parts, embedded, strict=True):
            z_a, z_v = (torch.where(finite_L[part][:, None, None], z, 0) for z in views)
            if self._device.type == "cpu":
                scores += lane_map_on_cpu(z_a, z_v, rows.labels.numpy(), torch.get_num_threads())
            else:
                scores += [(a2v, v2a) for a2v, v2a in lane_map(z_a, z_v, rows.labels).tolist()]
        return [
            {"val_map": (a2v + v2a) / 2, "val_map_a2v": a2v, "val_map_v2a": v2a} if finite else None
            for (a2v, v2a), finite in zip(scores, finite_L.tolist(), strict=True)
        ]

    def _embed(self, part: slice, rows: Rows) -> tuple[Tensor, Tensor]:
        """Embeddings of rows by these lanes: two tensors [L, N, D]."""
        params, buffers, _, _ = self._of(part)
        lanes = part.stop - part.start
        size = max(1, _EMBED_ROWS // lanes)
        with unchanged("embed", named("params", params) | named("buffers", buffers)):
            views = zip(torch.split(rows.audio, size), torch.split(rows.visual, size), strict=True)
            expanded = ((audio.expand(lanes, -1, -1), visual.expand(lanes, -1, -1)) for audio, visual in views)
            made = [self.method.embed(params, buffers, *pair) for pair in expanded]
        z_a, z_v = (torch.cat(views, 1) for views in zip(*made, strict=True))
        return z_a, z_v

    def _put(self, array: np.ndarray) -> Tensor:
        return torch.tensor(array, device=self._device, dtype=self._dtype)


def mean_metrics(results: Sequence[EpochResult]) -> dict[str, float]:
    """The metrics of a trial's folds: means, but the seconds of all."""
    if len(results) == 1:
        return results[0].metrics
    merged = {name: float(np.mean([r.metrics[name] for r in results])) for name in results[0].metrics}
    merged["seconds"] = sum(result.metrics["seconds"] for result in results)
    return merged


def _rows(x: Tensor, rows_LB: Tensor) -> Tensor:
    """x[rows]: on a CPU `index_select` is five times as fast."""
    return x.index_select(0, rows_LB.flatten()).view(*rows_LB.shape, *x.shape[1:])
