"""A trained model on disk: weights and scalers as safetensors, the rest as YAML. Reads nothing that could run code.

Legend: N clips, A audio features, V visual features, D embedding.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, overload

import numpy as np
import numpy.typing as npt
import torch
from safetensors import SafetensorError
from safetensors.torch import load, save

from avtune.core.errors import UserError
from avtune.core.files import read_yaml, to_yaml, write_bytes, write_text
from avtune.core.hyper import Value
from avtune.core.run_files import is_left_by, read_origin, read_run
from avtune.core.schema import fitting
from avtune.core.trial import Trial
from avtune.core.view_names import VIEWS, views_in
from avtune.data.arrays import cause, to_features
from avtune.data.prepare import Scalers
from avtune.data.split import Scaler
from avtune.engine.allocation import AtMost, TooMany
from avtune.engine.trainer import Trained, embed
from avtune.lanes.modules import Tensors
from avtune.lanes.noise import init_generator
from avtune.methods import check_config, get, named_part, static_values

Array = npt.NDArray[np.float32]
_ROWS = 8192
"""Clips that are scaled and embedded at a time."""
_SPARE, _TIMES = 1 << 25, 16
"""`init` may make so many numbers (128 MiB of float32), and so many times those that the file holds: one of a user's
own may draw more than it keeps."""
WEIGHTS, CONFIG = "model.safetensors", "config.yaml"
EMBEDDINGS = "test_embeddings.npz"
"""What a user's training function leaves instead of a model."""
_CONFIG = {
    "method": str,
    "config": {str: (float, str, bool)},
    "audio_dim": int,
    "visual_dim": int,
    "epochs": int,
    "class_names": [str],
    "views?": [str],
    "about": {str: (float, str, bool, None)},
}


