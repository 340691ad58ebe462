"""Claim: triplet losses without a B x B x B tensor: at least 20 times faster than the dense form at B = 400.

Every side starts from the float32 embeddings of a batch, audio clips the anchors and visual clips the items, computes
cosine distances, the loss and its gradient in both embeddings. Three losses over the same triplets on all sides:

- `soft`: every pair a positive and a negative, by weights, as progressive self-distillation has them;
- `all`: every (anchor, same class, other class), the mean;
- `hard`: farthest positive and nearest negative of each anchor, the mean.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from avtune.lanes.triplets import hard_triplets, weighted_triplets
from benchmarks import _report
from benchmarks._measure import Call, Outcome, Side, Values, compare, spread

SIZES = (64, 128, 256, 400, 1024, 4096)
CLAIMED, LARGEST = 400, 4096
WIDTH, CLASSES, MARGIN, TEMPERATURE = 64, 10, 0.2, 0.1
TOLERANCE = 1e-3
"""Relative, of loss and gradients. In float32 rounding decides whether a triplet with a cost of almost zero has a
gradient: losses agree to 1e-6, gradients to a few 1e-4 (the weight of a few such triplets)."""
NOTES = """\
What differs between the sides:

- dense: relu(d[i, p] - d[i, n] + margin) for all i, p, n, times the weights; for `hard` its largest value over the
  valid triplets of an anchor. The obvious form.
- pytorch-metric-learning: TripletMarginLoss with CosineSimilarity, MeanReducer and the visual clips as `ref_emb`;
  without a miner for `all`, which takes every triplet, and with BatchHardMiner for `hard`. Its labels are given twice,
  so that a clip's own pair counts as a positive, as on the other sides. It has no soft triplets.
- ours for `hard` has no trick in it: two masked extremes of each row, as pytorch-metric-learning's miner takes them."""

Loss = Callable[[Tensor, Tensor], Tensor]


def batch(size: int, device: str = "cpu") -> tuple[Tensor, Tensor, Tensor]:
    """(audio, visual) float32 [size, WIDTH] around class centres, and labels [size]."""
    draw = torch.Generator().manual_seed(0)
    labels = torch.randperm(size, generator=draw) % CLASSES
    centres = torch.randn(CLASSES, WIDTH, generator=draw)[labels]
    audio, visual = (centres + 2 * torch.randn(size, WIDTH, generator=draw) for _ in range(2))
    return audio.to(device), visual.to(device), labels.to(device)


def _distance(audio: Tensor, visual: Tensor) -> Tensor:
    return 1 - F.normalize(audio) @ F.normalize(visual).T


def _soft_weights(audio: Tensor, visual: Tensor) -> tuple[Tensor, Tensor]:
    """Weights [B, B] of positives and of negatives: softmaxed similarities, and what they leave."""
    soft = torch.softmax((1 - _distance(audio, visual)) / TEMPERATURE, dim=1)
    return soft / len(soft), (1 - soft) / (1 - soft).sum(1, keepdim=True)


def _measured(make: Callable[[int], Loss], size: int) -> Call:
    """Loss and gradients, forward and backward."""
    loss_of = make(size)
    audio, visual, _ = batch(size)

    return lambda: values(*loss_and_gradients(loss_of, audio, visual))


