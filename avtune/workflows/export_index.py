"""Embeddings of clips for a search engine: unit vectors as .npy with a JSON index, and FAISS files."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from avtune.core.files import using
from avtune.data.labels import label_numbers
from avtune.engine.model import Model
from avtune.metrics.cosine import unit_rows
from avtune.workflows.clips import Clips, embed_clips
from avtune.workflows.exported import Exported, about, extra, write_json


def write_index(model: Model, clips: Clips, out: Path) -> Exported:
    """Writes `audio.npy` and `visual.npy`, or as the views are called, of those that are there, float32 [N, D] of
    length 1, and `index.json`; with the extra `faiss` also `audio.faiss` and `visual.faiss`, exact indexes by inner
    product.

    Args:
        out: an empty folder.

    Raises:
        UserError: the clips do not fit the model.
    """
    has_faiss = find_spec("faiss") is not None
    views: dict[str, Any] = {}
    width = 0
    for view, embedded in embed_clips(model, clips).items():
        unit = unit_rows(embedded, view).astype(np.float32)
        width = unit.shape[1]
        with using(out):
            with (out / f"{view}.npy").open("wb") as file:
                np.save(file, unit, allow_pickle=False)
            views[view] = {"file": f"{view}.npy"}
            if has_faiss:
                (out / f"{view}.faiss").write_bytes(_faiss(unit))
                views[view]["faiss"] = f"{view}.faiss"
    labels = clips.labels
    facts = {
        "format": "avtune index 1",
        "clips": len(clips),
        "dims": width,
        "similarity": "inner product of unit vectors, which is their cosine",
        "views": views,
        "of": clips.title,
        "dataset": None if clips.dataset is None else {"name": clips.name, "digest": clips.dataset.digest},
        "split": clips.split,
        "ids": list(range(len(clips))),
        "labels": None if labels is None else label_numbers(labels),
        "classes": {str(value): name for value, name in clips.names.items()},
        "model": about(model),
    }
    write_json(out / "index.json", {key: value for key, value in facts.items() if value is not None})
    lines = [f"{view}.npy: {len(clips)} x {width}, rows of length 1" for view in views]
    lines += [f"{view}.faiss: the same as an exact FAISS index by inner product" for view in views if has_faiss]
    note = "no FAISS files: they need pip install 'avtune[faiss]'"
    return Exported((*lines, "index.json: ids (rows of the clips), labels, classes"), () if has_faiss else (note,))


def _faiss(unit: npt.NDArray[np.float32]) -> bytes:
    faiss = extra("faiss", "faiss")
    index = faiss.IndexFlatIP(unit.shape[1])
    index.add(unit)
    data: bytes = faiss.serialize_index(index).tobytes()
    return data
