"""What fused code has to agree with: the lone trial, torch's AdamW, and triplets written as loops.

The tests compare on the CPU, `benchmarks.gpu` on a GPU. Needs no pytest.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from avtune.core.hyper import Value
from avtune.core.trial import Trial
from avtune.data.dataset import Split
from avtune.data.prepare import Prepared
from avtune.engine.lane_trainer import LaneTrainer
from avtune.engine.optimizer import AdamW
from avtune.lanes.modules import Tensors
from avtune.methods import METHODS, Method, check_config, defaults, static_values

EPOCHS = (4, 3, 5, 2, 4)
"""Of the trials of `some_trials`: they end one by one, and others take their lanes."""


# --- a lane of several against the lone trial


def changes(method: type[Method]) -> Iterator[tuple[str, dict[str, Value]]]:
    """The default configuration and one with each other word of each choice: (its name, what it changes). Choices of
    training that all methods have (`Hyper.extra`) are left out; they have tests of their own."""
    yield "default", {}
    for hyper in method.hypers:
        if hyper.extra:
            continue
        values: Sequence[Value] = hyper.values if hyper.kind == "choice" else ()
        if hyper.kind == "bool":
            values = (False, True)
        for value in values:
            if value != hyper.default:
                yield f"{hyper.name}={value}", {hyper.name: value}


CHOICES: dict[str, dict[str, Value]] = {
    "average": {"average": True, "average_decay": 0.9},
    "mixup": {"mixup": True, "mixup_share": 0.8},
    "per_class": {"per_class": 4},
    "lr_end, warmup": {"lr_end": 0.1, "warmup": 0.3},
    "depth": {"depth": 3},
    "relu": {"activation": "relu"},
    "gelu": {"activation": "gelu"},
    "silu": {"activation": "silu"},
    "batch": {"normalisation": "batch"},
    "none": {"normalisation": "none"},
    "label_smoothing": {"label_loss": "cross_entropy", "label_smoothing": 0.1},
    "all": {
        "average": True,
        "mixup": True,
        "per_class": 4,
        "lr_end": 0.1,
        "warmup": 0.3,
        "depth": 3,
        "activation": "gelu",
        "normalisation": "batch",
    },
}
"""Choices of training (`Hyper.extra`) of `psd`, each by itself and together."""


def full_config(name: str, sizes: Mapping[str, Value], change: Mapping[str, Value] | None = None) -> dict[str, Value]:
    """The method's defaults with those of `sizes` that it knows, and with `change`."""
    known = {key: value for key, value in sizes.items() if key in defaults(METHODS[name])}
    return check_config(METHODS[name], known | dict(change or {}))


def some_trials(
    name: str,
    count: int,
    sizes: Mapping[str, Value],
    change: Mapping[str, Value] | None = None,
    *,
    precision: str = "fp32",
    epochs: Sequence[int] = EPOCHS,
) -> list[Trial]:
    """Trials of one group with a seed, a learning rate, a dropout and a number of epochs of their own."""
    return [
        Trial(
            i,
            name,
            full_config(name, {**sizes, "lr": 1e-3 * (i + 1), "dropout": 0.1 * i}, change),
            seed=100 + i,
            epochs=epochs[i % len(epochs)],
            precision=precision,
        )
        for i in range(count)
    ]


class Runs(NamedTuple):
    """Of each trial, by its number: (validation MAP, loss) epoch by epoch, and its last weights and buffers."""

    curves: dict[int, list[tuple[float, float]]]
    weights: dict[int, Tensors]


def run(
    trials: Sequence[Trial],
    data: Prepared,
    *,
    lanes: int,
    late: int = 0,
    dtype: torch.dtype = torch.float64,
    device: str = "cpu",
    block: int | None = None,
    exact: bool = False,
    record: bool = True,
) -> Runs:
    """Trains trials of one group in `lanes` lanes, `block` at a time or `exact`; `late` of them join after the first
    epoch. `record`: see `LaneTrainer`."""
    first = trials[0]
    static = static_values(METHODS[first.method], first.config)
    group = LaneTrainer(
        first.method,
        static,
        data,
        capacity=lanes,
        device=device,
        dtype=dtype,
        precision=first.precision,
        block=block,
        exact=exact,
        record=record,
    )
    waiting = list(trials)
    done = Runs({trial.number: [] for trial in trials}, {})
    for turn in itertools.count():
        while waiting and group.num_active < lanes - (late if turn == 0 else 0):
            group.store.admit(waiting.pop(0))
        if not group.num_active:
            break
        for result in group.train_epoch():
            if result.failed is not None:
                raise RuntimeError(result.failed)
            done.curves[result.trial.number].append((result.metrics["val_map"], result.metrics.get("loss", 0.0)))
            if result.epoch == result.trial.epochs:
                params, buffers = group.store.weights(result.trial)
                done.weights[result.trial.number] = params | buffers
                group.store.release(result.trial)
    return done


