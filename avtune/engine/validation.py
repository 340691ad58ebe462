"""Validation of lanes: embeddings of the validation rows, and the MAP of every lane at once on the device that holds
them.

On a GPU a few large sorts, with one transfer to the host. On a CPU the kernel of `metrics`, which is several times
faster there.

Legend: L lanes, N clips, D embedding, Q queries of a chunk.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from avtune.engine.features import Rows
from avtune.engine.lane_store import LaneStore
from avtune.methods._in_place import named, unchanged
from avtune.metrics import average_precision, retrieval_scores
from avtune.metrics.cosine import unit_rows
from avtune.metrics.ranking import BLOCK_ITEMS

CHUNK = 1 << 24
"""Similarities sorted at a time: about 2 GB of working memory."""


# Rows x lanes embedded at a time: bounds the memory of hidden layers.
_EMBED_ROWS = 1 << 15

Scores = list[dict[str, float] | None]
"""By lane: `val_map`, `val_map_a2v` and `val_map_v2a` (0 to 1), or None where an embedding is not finite."""


@torch.no_grad()
def validate(store: LaneStore, rows: Rows | None, parts: Sequence[slice]) -> Scores | None:
    """MAP of each active lane on validation rows; None without such rows.

    Args:
        store: the lanes.
        rows: what is validated on.
        parts: all active lanes; those of a part are computed together.

    Raises:
        ChangedInPlace: the method's `embed` has written to what it was given.
    """
    if rows is None:
        return None
    given = rows.copy()
    embedded = [_embed(store, part, given) for part in parts]
    rows.check_copy(given, "embed")
    finite_L = torch.cat([torch.isfinite(a).all(2).all(1) & torch.isfinite(v).all(2).all(1) for a, v in embedded])
    scores: list[tuple[float, float]] = []
    for part, views in zip(parts, embedded, strict=True):
        z_a, z_v = (torch.where(finite_L[part][:, None, None], z, 0) for z in views)
        if z_a.device.type == "cpu":
            scores += lane_map_on_cpu(z_a, z_v, rows.labels.numpy(), torch.get_num_threads())
        else:
            scores += [(a2v, v2a) for a2v, v2a in lane_map(z_a, z_v, rows.labels).tolist()]
    return [
        {"val_map": (a2v + v2a) / 2, "val_map_a2v": a2v, "val_map_v2a": v2a} if finite else None
        for (a2v, v2a), finite in zip(scores, finite_L.tolist(), strict=True)
    ]


def _embed(store: LaneStore, part: slice, rows: Rows) -> tuple[Tensor, Tensor]:
    """Embeddings of rows by these lanes: two tensors [L, N, D]."""
    lanes, count = store.view(part), part.stop - part.start
    size = max(1, _EMBED_ROWS // count)
    with unchanged("embed", named("params", lanes.params) | named("buffers", lanes.buffers)):
        views = zip(torch.split(rows.audio, size), torch.split(rows.visual, size), strict=True)
        expanded = ((audio.expand(count, -1, -1), visual.expand(count, -1, -1)) for audio, visual in views)
        made = [store.method.embed(lanes.params, lanes.buffers, *pair) for pair in expanded]
    z_a, z_v = (torch.cat(views, 1) for views in zip(*made, strict=True))
    return z_a, z_v


@torch.no_grad()
def lane_map(z_a_LND: Tensor, z_v_LND: Tensor, labels_N: Tensor, chunk: int = CHUNK) -> Tensor:
    """Standard MAP of each lane: [L, 2], audio queries and visual queries, as `metrics.retrieval_scores` defines it.

    Nothing is read back from the device, so ties take no path of their own: every item is one, if of itself only.

    Args:
        z_a_LND, z_v_LND: finite embeddings.
        labels_N: classes, int64. Every clip has at least itself as a relevant item.
        chunk: similarities at a time.
    """
    unit_a, unit_v = F.normalize(z_a_LND, dim=-1), F.normalize(z_v_LND, dim=-1)
    return torch.stack(
        [_map(queries, gallery, labels_N, chunk) for queries, gallery in ((unit_a, unit_v), (unit_v, unit_a))], 1
    )


def _map(queries_LND: Tensor, gallery_LND: Tensor, labels_N: Tensor, chunk: int) -> Tensor:
    lanes, clips, _ = queries_LND.shape
    rows = max(1, chunk // (lanes * clips))
    total_L = torch.zeros(lanes, device=labels_N.device, dtype=torch.float64)
    for start in range(0, clips, rows):
        part = slice(start, start + rows)
        sim_LQN = torch.bmm(queries_LND[:, part], gallery_LND.transpose(1, 2))
        sim_LQN, order = sim_LQN.sort(dim=-1, descending=True)
        relevant = labels_N[order] == labels_N[part][None, :, None]
        del order
        total_L += (_precision_sum(sim_LQN, relevant) / relevant.sum(-1)).sum(1)
    return total_L / clips


def _precision_sum(sim_LQN: Tensor, relevant_LQN: Tensor) -> Tensor:
    """Precision summed over the ranks of relevant items [L, Q], its mean over the orders of equal similarities.

    Ties are worked out at their last places, in the words of `metrics.ties`. Both arguments are in the order of ranks.
    """
    last = torch.ones_like(relevant_LQN)
    torch.ne(sim_LQN[..., 1:], sim_LQN[..., :-1], out=last[..., :-1])
    rank = torch.arange(1, last.shape[-1] + 1, device=last.device)
    harmonic = F.pad((1 / rank.double()).cumsum(0), (1, 0))
    # The last place of the tie before.
    before = F.pad(torch.where(last, rank, 0).cummax(-1).values[..., :-1], (1, 0))
    so_far = relevant_LQN.cumsum(-1)
    hits = F.pad(so_far, (1, 0)).gather(-1, before)
    size, relevant = (rank - before).double(), (so_far - hits).double()
    inverse = harmonic[rank] - harmonic[before]
    ramp = size - (before + 1) * inverse
    of_tie = relevant / size * ((hits + 1) * inverse + (relevant - 1) / (size - 1).clamp(min=1) * ramp)
    of_one = so_far / rank.double() * relevant_LQN
    return (torch.where(size == 1, of_one, of_tie) * last).sum(-1)


def lane_map_on_cpu(z_a_LND: Tensor, z_v_LND: Tensor, labels_N: np.ndarray, threads: int) -> list[tuple[float, float]]:
    """Standard MAP of each lane, audio queries and visual queries, as `metrics.retrieval_scores` defines it.

    Lanes of few clips are scored together: by itself such a lane takes longer for its calls than for its sorts. How
    many clips are few does not depend on the lanes, so that a lane has the score of the lone trial.

    Args:
        z_a_LND, z_v_LND: finite embeddings.
        labels_N: classes, int64.
        threads: worker threads.
    """
    clips = len(labels_N)
    together = BLOCK_ITEMS // clips**2
    pairs = list(zip(z_a_LND.numpy(), z_v_LND.numpy(), strict=True))
    if together < 2:
        scores = [retrieval_scores(audio, visual, labels_N, threads=threads) for audio, visual in pairs]
        return [(score.map_a2v, score.map_v2a) for score in scores]
    found: list[tuple[float, float]] = []
    for first in range(0, len(pairs), together):
        units = [
            (unit_rows(audio, "audio").astype(np.float32), unit_rows(visual, "visual").astype(np.float32))
            for audio, visual in pairs[first : first + together]
        ]
        sim_LNN = np.stack([audio @ visual.T for audio, visual in units])
        directions = []
        for sim in (sim_LNN, sim_LNN.swapaxes(1, 2)):
            ap, _ = average_precision(sim.reshape(-1, clips), np.tile(labels_N, len(units)), labels_N, threads)
            directions.append(ap.reshape(-1, clips).mean(1).tolist())
        found += zip(*directions, strict=True)
    return found
