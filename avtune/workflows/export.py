"""A trained model, or its embeddings, in the formats of other tools: what `avtune export` writes, a folder each.

The files of a format are made by `export_hub`, `export_onnx`, `export_index` and `export_trec`, which are imported when
they are asked for.
"""

from __future__ import annotations

from pathlib import Path

from avtune.engine.model import Model
from avtune.workflows.clips import Clips
from avtune.workflows.exported import Exported


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
