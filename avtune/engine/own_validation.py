"""Validation of lanes that each have validation rows of their own.

Lanes are embedded together, as many rows of each as the lane with most rows has, and scored one after the other: their
clips have different labels.

Legend: L lanes, M validation rows of a lane, B rows that are embedded at a time, D embedding.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from avtune.core.objective import MAP, Objective
from avtune.engine.lane_map import lane_map
from avtune.engine.lane_rows import LaneRows
from avtune.engine.lane_store import LaneStore
from avtune.engine.steps import take_rows
from avtune.engine.validation import EMBED_ROWS, Scores, lane_map_on_cpu, named_scores
from avtune.methods._in_place import named, unchanged


@torch.no_grad()
def validate_own(store: LaneStore, rows: LaneRows, parts: Sequence[slice], objective: Objective = MAP) -> Scores:
    """As `validation.validate`, each lane on its own rows.

    Args:
        store: the lanes.
        rows: of their trials.
        parts: all active lanes; those of a part are embedded together.
        objective: what is maximised.

    Raises:
        ChangedInPlace: the method's `embed` has written to weights.
    """
    found: Scores = []
    for part in parts:
        held_out = [rows.of(trial).validation for trial in store.trials[part]]
        z_a_LMD, z_v_LMD = _embed(store, part, rows, held_out)
        for lane, own in enumerate(held_out):
            views = z_a_LMD[lane, : len(own)], z_v_LMD[lane, : len(own)]
            found.append(_score(*views, rows.labels[own], objective))
    return found


def _score(z_a_MD: Tensor, z_v_MD: Tensor, labels_M: np.ndarray, objective: Objective) -> dict[str, float] | None:
    """A lane's scores; None where an embedding is not finite."""
    if not bool(torch.isfinite(z_a_MD).all() & torch.isfinite(z_v_MD).all()):
        return None
    if z_a_MD.device.type == "cpu" or (objective.metric == "ndcg" and labels_M.ndim > 1):
        views = z_a_MD[None].cpu(), z_v_MD[None].cpu()
        (score,) = lane_map_on_cpu(*views, labels_M, torch.get_num_threads(), objective)
    else:
        labels = torch.tensor(labels_M, device=z_a_MD.device)
        score = tuple(lane_map(z_a_MD[None], z_v_MD[None], labels, objective=objective)[0].tolist())
    return named_scores(score, objective)


def _embed(store: LaneStore, part: slice, rows: LaneRows, held_out: Sequence[np.ndarray]) -> tuple[Tensor, Tensor]:
    """Embeddings of each lane's validation rows, two tensors [L, M, D] with M of the lane that has most; lanes with
    fewer repeat theirs."""
    lanes, count = store.view(part), part.stop - part.start
    most = max(len(own) for own in held_out)
    train, scale = rows.train, rows.scale(store.trials[part])
    rows_LM = torch.tensor(np.stack([np.resize(own, most) for own in held_out]), device=train.labels.device)
    made = []
    with unchanged("embed", named("params", lanes.validated) | named("buffers", lanes.buffers)):
        for rows_LB in torch.split(rows_LM, max(1, EMBED_ROWS // count), 1):
            views = scale.apply(take_rows(train.audio, rows_LB), take_rows(train.visual, rows_LB))
            made.append(store.method.embed(lanes.validated, lanes.buffers, *views))
    z_a_LMD, z_v_LMD = (torch.cat(views, 1) for views in zip(*made, strict=True))
    return z_a_LMD, z_v_LMD
