"""Each encoder of a model as an ONNX file of its own, from unscaled features to embeddings.

Legend: N clips, D embedding.
"""

from __future__ import annotations

import logging
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from avtune.core.errors import UserError
from avtune.core.files import using
from avtune.engine.model import Model
from avtune.workflows.exported import Exported, about, extra, write_json

Floats = npt.NDArray[np.float32]
TOLERANCE = 1e-5
"""Largest difference of a value from avtune's embedding, in parts of the largest value where that is above 1."""
_CLIPS = 256
"""Clips that the two are compared on."""
INPUT, OUTPUT = "features", "embedding"


class Encoder(torch.nn.Module):
    """A model's way from the unscaled features of one view [N, ...] to embeddings [N, D], both float32.

    Args:
        dtype: that it computes in.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, model: Model, view: str, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self._method, self._at = model.trained.method, model.views.index(view)
        self._other = model.dims[model.views[1 - self._at]]
        scaler = (model.scalers.audio, model.scalers.visual)[self._at]
        self.register_buffer("mean", torch.tensor(scaler.mean))
        self.register_buffer("std", torch.tensor(scaler.std))
        lane = [
            {name: value[None] for name, value in one.items()} for one in (model.trained.params, model.trained.buffers)
        ]
        self._places: list[dict[str, str]] = [{}, {}]  # names with dots are none of a module's
        for part, tensors in enumerate((lane[0], self._method.settled(lane[0], lane[1]))):
            for number, (name, value) in enumerate(tensors.items()):
                self._places[part][name] = f"tensor_{part}_{number}"
                self.register_buffer(f"tensor_{part}_{number}", value)
        self.to(dtype)

    def forward(self, features: Tensor) -> Tensor:
        params, buffers = ({name: getattr(self, at) for name, at in one.items()} for one in self._places)
        scaled = ((features.to(self.mean.dtype) - self.mean) / self.std)[None]
        others = scaled.new_zeros(1, features.shape[0], self._other)
        views = (scaled, others) if self._at == 0 else (others, scaled)
        embedded: Tensor = self._method.embed(params, buffers, *views)[self._at][0]
        return embedded.float()


def write_onnx(model: Model, out: Path) -> Exported:
    """Writes `audio.onnx` and `visual.onnx`, or as the views are called, each compared with avtune by onnxruntime, and
    `model.json`.

    Args:
        out: an empty folder.

    Raises:
        UserError: the extra is missing, the method has an operation that ONNX lacks, or the files compute something
            else.
    """
    for module in ("onnx", "onnxscript", "onnxruntime"):
        extra(module, "onnx")
    lines, facts = [], {}
    for view in model.views:
        data, difference, inside = _checked(model, view)
        with using(out):
            (out / f"{view}.onnx").write_bytes(data)
        width = model.dims[view]
        facts[view] = {"file": f"{view}.onnx", "input": INPUT, "dims": width, "output": OUTPUT}
        facts[view]["computes_in"] = inside
        lines.append(
            f"{view}.onnx: {width} features, unscaled, to embeddings; in {inside}, within {difference:.1e} of avtune's"
        )
    said = {"format": "avtune onnx 1", "similarity": "cosine", "views": facts, "classes": list(model.class_names)}
    write_json(out / "model.json", said | {"model": about(model)})
    return Exported((*lines, "model.json: names of inputs, outputs and classes"))


def _checked(model: Model, view: str) -> tuple[bytes, float, str]:
    """The encoder of a view, serialised; its largest difference from avtune's embeddings; and the type that it computes
    in: float64 where sums of large terms leave little (`kcca`), so that two ways to add in float32 differ by more than
    `TOLERANCE`.

    Raises:
        UserError: the difference is larger than that in both.
    """
    difference = float("inf")
    for dtype in (torch.float32, torch.float64):
        data = _exported(model, view, dtype)
        difference = _difference(model, view, data)
        if difference <= TOLERANCE:
            return data, difference, str(dtype).removeprefix("torch.")
    raise UserError(
        f"{view}.onnx gives embeddings that differ from avtune's by {difference:.1e} (at most {TOLERANCE:g}); "
        f"this {model.method} cannot be used as ONNX"
    )


def _exported(model: Model, view: str, dtype: torch.dtype) -> bytes:
    """Raises:
    UserError: the method has an operation that ONNX lacks.
    """
    encoder = Encoder(model, view, dtype).eval()
    clips = torch.export.Dim("clips")
    level = logging.getLogger("torch.onnx").level
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it warns of packages that nobody needs here
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            program: Any = torch.onnx.export(
                encoder,
                (torch.zeros(5, model.dims[view]),),
                dynamo=True,
                verbose=False,
                input_names=[INPUT],
                output_names=[OUTPUT],
                dynamic_shapes=({0: clips},),
            )
        data: bytes = program.model_proto.SerializeToString()
    except torch.onnx.OnnxExporterError as error:
        why = " ".join(str(error.__cause__ or error).split())[:160]
        raise UserError(f"the {view} encoder of {model.method} cannot be written as ONNX: {why}") from error
    finally:
        logging.getLogger("torch.onnx").setLevel(level)
    return data


def _difference(model: Model, view: str, data: bytes) -> float:
    """The largest difference from avtune's embeddings on drawn clips, relative as `TOLERANCE` is."""
    runtime = extra("onnxruntime", "onnx")
    first = view == model.views[0]
    scaler = model.scalers.audio if first else model.scalers.visual
    draw = np.random.default_rng(0).normal(size=(_CLIPS, model.dims[view]))
    features: Floats = (scaler.mean + scaler.std * draw).astype(np.float32)
    session = runtime.InferenceSession(data, providers=["CPUExecutionProvider"])
    wanted = model.embed(features) if first else model.embed(None, features)
    found = [session.run(None, {INPUT: part})[0] for part in (features, features[:1])]
    size = max(1.0, float(np.abs(wanted).max()))
    return max(float(np.abs(one - wanted[: len(one)]).max()) for one in found) / size