def loss_and_gradients(loss_of: Loss, audio: Tensor, visual: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The loss, and its gradients in both embeddings."""
    leaves = audio.clone().requires_grad_(), visual.clone().requires_grad_()
    loss = loss_of(*leaves)
    return loss, *torch.autograd.grad(loss, leaves)


def values(loss: Tensor, grad_audio: Tensor, grad_visual: Tensor) -> Values:
    """What sides are compared by."""
    gradients = {"audio gradient": grad_audio.cpu().numpy(), "visual gradient": grad_visual.cpu().numpy()}
    return {"loss": loss.item(), **gradients}


def _masks(labels: Tensor) -> tuple[Tensor, Tensor]:
    same = labels[:, None] == labels
    return same, ~same


def ours_weighted(soft: bool, size: int, device: str = "cpu") -> Loss:
    audio, visual, labels = batch(size, device)
    pos, neg = _soft_weights(audio, visual) if soft else (mask.float() for mask in _masks(labels))
    count = 1 if soft else (pos.sum(1) * neg.sum(1)).sum()
    margin = torch.tensor([MARGIN], device=device)
    return lambda a, v: weighted_triplets(_distance(a, v)[None], pos[None], neg[None], margin).sum() / count


def dense_weighted(soft: bool, size: int, device: str = "cpu") -> Loss:
    audio, visual, labels = batch(size, device)
    pos, neg = _soft_weights(audio, visual) if soft else (mask.float() for mask in _masks(labels))
    count = 1 if soft else (pos.sum(1) * neg.sum(1)).sum()

    def loss(a: Tensor, v: Tensor) -> Tensor:
        distance = _distance(a, v)
        costs = torch.relu(distance[:, :, None] - distance[:, None, :] + MARGIN)
        return (costs * pos[:, :, None] * neg[:, None, :]).sum() / count

    return loss


def ours_hard(size: int, device: str = "cpu") -> Loss:
    return ours_mined(hard_triplets, size, device)


def ours_mined(mine: Callable[..., tuple[Tensor, Tensor]], size: int, device: str = "cpu") -> Loss:
    """The mean over the triplets that `hard_triplets` or `semihard_triplets` chooses."""
    pos, neg = (mask[None] for mask in _masks(batch(size, device)[2]))
    margin = torch.tensor([MARGIN], device=device)

    def loss(a: Tensor, v: Tensor) -> Tensor:
        sums, counts = mine(_distance(a, v)[None], pos, neg, margin)
        return sums.sum() / counts.sum()

    return loss


def dense_hard(size: int, device: str = "cpu") -> Loss:
    pos, neg = _masks(batch(size, device)[2])

    def loss(a: Tensor, v: Tensor) -> Tensor:
        distance = _distance(a, v)
        costs = distance[:, :, None] - distance[:, None, :] + MARGIN
        costs = costs.masked_fill(~(pos[:, :, None] & neg[:, None, :]), -torch.inf)
        return torch.relu(costs.amax((1, 2))).mean()

    return loss


def dense_semihard(size: int, device: str = "cpu") -> Loss:
    """Of each pair of an anchor and a positive the nearest negative that is farther, or the farthest one. For
    `benchmarks.gpu`."""
    pos, neg = _masks(batch(size, device)[2])

    def loss(a: Tensor, v: Tensor) -> Tensor:
        distance = _distance(a, v)
        apart = distance[:, None, :].expand(-1, size, -1)
        farther = neg[:, None, :] & (apart > distance[:, :, None])
        nearest = apart.masked_fill(~farther, torch.inf).amin(2)
        farthest = distance.masked_fill(~neg, -torch.inf).amax(1, keepdim=True)
        chosen = torch.where(farther.any(2), nearest, farthest)
        return torch.relu(distance - chosen + MARGIN)[pos].mean()

    return loss


def pml(hard: bool, size: int) -> Loss:
    from pytorch_metric_learning.distances import CosineSimilarity
    from pytorch_metric_learning.losses import TripletMarginLoss
    from pytorch_metric_learning.miners import BatchHardMiner
    from pytorch_metric_learning.reducers import MeanReducer

    labels = batch(size)[2]
    loss_of = TripletMarginLoss(margin=MARGIN, distance=CosineSimilarity(), reducer=MeanReducer())
    miner = BatchHardMiner(distance=CosineSimilarity()) if hard else None

    def loss(a: Tensor, v: Tensor) -> Tensor:
        item_labels = labels.clone()  # the same tensor would mean: leave out each clip's own pair
        chosen = miner(a, labels, v, item_labels) if miner else None
        value: Tensor = loss_of(a, labels, chosen, v, item_labels)
        return value

    return loss


def _side(name: str, make: Callable[[int], Loss], needs: str | None = None) -> Side:
    return Side(name, partial(_measured, make), needs)


PML = "pytorch-metric-learning"
LOSSES = {
    "soft": (_side("avtune", partial(ours_weighted, True)), _side("dense", partial(dense_weighted, True))),
    "all": (
        _side("avtune", partial(ours_weighted, False)),
        _side("dense", partial(dense_weighted, False)),
        _side(PML, partial(pml, False), PML),
    ),
    "hard": (_side("avtune", ours_hard), _side("dense", dense_hard), _side(PML, partial(pml, True), PML)),
}


def verdict(measured: dict[tuple[str, int], list[Outcome]]) -> str:
    """The claims beside what was measured."""
    lines = ["Claims:", ""]
    for name in LOSSES:
        outcomes = measured.get((name, CLAIMED))
        dense = outcomes[1].ratios if outcomes else []
        found = f"{spread(dense)} times" if dense else "not measured in this run"
        lines.append(f"- {name}, B = {CLAIMED}, at least 20 times faster than the dense form: {found}")
    for name in LOSSES:
        outcomes = measured.get((name, LARGEST))
        found = f"{outcomes[0].memory / 1e6:.0f} MB" if outcomes else "not measured in this run"
        lines.append(f"- {name}, B = {LARGEST:,}, under 1 GB: {found}")
    return "\n".join(lines)


def main() -> int:
    parser = _report.arguments("triplets", __doc__)
    _report.add_limits(parser)
    parser.add_argument("--batch", type=int, nargs="+", help=f"batch sizes ({' '.join(map(str, SIZES))})")
    options = parser.parse_args()
    sizes = options.batch or ((32,) if options.quick else SIZES)
    limits = _report.limits(options)
    rounds = options.rounds or (2 if options.quick else 9)
    measured: dict[tuple[str, int], list[Outcome]] = {}
    tables, wrong = [], []
    for name, sides in LOSSES.items():
        for size, outcomes in compare(sides, sizes, warm_size=32, rounds=rounds, limits=limits):
            measured[name, size] = outcomes
            heading, table = f"## {name}, B = {size:,}", _report.comparison(outcomes, {"loss": "loss"}, TOLERANCE)
            print(f"{heading}\n\n{table}\n", flush=True)
            tables += [heading, table]
            wrong += [f"{name}, {line}" for line in _report.problems(outcomes, size, TOLERANCE)]
    setting = f"{WIDTH}-d embeddings, {CLASSES} classes, margin {MARGIN}, one lane, forward and backward, on the CPU."
    sections = [verdict(measured), f"{setting} {_report.reading(limits, TOLERANCE)}", NOTES, *tables]
    title = "Triplet losses, forward and backward"
    print(_report.write("triplets", title, sections, ("numpy", "torch", PML), options.out))
    for line in wrong:
        print(f"DISAGREES {line}")
    return 1 if wrong else 0


if __name__ == "__main__":
    raise SystemExit(main())