@dataclass(frozen=True, repr=False)
class Model:
    """A method's trained weights with everything that embedding new clips needs.

    Attributes:
        method: its name.
        config: its hyper-parameters.
        trained: weights.
        scalers: fitted on the training rows.
        class_names: of the dataset it was trained on.
        about: further facts for readers (dataset, seed, epochs).
        folder: from which it was read.
        views: names of the two views that it was trained on.
    """

    method: str
    config: Mapping[str, Value]
    trained: Trained
    scalers: Scalers
    class_names: tuple[str, ...]
    about: Mapping[str, Any]
    folder: Path | None = None
    views: tuple[str, str] = VIEWS

    @property
    def dims(self) -> dict[str, int]:
        """Dimensions of the features of each view, by its name."""
        method = self.trained.method
        return dict(zip(self.views, (method.audio_dim, method.visual_dim), strict=True))

    @overload
    def embed(self, first: npt.ArrayLike, second: npt.ArrayLike, /) -> tuple[Array, Array]: ...
    @overload
    def embed(self, first: npt.ArrayLike, /) -> Array: ...
    @overload
    def embed(
        self, first: npt.ArrayLike | None = None, second: npt.ArrayLike | None = None, /, **views: npt.ArrayLike | None
    ) -> Array | tuple[Array, Array]: ...

    def embed(
        self, first: npt.ArrayLike | None = None, second: npt.ArrayLike | None = None, /, **views: npt.ArrayLike | None
    ) -> Array | tuple[Array, Array]:
        """Embeddings of unscaled features, for retrieval by cosine. One view is enough: the embedding of a view does
        not depend on the other.

        Args:
            first: [N, A], the first view (`model.views[0]`, usually audio).
            second: [N, V], the second view.
            views: the same by the names of the views, `image=...`. Where no view is called audio or visual, `audio=`
                is the first and `visual=` the second.

        Returns:
            float32 [N, D] of the view that is given; of two, a pair of such arrays.

        Raises:
            UserError: no view is given, one holds something else than finite numbers, its dimension is not that which
                the model was trained on, or two differ in their number of rows.
        """
        dims, (one, other) = self.dims, self.views
        named = self._by_name(first, second, views)
        given = {view: _features(rows, view) for view, rows in named.items() if rows is not None}
        if not given:
            raise UserError(f"nothing to embed; give {one}=, {other}= or both")
        for view, rows in given.items():
            if rows.shape[1] != dims[view]:
                raise UserError(f"the {view} features have {rows.shape[1]} dimensions; this model takes {dims[view]}")
        counts = {view: len(rows) for view, rows in given.items()}
        if len(set(counts.values())) > 1:
            raise UserError(
                f"{one} has {counts[one]} rows and {other} has {counts[other]}; row i of both is the same clip\n"
                "embed views that are no pairs one after the other"
            )
        parts = [self._embed(given, slice(at, at + _ROWS)) for at in range(0, next(iter(counts.values())), _ROWS)]
        both = dict(zip(dims, map(np.concatenate, zip(*parts, strict=True)), strict=True))
        return (both[one], both[other]) if len(given) == 2 else both[next(iter(given))]

    def _by_name(
        self, first: npt.ArrayLike | None, second: npt.ArrayLike | None, views: Mapping[str, npt.ArrayLike | None]
    ) -> dict[str, npt.ArrayLike | None]:
        """What is given of each view, by its name.

        Raises:
            UserError: a name is of no view, or a view is given twice.
        """
        named = dict(zip(self.views, (first, second), strict=True))
        usual = {} if set(VIEWS) & set(self.views) else dict(zip(VIEWS, self.views, strict=True))
        for name, one in views.items():
            view = usual.get(name, name)
            if view not in named:
                raise UserError(f"{name}= is no view of this model; it has {' and '.join(self.views)}")
            if named[view] is not None and one is not None:
                raise UserError(f"the view {view} is given twice")
            named[view] = one if one is not None else named[view]
        return named

    def _embed(self, given: Mapping[str, Array], rows: slice) -> tuple[Array, Array]:
        """Embeddings of both views of some of the clips, of zeros where a view is not given: a method embeds both."""
        scaled: list[Array] = []
        for (view, dim), scaler in zip(self.dims.items(), (self.scalers.audio, self.scalers.visual), strict=True):
            some = {one: x[rows] for one, x in given.items()}
            count = len(next(iter(some.values())))
            scaled.append(scaler.transform(some[view]) if view in some else np.zeros((count, dim), np.float32))
        return embed(self.trained, scaled[0], scaled[1])

    def __repr__(self) -> str:
        method = self.trained.method
        return (
            f"<Model {self.method}: {self.views[0]} {method.audio_dim}-d, {self.views[1]} {method.visual_dim}-d, "
            f"{len(self.class_names)} classes, trained for {self.trained.epochs} epochs>"
        )

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
            **({} if self.views == VIEWS else {"views": list(self.views)}),
            "about": dict(self.about),
        }
        run = {"run": str(self.about["run"])} if "run" in self.about else {}
        write_bytes(folder / WEIGHTS, save(tensors, {"format": "avtune model 1", **run}))
        write_text(folder / CONFIG, to_yaml(config))


def _features(given: npt.ArrayLike, view: str) -> Array:
    if np.ma.is_masked(given):  # else the mask would be dropped
        raise UserError(f"{view} is a masked array with masked values; leave those clips out, or fill them in")
    try:
        rows = np.asarray(given)
    except (TypeError, ValueError, RuntimeError) as error:  # rows of different lengths; a tensor that is on a GPU
        raise UserError(f"{view} cannot be made an array: {str(error).splitlines()[0]}") from None
    return to_features(rows, view)


def load_weights(path: Path, trial: Trial, dims: tuple[int, int, int]) -> Trained:
    """Reads the weights that a training run saved.

    Args:
        trial: the run.
        dims: audio dimension, visual dimension, number of classes.

    Raises:
        UserError: the file is damaged, or another run left it.
    """
    found = read_origin(path)
    if found is None or not is_left_by(path, trial):
        raise UserError(f"{path} was not left by this training run; delete it, and the run is done again")
    return _trained(_tensors(path), path, trial.method, trial.config, dims, found.epochs)


