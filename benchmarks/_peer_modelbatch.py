"""A search with ModelBatch (models stacked under `torch.vmap`) and its Optuna integration: a side of
`benchmarks.peers`.

`psd` alone: its encoders as a `torch.nn.Module`, as a user of the library writes them; its loss is avtune's own formula
for many trials. What the library does not offer is missing here too: trials of a batch see the same rows in the same
order, none is stopped early, and one batch trains at a time, on all cores.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from modelbatch.core import ModelBatch
from modelbatch.optimizer import OptimizerFactory
from modelbatch.optuna_integration import ModelBatchStudy
from torch import Tensor, nn

from avtune.core.hyper import Value
from avtune.data.prepare import Prepared
from avtune.methods import METHODS, static_values
from avtune.methods._base import Batch, Progress
from avtune.methods._losses import pair_distance
from avtune.metrics import retrieval_scores
from benchmarks._peer_task import Config, Run, Task, finals, suggested

BATCH = 16
"""Models that train at a time."""


class Encoders(nn.Module):
    """The two encoders of `psd` and its classifier.

    Args:
        dims: widths of the audio and of the visual features, and classes.
        config: complete.
    """

    def __init__(self, dims: tuple[int, int, int], config: Config) -> None:
        super().__init__()
        hidden, width = int(config["hidden_dim"]), int(config["embedding_dim"])
        self.config = config
        self.register_buffer("drop", torch.tensor(float(config["dropout"])))
        for view, size in zip(("audio", "visual"), dims, strict=False):
            layers = [nn.BatchNorm1d(size, affine=False)]
            for wide in (size, hidden):
                layers += [nn.Linear(wide, hidden), nn.LayerNorm(hidden), nn.Tanh()]
            self.add_module(view, nn.ModuleList([*layers, nn.Linear(hidden, width)]))
        self.head = nn.Linear(width, dims[2], bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """[B, audio + visual features] to both embeddings side by side, [B, 2 D]."""
        first = self.audio[1].in_features
        return torch.cat([self._embed(self.audio, x[:, :first]), self._embed(self.visual, x[:, first:])], 1)

    def _embed(self, layers: Any, x: Tensor) -> Tensor:
        for layer in layers:
            x = layer(x)
            if isinstance(layer, nn.Tanh) and self.training:
                x = x * (torch.rand_like(x) >= self.drop) / (1 - self.drop)
        return x


def modelbatch(task: Task) -> dict[str, float]:
    """The whole command: search, finals, test."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    assert task.the_space.method == "psd", "this side knows psd alone"
    (data,) = task.folds
    complete: list[dict[str, Value]] = []
    curves: list[list[float]] = []

    class Study(ModelBatchStudy):
        def suggest_parameters(self, trial: Any) -> dict[str, Any]:
            return suggested(task, trial)

    def model(config: dict[str, Any]) -> nn.Module:
        torch.manual_seed(task.seed + len(complete))
        complete.append(_complete(task, config))
        return Encoders((data.audio_dim, data.visual_dim, data.num_classes), complete[-1])

    def train_batch(batch: ModelBatch, configs: list[dict[str, Any]]) -> list[float]:
        found = _train(batch, data, task.epochs, task.epochs, validate=True)
        curves.extend(found)
        return [max(curve) for curve in found]

    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=task.seed))
    batches = Study(study, model, max_models_per_batch=BATCH, min_accumulation_time=1e9, batch_timeout=None)
    batches.optimize(train_batch, n_trials=task.trials, show_progress_bar=False)
    ranked = [trial.params for trial in sorted(study.trials, key=lambda trial: -(trial.value or 0.0))]
    found = {"best": float(study.best_value), "epochs": float(sum(map(len, curves)))}
    return found | finals(task, ranked, lambda runs: _runs(task, runs))


def _complete(task: Task, config: Config) -> dict[str, Value]:
    """With the defaults of all that the space does not name."""
    return {hyper.name: hyper.default for hyper in METHODS["psd"].hypers} | task.the_space.fixed | dict(config)


