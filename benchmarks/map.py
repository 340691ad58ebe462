"""Claim: exact MAP in both directions, by both definitions, is at least 5 times faster than torch argsort on a CPU.

Every side starts from float32 embeddings of two views and gives MAP over all ranks, audio to visual and visual to
audio, each clip's own pair in the gallery. Ours gives the running cut-off definition too; of the others only the plain
double loop does.
"""

from __future__ import annotations

import itertools
from functools import cache

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from avtune.metrics import retrieval_scores
from benchmarks import _report
from benchmarks._measure import Call, Outcome, Side, Values, compare, spread

SIZES = (1_000, 2_000, 5_621, 10_000, 20_000)
CLAIMED = 5_621
WIDTH, CLASSES = 64, 10
BLOCK = 512
"""Queries at a time, for the sides that work in blocks."""
TOLERANCE = 1e-5
"""Relative. The sides compute similarities in float32, in products of different shapes: near-ties swap places."""
SHOWN = {"map_a2v": "MAP a2v", "map_v2a": "MAP v2a", "map_running_a2v": "running a2v", "map_running_v2a": "running v2a"}
NOTES = """\
What differs between the sides:

- ours: where clips tie, a score is the mean over their orders; memory is bounded by blocks of queries.
- torchmetrics counts an item with a score of 0 or less as irrelevant, whatever its label. So it is given similarity
  + 1, whose rounding makes ties, and ties come in the unspecified order of `topk`.
- pytorch-metric-learning: `k=None`, every clip of the gallery; ties in the order of `topk`.
- ranx scores ranked lists. It is given arrays, its fastest input, ranked by NumPy's stable argsort within the time.
- torch argsort, ranx and the double loop rank ties by the order of the clips, NumPy's argsort in blocks in no order.

Ties between clips of different classes are rare in these embeddings: one order of a tie or the mean of all differs by
less than the tolerance, so all of them have to agree."""


