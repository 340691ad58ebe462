"""The finals of a study in TensorBoard: the finalists over seeds as groups of runs, and the winner in a run of its own,
with test scores, precision-recall curves and the embedding projector."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from tensorboard.compat.proto.tensor_pb2 import TensorProto
from tensorboard.plugins.pr_curve.metadata import create_summary_metadata as pr_metadata
from tensorboard.plugins.text.metadata import create_summary_metadata as text_metadata
from tensorboard.util.tensor_util import make_tensor_proto

from avtune.core.hyper import Value
from avtune.core.objective import MAP
from avtune.core.seeds import mix
from avtune.core.view_names import VIEWS, ways
from avtune.data.labels import label_text
from avtune.metrics.precision_recall import precision_recall
from avtune.metrics.query_kinds import QueryKinds
from avtune.report.columns import row
from avtune.report.event_files import scalars, tensor, write_whole
from avtune.report.tensorboard import BEST_TAG, OBJECTIVE_TAG, VAL_TAG, end_event, start_event
from avtune.report.text import escaped, markdown_header, over_seeds_text, score_rows, score_text, ties_text
from avtune.study.results import Results

FINALS, WINNER = "finals", "winner"
"""Folders below a study's `tensorboard/`."""
MOST_POINTS, MOST_NUMBERS = 4000, 1_000_000
"""Of the projector: points, two a clip, and numbers in all, which are about eight bytes each in its file."""
_CONFIG = "projector_config.pbtxt"
_PROJECTOR = """embeddings {
  tensor_name: "test clips, both views"
  tensor_path: "embeddings.tsv"
  metadata_path: "clips.tsv"
}
"""


@dataclass(frozen=True)
class FinalistRun:
    """One seed of a finalist.

    Attributes:
        finalist: the number of its trial, or `default`.
        seed: which of the finalist's seeds it is, from 0.
        config: its hyper-parameters.
        curve: validation MAP by epoch.
        epoch: at which the finalists are compared.
        failed: it has no result.
    """

    finalist: str
    seed: int
    config: Mapping[str, Value]
    curve: Mapping[int, float]
    epoch: int
    failed: bool = False


@dataclass(frozen=True)
class Embedded:
    """Embeddings [N, D] of the test clips by the published model, their labels ([N], or bool [N, C]), and the names of
    the classes and of the views."""

    audio: npt.NDArray[Any]
    visual: npt.NDArray[Any]
    labels: npt.NDArray[Any]
    class_names: Sequence[str]
    views: tuple[str, str] = VIEWS


def write_finalists(logdir: Path, runs: Sequence[FinalistRun], logs: set[str], objective: str = MAP.text) -> None:
    """Writes a run for each seed of each finalist. The seeds of a finalist are one row of the HParams tab: its best
    validation MAP there, or value of the objective, is the mean over them at the epoch at which finalists are compared.

    Args:
        logdir: of the study.
        logs: hyper-parameters on a log scale, see `columns.row`.
        objective: of which the curves are.
    """
    tag = VAL_TAG if objective == MAP.text else OBJECTIVE_TAG
    shutil.rmtree(logdir / FINALS, ignore_errors=True)
    for run in runs:
        group = f"{FINALS}/{_called(run.finalist)}"
        values = {epoch: {tag: value} for epoch, value in run.curve.items()}
        if run.epoch in values:
            values[run.epoch][BEST_TAG] = run.curve[run.epoch]
        made = [scalars(epoch, of_epoch) for epoch, of_epoch in sorted(values.items())]
        head, tail = start_event(group, row(run.config, logs)), end_event(failed=run.failed)
        write_whole(logdir / group / f"seed_{run.seed}", [head, *made, tail])


def write_winner(logdir: Path, results: Results, card: str, embedded: Embedded | None) -> None:
    """Writes the run of the winner. Its event file comes last: with it the run is complete.

    Args:
        logdir: of the study.
        results: what `final/metrics.json` holds.
        card: the model card.
        embedded: None where there are no embeddings to show.
    """
    folder = logdir / WINNER
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    step = results.epochs
    events = [
        _text("test scores", _score_table(results), step),
        _text("winner: model card", card, step),
        scalars(step, {"winner/test_map": results.test.map.mean}),
    ]
    if embedded is not None:
        events += _curves(embedded, step)
        _write_projector(folder, embedded)
    write_whole(folder, events)


