"""Validation of lanes: embeddings of the validation rows, and the MAP of every lane at once on the device that holds
them.

On a GPU by `lane_map`, all lanes at a time. On a CPU the kernel of `metrics`, which is several times
faster there.

Legend: L lanes, N clips, D embedding.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from avtune.core.objective import MAP, VALUE, Objective
from avtune.engine.features import Rows
from avtune.engine.lane_map import lane_map
from avtune.engine.lane_store import LaneStore
from avtune.methods._in_place import named, unchanged
from avtune.metrics import retrieval_scores
from avtune.metrics.average_precision import average_precision_and
from avtune.metrics.cosine import unit_rows
from avtune.metrics.objective import rank_score
from avtune.metrics.ranking import BLOCK_ITEMS

# Rows x lanes embedded at a time: bounds the memory of hidden layers.
EMBED_ROWS = 1 << 15

Scores = list[dict[str, float] | None]
"""By lane: `val_map`, `val_map_a2v` and `val_map_v2a` (0 to 1), and `val_objective` where that is another one than MAP;
or None where an embedding is not finite."""


@torch.no_grad()
def validate(store: LaneStore, rows: Rows | None, parts: Sequence[slice], objective: Objective = MAP) -> Scores | None:
    """MAP of each active lane on validation rows, and what is maximised; None without such rows.

    Args:
        store: the lanes.
        rows: what is validated on.
        parts: all active lanes; those of a part are computed together.
        objective: what is maximised.

    Raises:
        ChangedInPlace: the method's `embed` has written to what it was given.
    """
    if rows is None:
        return None
    embedded = [_embed(store, part, rows) for part in parts]
    finite_L = torch.cat([torch.isfinite(a).all(2).all(1) & torch.isfinite(v).all(2).all(1) for a, v in embedded])
    scores: list[tuple[float, ...]] = []
    graded = objective.metric == "ndcg" and rows.labels.ndim > 1
    for part, views in zip(parts, embedded, strict=True):
        z_a, z_v = (torch.where(finite_L[part][:, None, None], z, 0) for z in views)
        if z_a.device.type == "cpu" or graded:  # graded gains need the whole ranking
            labels = rows.labels.cpu().numpy()
            scores += lane_map_on_cpu(z_a.cpu(), z_v.cpu(), labels, torch.get_num_threads(), objective)
        else:
            scores += map(tuple, lane_map(z_a, z_v, rows.labels, objective=objective).tolist())
    found = [named_scores(score, objective) for score in scores]
    return [one if finite else None for one, finite in zip(found, finite_L.tolist(), strict=True)]


def named_scores(score: tuple[float, ...], objective: Objective) -> dict[str, float]:
    """A lane's scores by their names, from its MAP of both directions and, where it is not made of these, the value
    that is maximised."""
    a2v, v2a, *other = score
    named = {"val_map": (a2v + v2a) / 2, "val_map_a2v": a2v, "val_map_v2a": v2a}
    if objective.is_map:
        return named
    return named | {VALUE: other[0] if other else objective.mean(a2v, v2a)}


def _embed(store: LaneStore, part: slice, rows: Rows) -> tuple[Tensor, Tensor]:
    """Embeddings of rows by these lanes: two tensors [L, N, D]. The method is given copies, some rows at a time."""
    lanes, count = store.view(part), part.stop - part.start
    size, made = max(1, EMBED_ROWS // count), []
    with unchanged("embed", named("params", lanes.validated) | named("buffers", lanes.buffers)):
        for some in rows.split(size):
            given = some.copy()
            views = (given.audio.expand(count, -1, -1), given.visual.expand(count, -1, -1))
            made.append(store.method.embed(lanes.validated, lanes.buffers, *views))
            some.check_copy(given, "embed")
    z_a, z_v = (torch.cat(views, 1) for views in zip(*made, strict=True))
    return z_a, z_v


def lane_map_on_cpu(
    z_a_LND: Tensor, z_v_LND: Tensor, labels_N: np.ndarray, threads: int, objective: Objective = MAP
) -> list[tuple[float, ...]]:
    """Standard MAP of each lane, audio queries and visual queries, as `metrics.retrieval_scores` defines it; then the
    value of an objective that is not made of these two.

    Lanes of few clips are scored together: by itself such a lane takes longer for its calls than for its sorts. How
    many clips are few does not depend on the lanes, so that a lane has the score of the lone trial.

    Args:
        z_a_LND, z_v_LND: finite embeddings.
        labels_N: classes, int64; or bool [N, C].
        threads: worker threads.
        objective: what is maximised; it takes the ranks that MAP takes, so that nothing is sorted again.
    """
    clips = len(labels_N)
    together = BLOCK_ITEMS // clips**2
    pairs = list(zip(z_a_LND.numpy(), z_v_LND.numpy(), strict=True))
    if together < 2 or (objective.metric == "ndcg" and labels_N.ndim > 1):
        return [_lone(audio, visual, labels_N, threads, objective) for audio, visual in pairs]
    found: list[tuple[float, ...]] = []
    other = rank_score(objective, clips)
    for first in range(0, len(pairs), together):
        units = [
            (unit_rows(audio, "audio").astype(np.float32), unit_rows(visual, "visual").astype(np.float32))
            for audio, visual in pairs[first : first + together]
        ]
        sim_LNN = np.stack([audio @ visual.T for audio, visual in units])
        directions, others = [], []
        for sim in (sim_LNN, sim_LNN.swapaxes(1, 2)):
            queries = np.concatenate([labels_N] * len(units))
            ap, _, also = average_precision_and(sim.reshape(-1, clips), queries, labels_N, other, threads)
            directions.append(ap.reshape(-1, clips).mean(1).tolist())
            others += [] if also is None else [also.reshape(-1, clips).mean(1).tolist()]
        values = [[objective.mean(*both)] for both in zip(*others, strict=True)] or [[]] * len(units)
        found += [(*both, *value) for both, value in zip(zip(*directions, strict=True), values, strict=True)]
    return found


def _lone(
    audio: np.ndarray, visual: np.ndarray, labels: np.ndarray, threads: int, objective: Objective
) -> tuple[float, ...]:
    score = retrieval_scores(audio, visual, labels, threads=threads, objective=objective)
    both = (score.map_a2v, score.map_v2a)
    return both if objective.of_map or score.objective is None else (*both, score.objective)