def run_alone(
    trials: Sequence[Trial], data: Prepared, *, dtype: torch.dtype = torch.float64, device: str = "cpu"
) -> Runs:
    """Each trial by itself, as `run` trains them together."""
    done = Runs({}, {})
    for trial in trials:
        one = run([trial], data, lanes=1, dtype=dtype, device=device)
        done.curves.update(one.curves)
        done.weights.update(one.weights)
    return done


class Apart(NamedTuple):
    """How far two runs of the same trials are apart: the largest relative difference of a tensor of weights or buffers
    (by Euclidean norm), of a loss, and the largest absolute difference of a validation MAP."""

    weights: float
    loss: float
    map: float

    @property
    def equal(self) -> bool:
        """To the last bit."""
        return self == (0, 0, 0)


def apart(one: Runs, other: Runs) -> Apart:
    """How far `other` is from `one`; NaN in either is infinitely far from a number."""
    worst = [0.0, 0.0, 0.0]
    for number, curve in one.curves.items():
        losses, maps = [], []
        for (map_one, loss_one), (map_other, loss_other) in zip(curve, other.curves[number], strict=True):
            maps.append(abs(map_other - map_one))
            losses.append(abs(loss_other - loss_one) / max(abs(loss_one), 1e-12))
        tensors = [_apart(value, other.weights[number][name]) for name, value in one.weights[number].items()]
        for place, values in enumerate((tensors, losses, maps)):
            worst[place] = max([worst[place], *(math.inf if math.isnan(value) else value for value in values)])
    return Apart(*worst)


def _apart(one: Tensor, other: Tensor) -> float:
    one, other = one.double(), other.double()
    return float((other - one).norm() / max(float(one.norm()), 1e-12))


def nudged(data: Prepared, by: float) -> Prepared:
    """The same clips, with every training feature changed by about this part of itself, in float64."""
    draw = np.random.default_rng(0)
    views = (view * (1 + by * draw.choice([-1.0, 1.0], view.shape)) for view in (data.train.audio, data.train.visual))
    return dataclasses.replace(data, train=Split(*views, data.train.labels))


# --- the optimiser against torch's


def adamw_apart(
    device: str = "cpu", dtype: torch.dtype = torch.float64, *, kernel: bool | None = None, steps: int = 12
) -> float:
    """The largest absolute difference of a weight from torch.optim.AdamW's on that device, over the steps of three
    lanes whose weights are about 1."""
    draw = torch.Generator().manual_seed(0)
    shapes = {"w": (40, 30), "b": (30,), "big": (90, 91)}

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=draw, dtype=torch.float64).to(device, dtype)

    params = {name: normal(3, *shape) for name, shape in shapes.items()}
    lr, decay = (torch.tensor(v, dtype=dtype, device=device) for v in ([1e-3, 1e-2, 0.1], [0.0, 0.1, 0.01]))
    references = []
    for lane in range(3):
        copies = {name: value[lane].clone().requires_grad_() for name, value in params.items()}
        settings = {"lr": lr[lane].item(), "weight_decay": decay[lane].item()}
        references.append((copies, torch.optim.AdamW(copies.values(), **settings)))
    ours, moments = AdamW(kernel=kernel), AdamW.init(params)
    apart = 0.0
    for step in range(1, steps + 1):
        grads = {name: normal(*value.shape) for name, value in params.items()}
        ours.step(params, grads, moments, torch.full((3,), step, device=device), lr, decay)
        for lane, (copies, reference) in enumerate(references):
            for name, copy in copies.items():
                copy.grad = grads[name][lane].clone()
            reference.step()
            apart = max([apart, *((params[n][lane] - copy).abs().max().item() for n, copy in copies.items())])
    return apart