def clear_finals(logdir: Path) -> None:
    """Takes the finalists and the winner away: the study goes on."""
    for name in (WINNER, FINALS):
        shutil.rmtree(logdir / name, ignore_errors=True)


def is_written(logdir: Path) -> bool:
    """Whether the run of the winner is there, and complete."""
    return any((logdir / WINNER).glob("*tfevents*"))


def _called(finalist: str) -> str:
    return f"trial_{int(finalist):05d}" if finalist.isdigit() else finalist


def _text(tag: str, markdown: str, step: int) -> Any:
    return tensor(tag, text_metadata(None, None), make_tensor_proto([markdown], dtype=np.object_), step)


def _score_table(results: Results) -> str:
    """The table of test scores, as Markdown, which TensorBoard shows."""
    lines = [
        f"**{results.method} on {escaped(results.dataset.name)}, test split** "
        f"({results.label or f'selected on {results.selected_on}'}): {over_seeds_text(len(results.seeds))}.",
        "",
        markdown_header(results),
        *(f"| {name} | {' | '.join(map(score_text, scores.shown))} |" for name, scores in score_rows(results)),
    ]
    if results.tied_queries is not None:
        lines += ["", f"{ties_text(results.tied_queries)}."]
    return "\n".join([*lines, *(f"\n**Problem: {escaped(problem)}.**" for problem in results.problems or ())])


def _curves(embedded: Embedded, step: int) -> list[Any]:
    """Interpolated precision at 100 levels of recall, means over the queries, in the form of the PR curves tab. Its
    counts are sums over as many queries, all with the mean number of relevant clips."""
    found = precision_recall(embedded.audio, embedded.visual, embedded.labels, ks=[1], exact=True)
    levels = found.levels[:0:-1]  # the tab wants falling recall, and cuts off where nothing is found
    labels = np.asarray(embedded.labels)
    kinds = QueryKinds.of(labels, labels)
    relevant, pairs = float(kinds.count[kinds.kind].sum()), float(len(labels) ** 2)
    events = []
    names = ways(embedded.views, "_to_")
    for tag, curve in ((f"test/{names['a2v']}", found.curve_a2v), (f"test/{names['v2a']}", found.curve_v2a)):
        precision = curve[:0:-1]
        hits = levels * relevant
        misses = hits * (1 / precision - 1)
        counts = (hits, misses, np.maximum(pairs - relevant - misses, 0), relevant - hits)
        proto: TensorProto = make_tensor_proto(np.stack([*counts, precision, levels]).astype(np.float32))
        said = "retrieval of the test clips: mean over the queries, interpolated"
        events.append(tensor(tag, pr_metadata(tag, said, len(levels)), proto, step))
    return events


def _write_projector(folder: Path, embedded: Embedded) -> None:
    """Writes both views of the test clips, of length 1, as they are compared by cosine; of a large split a sample."""
    count, width = len(embedded.labels), embedded.audio.shape[1]
    most = max(1, min(MOST_POINTS, MOST_NUMBERS // width) // 2)
    chosen = np.arange(count)
    if count > most:
        chosen = np.sort(np.random.default_rng(mix(0, "projector")).choice(count, most, replace=False))
    rows, clips = [], ["class\tview\tclip"]
    for view, of_view in zip(embedded.views, (embedded.audio, embedded.visual), strict=True):
        vectors = np.asarray(of_view, float)[chosen]
        norms = np.linalg.norm(vectors, axis=1, keepdims=True)
        vectors /= np.where(norms > 0, norms, 1)
        rows += ["\t".join(f"{number:.5g}" for number in vector) for vector in vectors]
        names = [_cell(label_text(embedded.labels, clip, embedded.class_names)) for clip in chosen.tolist()]
        clips += [f"{name}\t{view}\t{clip}" for name, clip in zip(names, chosen, strict=True)]
    (folder / "embeddings.tsv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    (folder / "clips.tsv").write_text("\n".join(clips) + "\n", encoding="utf-8", errors="backslashreplace")
    (folder / _CONFIG).write_text(_PROJECTOR, encoding="utf-8")


def _cell(words: str) -> str:
    return " ".join(words.split()) or "?"
