"""The parts of a training step as calls that can be repeated, with their bytes and floating-point operations.

Legend: L lanes.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from avtune.engine.lane_store import LARGE
from avtune.engine.lane_trainer import LaneTrainer
from avtune.engine.steps import take_rows
from avtune.engine.validation import validate
from avtune.lanes.hidden import hidden_layer
from avtune.lanes.modules import Dropout, batch_norm, encoder, matrix_precision
from avtune.lanes.noise import row_order, step_keys
from avtune.methods import Batch
from avtune.methods.psd import PSD
from benchmarks._products import Product, Recorder, flops, replay, traffic
from benchmarks._training import FIXED, Setup, prepared, step_products

HIDDEN_LAYERS = 4


@dataclass(frozen=True)
class Part:
    """A part of a step of all lanes.

    Attributes:
        call: does it once.
        bytes, flops: of all lanes, see the report.
        first: is called before every call, outside of its time, and gives its argument.
        of_step: it is a part of every step, not of an epoch.
        in_fp32: its products are fp32 whatever the precision.
        on_host: it is work of the host, or waits for the device.
    """

    name: str
    call: Callable[..., object]
    bytes: float
    flops: float = 0.0
    first: Callable[[], object] | None = None
    of_step: bool = True
    in_fp32: bool = False
    on_host: bool = False


class Step:
    """A step of an engine's lanes, taken apart. What it computes is thrown away, but the optimiser's part spoils the
    weights."""

    def __init__(self, lanes: LaneTrainer, setup: Setup, count: int) -> None:
        self._lanes, self._setup, self._count = lanes, setup, count
        self._all = slice(0, count)
        view = lanes.store.view(self._all)
        self._params, self._buffers, self._hyper, self._progress = view.params, view.buffers, view.hyper, view.progress
        self._train = lanes._features.train
        seeds = np.arange(count)
        orders = np.stack([row_order(int(seed), 0, len(self._train.labels))[: lanes._batch_size] for seed in seeds])
        self._rows = torch.tensor(orders, device=lanes._device)
        keys = torch.tensor(step_keys(seeds, np.zeros_like(seeds)), device=lanes._device)
        self._batch = Batch(*self._gather(), keys)
        assert isinstance(lanes.method, PSD)
        self._method: PSD = lanes.method
        dropout = self._batch.dropout(self._hyper["dropout"])
        with torch.no_grad():
            self._embeddings = tuple(
                encoder(self._params, self._buffers, f"{view}.", getattr(self._batch, view), dropout)
                for view in ("audio", "visual")
            )

    def parts(self) -> list[Part]:
        """In the order of a step; then those of an epoch. Each is made when it is asked for."""
        batch, width, hidden = self._lanes._batch_size, int(FIXED["embedding_dim"]), self._setup.hidden
        data = prepared(self._setup)
        forward, backward = step_products(dataclasses.replace(self._setup, device="meta"), self._count)
        forward_call = replay(forward, self._lanes._device, wait=False)
        pairs, vectors = self._count * batch * batch * 4, self._count * 2 * batch * width * 4
        layers = HIDDEN_LAYERS * self._count * batch * hidden * self._activation_dtype.itemsize
        features = self._count * batch * (data.audio_dim + data.visual_dim) * 4
        labels = self._count * batch * 8
        weights = sum(value.nbytes for value in self._params.values())
        return [
            Part("gather", self._gather, 2 * features + 3 * labels),
            Part("batch norm of the features", self._batch_norm, 2 * features),
            Part("forward products", forward_call, traffic(forward), flops(forward)),
            Part("layer norm, tanh, dropout", self._activations(), 2 * layers),
            Part(
                "triplets",
                self._triplets(),
                vectors + 2 * 4 * pairs,
                2 * self._count * batch * batch * width,
                in_fp32=True,
            ),
            Part("other losses", self._other_losses(), vectors + labels),
            Part(
                "backward",
                self._backward,
                traffic(backward) + 3 * layers + 2 * pairs,
                flops(backward),
                self._forward,
            ),
            Part("optimiser", self._optimiser(), 7 * weights),
            Part("row orders, of an epoch (host)", self._row_orders, 0, of_step=False, on_host=True),
            self._validation(),
        ]

    @property
    def _activation_dtype(self) -> torch.dtype:
        return torch.bfloat16 if self._setup.precision == "bf16" else torch.float32

    def _gather(self) -> tuple[Tensor, Tensor, Tensor]:
        sources = (self._train.audio, self._train.visual, self._train.labels)
        audio, visual, labels = (take_rows(source, self._rows) for source in sources)
        return audio, visual, labels

    @torch.no_grad()
    def _batch_norm(self) -> list[Tensor]:
        return [
            batch_norm(x, self._buffers[f"{view}.norm.mean"], self._buffers[f"{view}.norm.var"], training=True)
            for view, x in (("audio", self._batch.audio), ("visual", self._batch.visual))
        ]

    def _row_orders(self) -> list[np.ndarray]:
        return [row_order(seed, 0, len(self._train.labels)) for seed in range(self._count)]

    def _activations(self) -> Callable[[], object]:
        shape = (self._count, self._lanes._batch_size, self._setup.hidden)
        device = self._lanes._device
        x = torch.randn(shape, device=device).to(self._activation_dtype).requires_grad_()
        gain, bias = torch.ones(shape[0], shape[2], device=device), torch.zeros(shape[0], shape[2], device=device)

        def call() -> Tensor:
            dropout = Dropout(self._batch.dropout_keys, self._hyper["dropout"])
            for _ in range(HIDDEN_LAYERS):
                made = hidden_layer(x, gain, bias, dropout)
            return made

        return call

    def _leaves(self) -> tuple[Tensor, Tensor]:
        z_a, z_v = (z.detach().requires_grad_() for z in self._embeddings)
        return z_a, z_v

    def _triplets(self) -> Callable[[], object]:
        return lambda: self._method._cross(
            self._params, self._buffers, self._batch, self._hyper, self._progress, *self._leaves()
        )

    def _other_losses(self) -> Callable[[], object]:
        head = self._params["head.weight"]

        def call() -> Tensor:
            z_a, z_v = self._leaves()
            labelled = self._method._labelled(head, z_a, z_v, self._batch.labels, self._hyper)
            return labelled + self._method._distance(z_a, z_v)

        return call

    def _forward(self) -> tuple[dict[str, Tensor], Tensor]:
        leaves = {name: value.detach().requires_grad_() for name, value in self._params.items()}
        return leaves, self._method.loss(leaves, self._buffers, self._batch, self._hyper, self._progress)["loss"]

    def _backward(self, made: tuple[dict[str, Tensor], Tensor]) -> None:
        leaves, loss_L = made
        torch.autograd.grad(loss_L.sum(), list(leaves.values()))

    def _optimiser(self) -> Callable[[], object]:
        """The large tensors one by one and the small ones as one, as the engine has them."""
        lanes = self._lanes
        steps = torch.ones(self._count, dtype=torch.int64, device=lanes._device)
        hyper = self._hyper["lr"], self._hyper["weight_decay"]
        jobs = []
        for name, value in self._params.items():
            if value[0].numel() >= LARGE:
                moments = {f"{kind}.{name}": lanes.store.moments[f"{kind}.{name}"][self._all] for kind in "mv"}
                jobs.append(({name: value}, {name: torch.full_like(value, 1e-4)}, moments))
        if lanes.store.small:
            small = {kind: value[self._all] for kind, value in lanes.store.small.items()}
            grads = {"small": torch.full_like(small["params"], 1e-4)}
            jobs.append(({"small": small["params"]}, grads, {f"{kind}.small": small[kind] for kind in "mv"}))

        def call() -> None:
            for params, grads, moments in jobs:
                lanes._steps._optimizer.step(params, grads, moments, steps, *hyper)

        return call

    def _validation(self) -> Part:
        lanes, views = self._lanes, self._val_views()
        rows = len(views[0])

        def call() -> object:
            with matrix_precision("fp32"):
                return validate(lanes.store, lanes._features.validation, [self._all])

        products = self._embed_products(rows)
        scores = 2 * self._count * rows * rows
        features = self._count * sum(view.nbytes for view in views)
        width = int(FIXED["embedding_dim"])
        return Part(
            "validation, of an epoch",
            call,
            features + traffic(products) + 2 * 4 * scores,
            flops(products) + 2 * scores * width,
            of_step=False,
            in_fp32=True,
            on_host=True,
        )

    def _val_views(self) -> tuple[Tensor, Tensor]:
        rows = self._lanes._features.validation
        assert rows is not None
        return rows.audio, rows.visual

    @torch.no_grad()
    def _embed_products(self, rows: int) -> list[Product]:
        """Of the encoders in validation; on torch's `meta` device, which computes nothing."""
        with Recorder() as recorder, matrix_precision("fp32"):
            params, buffers = ({n: t.to("meta") for n, t in part.items()} for part in (self._params, self._buffers))
            audio, visual = (view[:rows].to("meta").expand(self._count, -1, -1) for view in self._val_views())
            self._method.embed(params, buffers, audio, visual)
        return recorder.products
