"""A retrieval run and its relevance judgements in TREC's formats, for trec_eval, ranx, ir_measures and the like.

Both directions are in one pair of files, so that the mean over its queries is avtune's MAP: `a2v-3` is the first
view (audio) of clip 3 as a query, `v5` the second view (visual) of clip 5 as a document of its gallery.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from avtune.core.errors import UserError
from avtune.core.files import using
from avtune.core.names import legal_name
from avtune.core.relevance import relevance
from avtune.data import examine
from avtune.engine.model import Model
from avtune.metrics import retrieval_scores
from avtune.metrics.cosine import unit_rows
from avtune.workflows.clips import Clips, embed_clips
from avtune.workflows.exported import Exported, about, write_json
from avtune.workflows.retrieve import ranking

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
RUN, QRELS = "run.trec", "qrels.trec"
_BLOCK = 256  # queries whose cosines are computed at a time


def write_trec(model: Model, clips: Clips, out: Path) -> Exported:
    """Writes `run.trec` (every clip of the gallery for every query), `qrels.trec` and avtune's own scores as
    `scores.json`.

    Args:
        clips: both views, with labels.
        out: an empty folder.

    Raises:
        UserError: there are no labels or is only one view, or the clips do not fit the model.
    """
    labels = clips.labels
    if labels is None or len(clips.views) < 2:
        lacks = "labels" if labels is None else "both views"
        raise UserError(f"{clips.title} does not have {lacks}, without which nothing is relevant to a query")
    made = embed_clips(model, clips)
    unit = {view: unit_rows(embedded, view) for view, embedded in made.items()}
    first, second = clips.view_names
    tag = legal_name(f"avtune-{model.method}")
    with using(out), (out / RUN).open("w", encoding="ascii") as run, (out / QRELS).open("w", encoding="ascii") as qrels:
        for way, queries, gallery, letter in (
            ("a2v", unit[first], unit[second], "v"),
            ("v2a", unit[second], unit[first], "a"),
        ):
            for query, lines in enumerate(_run(queries, gallery, f"{way}-", letter, tag)):
                run.write(lines)
                relevant = np.flatnonzero(relevance(labels[[query]], labels)[0])
                qrels.write("".join(f"{way}-{query} 0 {letter}{clip} 1\n" for clip in relevant))
    scores = retrieval_scores(made[first], made[second], labels, exact=True)
    facts = {name: getattr(scores, name) for name in ("map", "map_a2v", "map_v2a")}
    problems = examine(clips.dataset).problems if clips.dataset is not None else ()
    facts |= {"problems": list(problems)} if problems else {}
    facts |= {"tied_queries": scores.tied, "of": clips.title, "clips": len(clips), "model": about(model)}
    write_json(out / "scores.json", facts)
    note = (
        f"{100 * scores.tied:.3g} % of the queries have ties, whose scores avtune averages over the orders; "
        "other tools take one order, and may give another MAP"
    )
    return Exported(
        (
            f"{RUN}: {2 * len(clips)} queries of both directions, {len(clips)} clips each",
            f"{QRELS}: clips that share a label with the query",
            f"scores.json: avtune's MAP of them, {scores.map:.4f}",
        ),
        (*problems, *([note] if scores.tied else [])),
    )


def _run(queries: Floats, gallery: Floats, before: str, letter: str, tag: str) -> Iterator[str]:
    """The lines of each query. Clips that tie have one score, as rounding must not decide on their order."""
    for start in range(0, len(queries), _BLOCK):
        for query, cosine_G in enumerate(queries[start : start + _BLOCK] @ gallery.T, start):
            order, ties = ranking(cosine_G)
            firsts = np.flatnonzero(np.diff(ties, prepend=-1))
            scores = cosine_G[order][firsts][ties].tolist()
            yield "".join(
                f"{before}{query} Q0 {letter}{clip} {rank} {score!r} {tag}\n"
                for rank, (clip, score) in enumerate(zip(order.tolist(), scores, strict=True), 1)
            )
