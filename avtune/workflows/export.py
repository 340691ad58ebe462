"""A trained model, or its embeddings, in the formats of other tools: what `avtune export` writes, a folder each.

The files of a format are made by `export_hub`, `export_onnx`, `export_index` and `export_trec`, which are imported when
they are asked for.
"""

from __future__ import annotations

import importlib
import json
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from avtune.core.errors import UserError
from avtune.core.files import using
from avtune.engine.model import Model
from avtune.workflows.clips import Clips


@dataclass(frozen=True)
class Exported:
    """What was written.

    Attributes:
        lines: what the reader must know of each file.
        notes: what is left to do, or was left out.
    """

    lines: tuple[str, ...]
    notes: tuple[str, ...] = ()


def export_model(to: str, model: Model, place: Path, out: Path) -> Exported:
    """Writes a model as `hub` or `onnx`.

    Args:
        place: the folder that the model was loaded from.
        out: an empty folder.

    Raises:
        UserError: the model cannot be exported so, or an extra is missing.
    """
    if to == "hub":
        from avtune.workflows.export_hub import write_hub

        return write_hub(model, place, out)
    from avtune.workflows.export_onnx import write_onnx

    return write_onnx(model, out)


def export_clips(to: str, model: Model, clips: Clips, out: Path) -> Exported:
    """Writes embeddings of clips as `index` or `trec`; arguments and errors as of `export_model`."""
    if to == "index":
        from avtune.workflows.export_index import write_index

        return write_index(model, clips, out)
    from avtune.workflows.export_trec import write_trec

    return write_trec(model, clips, out)


def about(model: Model) -> dict[str, Any]:
    """What every export says of its model."""
    known = ("dataset", "seed", "trial", "run", "study", "trained_on", "epoch")
    return {
        "method": model.method,
        "epochs": model.trained.epochs,
        **{key: model.about[key] for key in known if key in model.about},
    }


def write_json(path: Path, facts: Mapping[str, Any]) -> None:
    """Writes JSON into a folder that is still being filled."""
    with using(path):
        path.write_text(json.dumps(facts, indent=2, allow_nan=False) + "\n", encoding="utf-8")


def extra(module: str, name: str) -> Any:
    """A module of an optional extra.

    Raises:
        UserError: it is not installed; says how it is.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of generated bindings, which its user can do nothing about
            return importlib.import_module(module)
    except ImportError as error:
        raise UserError(
            f"this needs the package {module} ({error}); install it: pip install 'avtune[{name}]'"
        ) from None
