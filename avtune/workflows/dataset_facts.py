"""What settings and plans say of a dataset."""

from __future__ import annotations

from typing import Any

import numpy as np

from avtune.data.dataset import ARRAYS, VIEWS, Dataset


def dataset_facts(data: Dataset, spec: str) -> dict[str, Any]:
    """What a settings file says of a dataset that the user calls `spec`; one of arrays can be found nowhere."""
    return {
        **({} if spec == ARRAYS else {"spec": spec}),
        "name": data.name,
        "digest": data.digest,
        "train": len(data.train),
        "test": len(data.test),
        "classes": data.num_classes,
        "audio_dim": data.audio_dim,
        "visual_dim": data.visual_dim,
        **({"options": dict(data.options)} if data.options else {}),
        **({} if data.views == VIEWS else {"views": list(data.views)}),
    }


def dataset_line(data: Dataset) -> str:
    """A dataset's name and sizes, as a plan shows them."""
    held = "" if data.validation is None else f", {len(data.validation)} of the training clips set aside for validation"
    groups = "" if data.groups is None else f", training clips in {len(np.unique(data.groups))} groups"
    more = f" and {len(data.unread) - 4} more" if len(data.unread) > 4 else ""
    unread = f"; not read: {', '.join(data.unread[:4])}{more}" if data.unread else ""
    return (
        f"{data.name}: {len(data.train)} training and {len(data.test)} test clips, {data.classes_text}, "
        f"{data.dims_text}{held}{groups}{unread}"
    )
