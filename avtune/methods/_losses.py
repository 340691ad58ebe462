"""Terms that several methods' losses are made of; each gives a value for every lane.

Legend: L lanes, B rows of a batch, D embedding, C classes.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from avtune.core.hyper import Hyper
from avtune.core.relevance import relevance
from avtune.lanes.modules import cosine, of_labels, one_hot

LABEL_SMOOTHING = Hyper(
    "label_smoothing",
    "float",
    0.0,
    0.0,
    0.9,
    extra=True,
    doc="share of each label in the labelled loss that is spread over all classes",
)
"""Of the methods whose loss has `label_l2` or `label_cross_entropy`."""


def label_l2(
    head_LDC: Tensor,
    z_a_LBD: Tensor,
    z_v_LBD: Tensor,
    labels_LB: Tensor,
    num_classes: int,
    smoothing_L: Tensor,
    bias_LC: Tensor | None = None,
) -> Tensor:
    """mean_i ||P z_a,i - t_i||_2 + ||P z_v,i - t_i||_2 with the shared linear head P and the smoothed label
    t = (1 - s) onehot(y) + s / C: [L]. Of several labels a clip, onehot has a 1 at each of them."""
    smoothing_L11 = smoothing_L[:, None, None]
    target_LBC = one_hot(labels_LB, num_classes, z_a_LBD.dtype) * (1 - smoothing_L11) + smoothing_L11 / num_classes
    if bias_LC is not None:
        target_LBC = target_LBC - bias_LC[:, None]
    miss_LB: Tensor = torch.linalg.vector_norm(torch.bmm(z_a_LBD, head_LDC) - target_LBC, dim=-1)
    miss_LB = miss_LB + torch.linalg.vector_norm(torch.bmm(z_v_LBD, head_LDC) - target_LBC, dim=-1)
    return miss_LB.mean(1)


def label_cross_entropy(
    head_LDC: Tensor,
    z_a_LBD: Tensor,
    z_v_LBD: Tensor,
    labels_LB: Tensor,
    smoothing_L: Tensor,
    bias_LC: Tensor | None = None,
) -> Tensor:
    """Mean cross-entropy of the shared linear head on audio plus that on visual embeddings, to the smoothed labels of
    `label_l2` (Szegedy et al. 2016): [L]. Of several labels a clip, the target is the same for each of them, and the
    sum is 1 (Mahajan et al. 2018)."""
    smoothing_L1 = smoothing_L[:, None]
    total_LB = torch.zeros((), device=z_a_LBD.device, dtype=z_a_LBD.dtype)
    for z_LBD in (z_a_LBD, z_v_LBD):
        logits_LBC = torch.bmm(z_LBD, head_LDC)
        if bias_LC is not None:
            logits_LBC = logits_LBC + bias_LC[:, None]
        log_p_LBC = F.log_softmax(logits_LBC, dim=-1)
        own_LB = of_labels(log_p_LBC, labels_LB)
        total_LB = total_LB - ((1 - smoothing_L1) * own_LB + smoothing_L1 * log_p_LBC.mean(-1))
    return total_LB.mean(1)


def pair_distance(z_a_LBD: Tensor, z_v_LBD: Tensor) -> Tensor:
    """mean_i ||z_a,i - z_v,i||_2, the distance between the two views of a clip: [L]."""
    apart_LB: Tensor = torch.linalg.vector_norm(z_a_LBD - z_v_LBD, dim=-1)
    return apart_LB.mean(1)


def correlation_likelihood(x_LBD: Tensor, y_LBD: Tensor, target_LBB: Tensor) -> Tensor:
    """mean_ij softplus(Th_ij) - T_ij Th_ij with Th = cos(x_i, y_j) / 2: [L].

    The negative log-likelihood of the links T (0 or 1) between rows of x and rows of y (Zhen et al. 2019, "Deep
    Supervised Cross-modal Retrieval", equation 7).
    """
    theta_LBB = cosine(x_LBD, y_LBD) / 2
    return (F.softplus(theta_LBB) - target_LBB * theta_LBB).mean((1, 2))


def same_class(labels_LB: Tensor) -> Tensor:
    """bool [L, B, B]: which rows have equal labels, or share one where clips have several."""
    same_LBB: Tensor = relevance(labels_LB, labels_LB)
    return same_LBB
