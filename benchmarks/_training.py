"""What `benchmarks.lanes` trains: engines of `psd` on features of a real file's shape, without Ray or a study."""

from __future__ import annotations

import dataclasses
import time
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch

from avtune.core.trial import Trial
from avtune.data.dataset import Split
from avtune.data.prepare import Prepared, for_search
from avtune.engine.lane_trainer import LaneTrainer
from avtune.lanes.modules import matrix_precision
from avtune.methods import Batch, Progress, check_config, get, static_values
from benchmarks._products import Product, Recorder

METHOD = "psd"
FIXED: dict[str, int | float] = {"batch_size": 256, "embedding_dim": 64, "r_shrink": 1.0}
VARIED = {"margin": (0.02, 0.8), "w_cross": (0.2, 20), "tau": (0.02, 1), "lr": (2e-4, 5e-3), "dropout": (0, 0.6)}
EPOCHS = 27
"""Of a trial, where trials an hour are counted."""


@dataclass(frozen=True)
class Shape:
    """Of generated features: classes, rows to train on and to validate on, and widths of the two views."""

    classes: int
    train: int
    validation: int
    audio: int = 128
    visual: int = 1024


AVE = Shape(15, 1330, 333)
"""A YouTube-8M subset that stands in for AVE, four fifths to train on."""


@dataclass(frozen=True)
class Setup:
    """What an engine trains, and where. `data`: a dataset's name or path, None for generated features of a `shape`;
    `threads`: CPU threads of the engine."""

    data: str | None
    hidden: int
    device: str
    precision: str
    threads: int
    shape: Shape = AVE

    @property
    def label(self) -> str:
        return f"{self.device}, {self.precision}"


def prepared(setup: Setup) -> Prepared:
    """Four fifths of the training rows to train on, the rest to validate."""
    return _read(setup.data) if setup.data else generated(setup.shape)


@cache
def _read(data: str) -> Prepared:
    from avtune.data import load  # here: generated features need no reader of files

    return for_search(load(data), fraction=0.2, folds=None, seed=0)[0]


@cache
def generated(shape: Shape) -> Prepared:
    """Features around the centres of their classes, of about mean 0 and variance 1."""
    rng = np.random.default_rng(0)
    labels = rng.permutation(np.arange(shape.train + shape.validation) % shape.classes)
    views = []
    for width in (shape.audio, shape.visual):
        noise = rng.standard_normal((len(labels), width), np.float32)
        centres = rng.standard_normal((shape.classes, width), np.float32)
        views.append((centres[labels] + 3 * noise) / np.float32(10**0.5))
    train, validation = (
        Split(views[0][rows], views[1][rows], labels[rows]) for rows in (slice(shape.train), slice(shape.train, None))
    )
    return Prepared(train, validation, shape.classes)


def trial(setup: Setup, number: int) -> Trial:
    """A configuration of its own for every lane, all of one group."""
    rng = np.random.default_rng(number)
    varied = {name: float(rng.uniform(low, high)) for name, (low, high) in VARIED.items()}
    config = check_config(get(METHOD), FIXED | varied | {"hidden_dim": setup.hidden})
    return Trial(number, METHOD, config, seed=number, epochs=100_000, precision=setup.precision)


def engine(setup: Setup, num_lanes: int, *, validate: bool, record: bool = True) -> LaneTrainer:
    """An engine with so many lanes, all taken; `record`: see `LaneTrainer`."""
    data = prepared(setup)
    if not validate:
        data = dataclasses.replace(data, validation=None)
    static = static_values(get(METHOD), trial(setup, 0).config)
    lanes = LaneTrainer(
        METHOD, static, data, capacity=num_lanes, device=setup.device, precision=setup.precision, record=record
    )
    for number in range(num_lanes):
        lanes.store.admit(trial(setup, number))
    return lanes


def clips_per_epoch(setup: Setup) -> int:
    """Clips that one lane trains in an epoch: full batches only."""
    rows, batch = len(prepared(setup).train), int(FIXED["batch_size"])
    return rows // batch * batch


def weight_bytes(setup: Setup) -> int:
    """Of one lane's weights."""
    data, config = prepared(setup), trial(setup, 0).config
    method = get(METHOD)(static_values(get(METHOD), config), data.audio_dim, data.visual_dim, data.num_classes)
    return sum(value.nbytes for value in method.init(torch.Generator())[0].values())


def epochs_per_second(lanes: LaneTrainer, seconds: float) -> float:
    """Epochs of all lanes together, trained for at least so many seconds."""
    start, elapsed, epochs = time.perf_counter(), 0.0, 0
    while elapsed < seconds:
        epochs += len(lanes.train_epoch())
        elapsed = time.perf_counter() - start
    return epochs / elapsed


def step_products(setup: Setup, num_lanes: int) -> tuple[list[Product], list[Product]]:
    """The matrix products of one training step: of its forward and of its backward pass."""
    data, device = prepared(setup), torch.device(setup.device)
    config = trial(setup, 0).config
    method = get(METHOD)(static_values(get(METHOD), config), data.audio_dim, data.visual_dim, data.num_classes)
    params, buffers = (
        {name: value.to(device).expand(num_lanes, *value.shape).contiguous() for name, value in one.items()}
        for one in method.init(torch.Generator().manual_seed(0))
    )
    leaves = {name: value.requires_grad_() for name, value in params.items()}
    rows = slice(0, int(FIXED["batch_size"]))
    audio, visual, labels = (
        torch.from_numpy(array[rows]).to(device).expand(num_lanes, *array[rows].shape).contiguous()
        for array in (data.train.audio, data.train.visual, data.train.labels)
    )
    batch = Batch(audio, visual, labels, torch.zeros(num_lanes, dtype=torch.int32, device=device))
    hyper = {
        one.name: torch.full((num_lanes,), float(config[one.name]), device=device)
        for one in method.hypers
        if not one.static
    }
    first = torch.zeros(num_lanes, device=device)
    recorder = Recorder()
    with recorder:
        with matrix_precision(setup.precision):
            losses = method.loss(leaves, buffers, batch, hyper, Progress(first, first + EPOCHS))
        forward = len(recorder.products)
        torch.autograd.grad(losses["loss"].sum(), list(leaves.values()), materialize_grads=True)
    # Two products backwards for each forwards, but one for the first layers, whose inputs have no gradient.
    assert len(recorder.products) > 2 * forward, "the products of the backward pass were not seen"
    return recorder.products[:forward], recorder.products[forward:]
