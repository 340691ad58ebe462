"""Validation MAP of every lane at once, on the device that holds the embeddings.

For GPUs: a few large sorts, one answer. On a CPU `metrics.retrieval_scores` is several times faster, lane by lane.

Legend: L lanes, N clips, D embedding, Q queries of a chunk.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

CHUNK = 1 << 26
"""Similarities sorted at a time: about 2 GB of working memory."""


@torch.no_grad()
def lane_map(z_a_LND: Tensor, z_v_LND: Tensor, labels_N: Tensor, chunk: int = CHUNK) -> Tensor:
    """Standard MAP of each lane: [L, 2], audio queries and visual queries, as `metrics.retrieval_scores` defines it.

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
    places = torch.arange(1, clips + 1, device=labels_N.device, dtype=torch.float64)
    total_L = torch.zeros(lanes, device=labels_N.device, dtype=torch.float64)
    for start in range(0, clips, rows):
        part = slice(start, start + rows)
        # Adding zero turns -0.0 into 0.0, which are equal.
        sim_LQN = torch.bmm(queries_LND[:, part], gallery_LND.transpose(1, 2)) + 0.0
        order = sim_LQN.sort(dim=-1, descending=True, stable=True).indices
        relevant = labels_N[order] == labels_N[part][None, :, None]
        hits = relevant.cumsum(-1)
        precision_sum = (hits / places * relevant).sum(-1)
        total_L += (precision_sum / hits[..., -1]).sum(1)
    return total_L / clips