def load_model(folder: Path) -> Model:
    """Reads a model folder: a study's `final/`, or the study folder itself.

    Raises:
        UserError: a file is missing, damaged, or does not fit the other.
    """
    if not (folder / CONFIG).is_file() and (folder / "final" / CONFIG).is_file():
        folder = folder / "final"
    for at in (folder, folder / "final"):
        if (at / EMBEDDINGS).is_file():
            raise UserError(
                f"{at} holds no model: a training function made it; score what it embedded with\n"
                f"avtune evaluate --embeddings {at / EMBEDDINGS}"
            )
    for name in (CONFIG, WEIGHTS):
        if not (folder / name).is_file():
            raise UserError(f"{folder} holds no model: {name} is missing; give a study folder or its final/")
    path = folder / CONFIG
    facts = fitting(read_yaml(path), _CONFIG, path)
    method, names, epochs = facts["method"], facts["class_names"], facts["epochs"]
    dims = (facts["audio_dim"], facts["visual_dim"], len(names))
    if min(dims) < 1:
        raise UserError(f"{path} is damaged: a model has at least one class and one feature of each view")
    try:
        config = named_part(get(method), check_config(get(method), facts["config"]), facts["config"])
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    tensors = _tensors(folder / WEIGHTS)
    runs = {read_run(folder / WEIGHTS), facts["about"].get("run")}
    if len(runs) > 1:
        raise UserError(f"{folder / WEIGHTS} and {path} are of two training runs; restore both from one copy")
    scalers = []
    for view, size in (("audio", dims[0]), ("visual", dims[1])):
        parts = [tensors.pop(f"scaler.{view}.{part}", None) for part in ("mean", "std")]
        if any(part is None or tuple(part.shape) != (size,) for part in parts):
            raise UserError(
                f"{folder / WEIGHTS} has no scaler for {size} {view} features; it does not belong to {path}"
            )
        mean, std = (part.float().numpy() for part in parts if part is not None)
        if not (np.isfinite(mean).all() and np.isfinite(std).all() and (std > 0).all()):
            raise UserError(f"the scalers in {folder / WEIGHTS} are not finite; the model is damaged")
        scalers.append(Scaler(mean, std))
    trained = _trained(tensors, folder / WEIGHTS, method, config, dims, epochs)
    return Model(
        method, config, trained, Scalers(*scalers), tuple(names), facts["about"], folder.resolve(), views_in(facts)
    )


def untrained(method: str, config: Mapping[str, Value], dims: tuple[int, int, int], seed: int) -> Trained:
    """Fresh weights, as a training run with this seed would start from."""
    bound = get(method)(static_values(get(method), config), *dims)
    params, buffers = bound.init(init_generator(seed))
    return Trained(bound, params, buffers, 0)


def _tensors(path: Path) -> Tensors:
    try:
        tensors = dict(load(path.read_bytes()))
    # The last ones: of a type that torch lacks, or of a size that is not that of its type and shape.
    except (OSError, SafetensorError, ValueError, LookupError, TypeError, RuntimeError, OverflowError) as error:
        raise UserError(f"{path} cannot be read as safetensors: {cause(error)}") from None
    if any(value.is_complex() for value in tensors.values()):
        raise UserError(f"the weights in {path} are no real numbers; the model is damaged")
    return tensors


def _trained(
    tensors: Tensors, path: Path, method: str, config: Mapping[str, Value], dims: tuple[int, int, int], epochs: int
) -> Trained:
    """The weights in `tensors`, checked against the shapes that the configuration has."""
    like = _expected(method, config, dims, sum(value.numel() for value in tensors.values()), path)
    parts: list[Tensors] = []
    for prefix, wanted in (("params.", like.params), ("buffers.", like.buffers)):
        got = {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
        if {n: v.shape for n, v in got.items()} != {n: v.shape for n, v in wanted.items()}:
            raise UserError(
                f"the weights in {path} do not fit the configuration beside them; restore both from one copy"
            )
        got = {name: value.float() for name, value in got.items()}
        if not all(bool(torch.isfinite(value).all()) for value in got.values()):
            raise UserError(f"the weights in {path} are not all finite; the model is damaged")
        parts.append(got)
    return Trained(like.method, parts[0], parts[1], epochs)


def _expected(method: str, config: Mapping[str, Value], dims: tuple[int, int, int], stored: int, path: Path) -> Trained:
    """Fresh weights, for their names and shapes. A configuration that declares far more numbers than the `stored` ones
    of the file must not be allocated to find that out."""
    try:
        with AtMost(_SPARE + _TIMES * stored):
            return untrained(method, config, dims, 0)
    except TooMany:
        raise UserError(
            f"the weights in {path} do not fit the configuration beside them, by which a {get(method).name} has many "
            "more; restore both from one copy"
        ) from None