@cache
def embeddings(rows: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(audio, visual) float32 [rows, WIDTH] around ten shared class centres, and labels: MAP is about one half."""
    rng = np.random.default_rng(0)
    labels = rng.permutation(np.arange(rows) % CLASSES)
    centres = rng.normal(size=(CLASSES, WIDTH))[labels]
    audio, visual = ((centres + 2.0 * rng.normal(size=centres.shape)).astype(np.float32) for _ in range(2))
    return audio, visual, labels


def tensors(rows: int, device: str = "cpu") -> tuple[Tensor, Tensor, Tensor]:
    """`embeddings` on a device."""
    audio, visual, labels = (torch.from_numpy(array).to(device) for array in embeddings(rows))
    return audio, visual, labels


def _unit(rows: int) -> tuple[Tensor, Tensor, Tensor]:
    audio, visual, labels = tensors(rows)
    return F.normalize(audio), F.normalize(visual), labels


def ours(rows: int) -> Call:
    audio, visual, labels = embeddings(rows)

    def call() -> Values:
        scores = retrieval_scores(audio, visual, labels)
        return {name: getattr(scores, name) for name in SHOWN}

    return call


def torch_argsort(rows: int) -> Call:
    return _torch_argsort(rows, rows)


def torch_argsort_blocks(rows: int) -> Call:
    return _torch_argsort(rows, BLOCK)


def _torch_argsort(rows: int, block: int) -> Call:
    def call() -> Values:
        a2v, v2a = argsort_map(*tensors(rows), block)
        return {"map_a2v": a2v.item(), "map_v2a": v2a.item()}

    return call


def argsort_map(audio: Tensor, visual: Tensor, labels: Tensor, block: int) -> tuple[Tensor, Tensor]:
    """MAP of both directions, on the device of the embeddings, so many queries at a time."""
    rows = len(labels)
    ranks = torch.arange(1, rows + 1, device=labels.device)

    def direction(queries: Tensor, gallery: Tensor) -> Tensor:
        total = torch.zeros((), device=labels.device, dtype=torch.float64)
        for some, wanted in zip(torch.split(queries, block), torch.split(labels, block), strict=True):
            order = (some @ gallery.T).argsort(dim=1, descending=True, stable=True)
            relevant = labels[order] == wanted[:, None]
            precision = relevant.cumsum(1) / ranks
            total = total + ((precision * relevant).sum(1) / relevant.sum(1)).sum()
        return total / rows

    unit_audio, unit_visual = F.normalize(audio), F.normalize(visual)
    return direction(unit_audio, unit_visual), direction(unit_visual, unit_audio)


def numpy_argsort_blocks(rows: int) -> Call:
    ranks = np.arange(1, rows + 1)

    def direction(queries: np.ndarray, gallery: np.ndarray, labels: np.ndarray) -> float:
        total = 0.0
        for start in range(0, rows, BLOCK):
            order = np.argsort(queries[start : start + BLOCK] @ -gallery.T, axis=1)
            relevant = labels[order] == labels[start : start + BLOCK, None]
            precision = relevant.cumsum(1) / ranks
            total += ((precision * relevant).sum(1) / relevant.sum(1)).sum()
        return total / rows

    def call() -> Values:
        audio, visual, labels = (tensor.numpy() for tensor in _unit(rows))
        return {"map_a2v": direction(audio, visual, labels), "map_v2a": direction(visual, audio, labels)}

    return call


def torchmetrics_map(rows: int) -> Call:
    from torchmetrics.retrieval import RetrievalMAP

    def direction(queries: Tensor, gallery: Tensor, labels: Tensor) -> float:
        metric = RetrievalMAP()
        scores, relevant = queries @ gallery.T + 1, labels[:, None] == labels
        metric.update(scores.flatten(), relevant.flatten(), torch.arange(rows).repeat_interleave(rows))
        return float(metric.compute())

    def call() -> Values:
        audio, visual, labels = _unit(rows)
        return {"map_a2v": direction(audio, visual, labels), "map_v2a": direction(visual, audio, labels)}

    return call


def pml_map(rows: int) -> Call:
    from pytorch_metric_learning.distances import CosineSimilarity
    from pytorch_metric_learning.utils.accuracy_calculator import AccuracyCalculator
    from pytorch_metric_learning.utils.inference import CustomKNN

    audio, visual, labels = (torch.from_numpy(array) for array in embeddings(rows))
    name = "mean_average_precision"
    calculator = AccuracyCalculator(
        include=(name,), k=None, device=torch.device("cpu"), knn_func=CustomKNN(CosineSimilarity())
    )

    def call() -> Values:
        a2v, v2a = (
            calculator.get_accuracy(queries, labels, gallery, labels, ref_includes_query=False)[name]
            for queries, gallery in ((audio, visual), (visual, audio))
        )
        return {"map_a2v": a2v, "map_v2a": v2a}

    return call


def ranx_map(rows: int) -> Call:
    import ranx

    def direction(queries: np.ndarray, gallery: np.ndarray, labels: np.ndarray, qrels: np.ndarray) -> float:
        similarity = queries @ gallery.T
        order = np.argsort(-similarity, axis=1, kind="stable")
        run = np.stack([order.astype(np.float64), np.take_along_axis(similarity, order, 1)], axis=2)
        return float(ranx.evaluate(qrels, run, "map"))

    def call() -> Values:
        audio, visual, labels = (tensor.numpy() for tensor in _unit(rows))
        # [queries, relevant items, (item, relevance)]; a class with fewer items is filled up with relevance 0.
        members = [np.flatnonzero(labels == label) for label in range(CLASSES)]
        lists = np.zeros((CLASSES, max(map(len, members)), 2))
        for label, items in enumerate(members):
            lists[label, : len(items), 0], lists[label, : len(items), 1] = items, 1
        qrels = lists[labels]
        return {"map_a2v": direction(audio, visual, labels, qrels), "map_v2a": direction(visual, audio, labels, qrels)}

    return call


def double_loop(rows: int) -> Call:
    def direction(queries: np.ndarray, gallery: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
        classes = labels.tolist()
        total = total_running = 0.0
        for query in range(rows):
            order = np.argsort(-(gallery @ queries[query]), kind="stable").tolist()
            wanted = classes[query]
            hits, precisions, running = 0, 0.0, 0.0
            for rank, item in enumerate(order, start=1):
                if classes[item] == wanted:
                    hits += 1
                    precisions += hits / rank
                if hits:
                    running += precisions / hits
            total += precisions / hits
            total_running += running / rows
        return total / rows, total_running / rows

    def call() -> Values:
        audio, visual, labels = (tensor.numpy() for tensor in _unit(rows))
        a2v, v2a = direction(audio, visual, labels), direction(visual, audio, labels)
        return {"map_a2v": a2v[0], "map_v2a": v2a[0], "map_running_a2v": a2v[1], "map_running_v2a": v2a[1]}

    return call


SIDES = (
    Side("avtune, both definitions", ours),
    Side("torch argsort", torch_argsort),
    Side(f"torch argsort, {BLOCK} queries at a time", torch_argsort_blocks),
    Side(f"NumPy argsort, {BLOCK} queries at a time", numpy_argsort_blocks),
    Side("torchmetrics RetrievalMAP", torchmetrics_map, needs="torchmetrics"),
    Side("pytorch-metric-learning AccuracyCalculator", pml_map, needs="pytorch-metric-learning"),
    Side("ranx", ranx_map, needs="ranx"),
    Side("plain double loop, both definitions", double_loop),
)


def verdict(measured: dict[int, list[Outcome]]) -> str:
    """The claim beside what was measured."""
    if CLAIMED not in measured:
        return f"Claim: not tested in this run, which leaves out {CLAIMED:,} rows."
    mine, argsort = measured[CLAIMED][:2]
    faster = f"{spread(argsort.ratios)} times" if argsort.ratios else "not measured"
    return "\n".join(
        [
            f"Claims at {CLAIMED:,} rows:",
            "",
            f"- at least 5 times faster than torch argsort: {faster}",
            f"- peak extra memory under 300 MB: {mine.memory / 1e6:.0f} MB",
        ]
    )


def main() -> int:
    parser = _report.arguments("map", __doc__)
    _report.add_limits(parser)
    parser.add_argument("--rows", type=int, nargs="+", help=f"gallery sizes ({' '.join(map(str, SIZES))})")
    options = parser.parse_args()
    sizes = options.rows or ((200,) if options.quick else SIZES)
    limits = _report.limits(options)
    rounds = options.rounds or (2 if options.quick else 7)
    measured: dict[int, list[Outcome]] = {}
    for rows, outcomes in compare(SIDES, sizes, warm_size=200, rounds=rounds, limits=limits):
        measured[rows] = outcomes
        print(f"## {rows:,} rows\n\n{_report.comparison(outcomes, SHOWN, TOLERANCE)}\n", flush=True)
    wrong = [line for rows, outcomes in measured.items() for line in _report.problems(outcomes, rows, TOLERANCE)]
    sections = [
        verdict(measured),
        f"{WIDTH}-d embeddings, {CLASSES} classes. {_report.reading(limits, TOLERANCE)}",
        NOTES,
        *itertools.chain.from_iterable(
            (f"## {rows:,} rows", _report.comparison(outcomes, SHOWN, TOLERANCE)) for rows, outcomes in measured.items()
        ),
    ]
    packages = ("numpy", "torch", "torchmetrics", "pytorch-metric-learning", "ranx", "numba")
    print(_report.write("map", "Exact MAP, both directions", sections, packages, options.out))
    for line in wrong:
        print(f"DISAGREES {line}")
    return 1 if wrong else 0


if __name__ == "__main__":
    raise SystemExit(main())