def _runs(task: Task, runs: list[Run]) -> list[list[float]]:
    """Runs of the finals, as many at a time as trials are."""
    found: list[list[float]] = []
    for at in range(0, len(runs), BATCH):
        some = runs[at : at + BATCH]
        data = task.whole[0] if some[0].whole else task.folds[0]
        models = []
        for one in some:
            torch.manual_seed(one.seed % 2**63)
            models.append(Encoders((data.audio_dim, data.visual_dim, data.num_classes), _complete(task, one.config)))
        batch = ModelBatch(models)
        curves = _train(batch, data, some[0].epochs, task.epochs, validate=not some[0].whole)
        found += [[value] for value in _test(task, batch)] if some[0].whole else curves
    return found


def _train(batch: ModelBatch, data: Prepared, epochs: int, horizon: int, *, validate: bool) -> list[list[float]]:
    """Trains all models of a batch; validation MAP by epoch of each."""
    configs = [model.config for model in batch.models]
    names = [hyper.name for hyper in METHODS["psd"].hypers if not hyper.static]
    hyper = {name: torch.tensor([float(config[name]) for config in configs]) for name in names}
    method = METHODS["psd"](
        static_values(METHODS["psd"], configs[0]), data.audio_dim, data.visual_dim, data.num_classes
    )
    groups = [{"lr": config["lr"], "weight_decay": config["weight_decay"]} for config in configs]
    optimizer = OptimizerFactory(torch.optim.AdamW, {"lr": 1e-3}).create_optimizer(batch, groups)
    x = torch.from_numpy(np.concatenate([data.train.audio, data.train.visual], 1))
    labels = torch.from_numpy(np.asarray(data.train.labels))
    size = int(configs[0]["batch_size"])
    curves: list[list[float]] = [[] for _ in configs]
    for epoch in range(epochs):
        progress = Progress(torch.full((len(configs),), float(epoch)), torch.full((len(configs),), float(horizon)))
        batch.train()
        order = torch.randperm(len(x))
        for at in range(0, len(x) - size + 1, size):
            rows = order[at : at + size]
            torch.rand(1)  # ModelBatch draws dropout from a fork of the generator: else every step had the same
            loss = _loss(method, batch, x[rows], labels[rows], hyper, progress)
            optimizer.zero_grad()
            loss.sum().backward()
            optimizer.step()
        if validate:
            assert data.validation is not None
            for curve, value in zip(curves, _maps(batch, data.validation), strict=True):
                curve.append(value)
    return curves


def _loss(
    method: Any, batch: ModelBatch, x: Tensor, labels: Tensor, hyper: dict[str, Tensor], progress: Progress
) -> Tensor:
    """psd's loss of each model: [L]."""
    z_a, z_v = batch(x).chunk(2, -1)
    many = len(z_a)
    labels_LB = labels.expand(many, -1)
    rows = Batch(x[None], x[None], labels_LB, torch.zeros(many, dtype=torch.int32))
    head_LDC = batch.stacked_params["head.weight"].transpose(1, 2)
    params = {"head.weight": head_LDC}
    l_lab = method._labelled(head_LDC, z_a, z_v, labels_LB, hyper)
    l_cross = method._cross(params, {}, rows, hyper, progress, z_a, z_v)
    return hyper["w_lab"] * l_lab + hyper["w_cross"] * l_cross + hyper["w_dis"] * pair_distance(z_a, z_v)


@torch.no_grad()
def _maps(batch: ModelBatch, split: Any) -> list[float]:
    batch.eval()
    z = batch(torch.from_numpy(np.concatenate([split.audio, split.visual], 1)))
    z_a, z_v = (one.numpy() for one in z.chunk(2, -1))
    return [retrieval_scores(a, v, np.asarray(split.labels)).map for a, v in zip(z_a, z_v, strict=True)]


def _test(task: Task, batch: ModelBatch) -> list[float]:
    return _maps(batch, task.whole[1].apply(task.dataset.test))
