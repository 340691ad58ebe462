"""A trained model on disk: weights and scalers as safetensors, the rest as YAML. Reads nothing that could run code.

Legend: N clips, A audio features, V visual features, D embedding.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from safetensors import SafetensorError
from safetensors.torch import load, save

from avtune.data.prepare import Scalers
from avtune.data.split import Scaler
from avtune.errors import UserError
from avtune.hyper import Value
from avtune.lanes.modules import Tensors
from avtune.lanes.noise import init_generator
from avtune.methods import check_config, get, static_values
from avtune.study.folder import to_yaml, write_bytes, write_text
from avtune.trainer import Trained, embed

WEIGHTS, CONFIG = "model.safetensors", "config.yaml"


@dataclass(frozen=True)
class Model:
    """A method's trained weights with everything that embedding new clips needs.

    Attributes:
        method: its name.
        config: its hyper-parameters.
        trained: weights.
        scalers: fitted on the training rows.
        class_names: of the dataset it was trained on.
        about: further facts for readers (dataset, seed, epochs).
    """

    method: str
    config: Mapping[str, Value]
    trained: Trained
    scalers: Scalers
    class_names: tuple[str, ...]
    about: Mapping[str, Any]

    def embed(self, audio: np.ndarray, visual: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Embeddings of unscaled features, for retrieval by cosine.

        Args:
            audio: [N, A].
            visual: [N, V].

        Returns:
            Two float32 arrays [N, D].

        Raises:
            UserError: the dimensions are not those the model was trained on.
        """
        for view, given, want in (
            ("audio", audio, self.trained.method.audio_dim),
            ("visual", visual, self.trained.method.visual_dim),
        ):
            if given.shape[1] != want:
                raise UserError(f"the {view} features have {given.shape[1]} dimensions; this model takes {want}")
        return embed(self.trained, self.scalers.audio.transform(audio), self.scalers.visual.transform(visual))

    def save(self, folder: Path) -> None:
        """Writes `model.safetensors` and `config.yaml`."""
        tensors = {f"params.{name}": value for name, value in self.trained.params.items()}
        tensors |= {f"buffers.{name}": value for name, value in self.trained.buffers.items()}
        for view, scaler in (("audio", self.scalers.audio), ("visual", self.scalers.visual)):
            tensors[f"scaler.{view}.mean"] = torch.tensor(scaler.mean)
            tensors[f"scaler.{view}.std"] = torch.tensor(scaler.std)
        config = {
            "format": 1,
            "method": self.method,
            "config": dict(self.config),
            "audio_dim": self.trained.method.audio_dim,
            "visual_dim": self.trained.method.visual_dim,
            "epochs": self.trained.epochs,
            "class_names": list(self.class_names),
            "about": dict(self.about),
        }
        write_bytes(folder / WEIGHTS, save(tensors, {"format": "avtune model 1"}))
        write_text(folder / CONFIG, to_yaml(config))


def load_weights(
    path: Path, method: str, config: Mapping[str, Value], dims: tuple[int, int, int], epochs: int
) -> Trained:
    """Reads weights that a training run saved.

    Args:
        dims: audio dimension, visual dimension, number of classes.

    Raises:
        UserError: the file is damaged or fits another configuration.
    """
    return _trained(_tensors(path), path, method, config, dims, epochs)


def load_model(folder: Path) -> Model:
    """Reads a model folder: a study's `final/`, or the study folder itself.

    Raises:
        UserError: a file is missing, damaged, or does not fit the other.
    """
    if not (folder / CONFIG).is_file() and (folder / "final" / CONFIG).is_file():
        folder = folder / "final"
    for name in (CONFIG, WEIGHTS):
        if not (folder / name).is_file():
            raise UserError(f"{folder} holds no model: {name} is missing; give a study folder or its final/")
    path = folder / CONFIG
    try:
        facts = yaml.safe_load(path.read_text(encoding="utf-8"))
        method, given, names = facts["method"], facts["config"], facts["class_names"]
        dims = (int(facts["audio_dim"]), int(facts["visual_dim"]), len(names))
        epochs, about = int(facts["epochs"]), dict(facts["about"])
        kind = get(method)
        config = check_config(kind, given)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise UserError(
            f"{path} does not describe a model ({type(error).__name__}: {str(error).splitlines()[0]})"
        ) from None
    tensors = _tensors(folder / WEIGHTS)
    scalers = []
    for view, size in (("audio", dims[0]), ("visual", dims[1])):
        parts = [tensors.pop(f"scaler.{view}.{part}", None) for part in ("mean", "std")]
        if any(part is None or tuple(part.shape) != (size,) for part in parts):
            raise UserError(
                f"{folder / WEIGHTS} has no scaler for {size} {view} features; it does not belong to {path}"
            )
        mean, std = (part.float().numpy() for part in parts if part is not None)
        scalers.append(Scaler(mean, std))
    trained = _trained(tensors, folder / WEIGHTS, method, config, dims, epochs)
    return Model(method, config, trained, Scalers(*scalers), tuple(map(str, names)), about)


def untrained(method: str, config: Mapping[str, Value], dims: tuple[int, int, int], seed: int) -> Trained:
    """Fresh weights, as a training run with this seed would start from."""
    bound = get(method)(static_values(get(method), config), *dims)
    params, buffers = bound.init(init_generator(seed))
    return Trained(bound, params, buffers, 0)


def _tensors(path: Path) -> Tensors:
    try:
        return dict(load(path.read_bytes()))
    except (OSError, SafetensorError, ValueError) as error:
        raise UserError(f"{path} cannot be read as safetensors: {str(error).splitlines()[0]}") from None


def _trained(
    tensors: Tensors, path: Path, method: str, config: Mapping[str, Value], dims: tuple[int, int, int], epochs: int
) -> Trained:
    """The weights in `tensors`, checked against the shapes that the configuration has."""
    kind = get(method)
    _refuse_huge(kind.name, config, dims, sum(value.numel() for value in tensors.values()), path)
    like = untrained(method, config, dims, 0)
    parts: list[Tensors] = []
    for prefix, wanted in (("params.", like.params), ("buffers.", like.buffers)):
        got = {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
        if {n: v.shape for n, v in got.items()} != {n: v.shape for n, v in wanted.items()}:
            raise UserError(
                f"the weights in {path} do not fit the configuration beside them; restore both from one copy"
            )
        if not all(bool(torch.isfinite(value).all()) for value in got.values()):
            raise UserError(f"the weights in {path} are not all finite; the model is damaged")
        parts.append({name: value.float() for name, value in got.items()})
    return Trained(like.method, parts[0], parts[1], epochs)


def _refuse_huge(method: str, config: Mapping[str, Value], dims: tuple[int, int, int], stored: int, path: Path) -> None:
    """A configuration that declares far more weights than the file holds must not be allocated to find that out."""
    widths = [int(value) for name, value in config.items() if name.endswith("_dim") and isinstance(value, int)]
    least = math.prod([max(widths, default=1), max(dims[:2])])
    if least > 4 * stored + 1024:
        raise UserError(
            f"the weights in {path} do not fit a {method} of {max(widths)} units; restore both from one copy"
        )
