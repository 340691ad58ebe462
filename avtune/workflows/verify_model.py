"""Compares the folder of a retrained model with itself: digests, tables made again, and its weights scored again."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from avtune.core.errors import UserError
from avtune.core.objective import MAP, Objective, objective
from avtune.data.arrays import failure
from avtune.data.dataset import Dataset
from avtune.data.layouts.npz import NPZ_ERRORS
from avtune.engine.model import EMBEDDINGS, WEIGHTS, load_model
from avtune.finals.scores import mean_score, score
from avtune.metrics import RetrievalScores, retrieval_scores
from avtune.study.results import Results, is_as_written, load_results
from avtune.study.scores import Score, Scores
from avtune.workflows.evaluate import read_embeddings

TOLERANCE = 1e-6
"""Largest difference of a score that is made again from the same weights; see "The protocol" in README.md."""
QUERY_AP = "query_ap.npz"
_OLD = "written by an avtune that kept no digests"


@dataclass(frozen=True)
class Check:
    """Something that was compared.

    Attributes:
        file: where it stands, by its name in the study.
        what: what was compared.
        problem: what differs; empty where nothing does.
        skipped: why it was not compared; empty where it was.
    """

    file: str
    what: str
    problem: str = ""
    skipped: str = ""

    @property
    def ok(self) -> bool:
        """Whether no difference was found; true also where nothing was compared."""
        return not self.problem


def check(file: str, what: str, compare: Callable[[], str]) -> Check:
    """Runs a comparison, which gives what differs; a file that cannot be read is a difference."""
    try:
        return Check(file, what, compare())
    except UserError as error:
        return Check(file, what, " ".join(str(error).split()))


def skipped(file: str, what: str, why: str) -> Check:
    """What was not compared, and why; arguments as of `Check`."""
    return Check(file, what, skipped=why)


def check_model(folder: Path, dataset: Dataset | None, *, name: str = "") -> list[Check]:
    """Checks a model's folder as `search` and `retrain` leave it.

    Args:
        folder: of the model.
        dataset: the one that the model was scored on; None where the test split is not to be scored.
        name: is put before the names of files, e.g. `final/`.
    """
    path = folder / "metrics.json"
    if not path.is_file():
        loaded = check(name + WEIGHTS, "loads, and fits config.yaml", lambda: _loads(folder))
        return [loaded, skipped(name + "metrics.json", "scores", "there is none: this model was never scored")]
    written = check(name + "metrics.json", "digest of what it says", lambda: _as_written(path))
    if not written.ok:
        return [written]
    results = load_results(path)
    if results.files is None:
        checks = [skipped(name + "metrics.json", "digests", _OLD)]
    else:
        checks = [written, *(_file(folder, name, file, digest) for file, digest in results.files.items())]
    if not all(one.ok for one in checks):
        return checks
    what = "tables made again from query_ap.npz"
    if results.files is None and not (folder / QUERY_AP).is_file():  # no digest says whether it was there
        checks.append(skipped(name + "metrics.json", what, f"{QUERY_AP} is missing"))
    else:
        checks.append(check(name + "metrics.json", what, lambda: _tables(folder, results)))
    if dataset is not None:
        file = name + (EMBEDDINGS if (folder / EMBEDDINGS).is_file() else WEIGHTS)
        checks.append(check(file, "scored again on the test split", lambda: _score(folder, dataset, results)))
    return checks


def _as_written(path: Path) -> str:
    return "" if is_as_written(path) else "it has changed since it was written"


def _loads(folder: Path) -> str:
    load_model(folder)
    return ""


def _file(folder: Path, name: str, file: str, digest: str) -> Check:
    path = folder / Path(file).name
    if not path.is_file():
        return Check(name + file, "digest", "it is missing")
    same = hashlib.sha256(path.read_bytes()).hexdigest() == digest
    return Check(name + file, "digest", "" if same else "it has changed since metrics.json was written")


def _tables(folder: Path, results: Results) -> str:
    """Means and intervals over the seeds, from the average precision of every query."""
    path = folder / QUERY_AP
    try:
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as file:
            ap = {key: np.asarray(file[key]) for key in file.files}
    except (*NPZ_ERRORS, AttributeError) as error:  # a .npy has no files
        raise UserError(f"{path} {failure(error)}; restore it from a copy") from None
    for key, one in ap.items():
        if key.endswith(("_a2v", "_v2a")) and (one.ndim != 2 or one.dtype.kind != "f" or not one.shape[1]):
            raise UserError(
                f"{path}: {key} is {one.dtype} {one.shape}; the AP of each query [seeds, queries] is needed"
            )
    rows = {"test": results.test, "default": results.default, "untrained": results.untrained}
    for row, scores in (rows | {"reference": results.reference}).items():
        if f"{row}_a2v" not in ap:
            continue
        if f"{row}_v2a" not in ap:
            raise UserError(f"{path} lacks {row}_v2a; restore it from a copy")
        if scores is None:
            raise UserError(f"{folder / 'metrics.json'} lacks the row {row}, of which query_ap.npz has the queries")
        ways = {f"map_{way}": ap[f"{row}_{way}"].mean(axis=1) for way in ("a2v", "v2a")}
        ways["map"] = (ways["map_a2v"] + ways["map_v2a"]) / 2
        for key, seeds in ways.items():
            made = mean_score([float(one) for one in seeds])
            if not _agree(made, scores[key]):
                return f"{row} {key} is {scores[key].mean:.6f}; made again it is {made.mean:.6f}"
    return ""


def _agree(one: Score, other: Score) -> bool:
    """Whether two scores have the same mean, seeds and interval, up to rounding."""
    these, those = ([score.mean, *score.seeds, *(score.interval or ())] for score in (one, other))
    return len(these) == len(those) and np.allclose(these, those, rtol=0, atol=1e-9)


def scores_of(folder: Path, dataset: Dataset, goal: Objective = MAP) -> RetrievalScores:
    """Those of what the folder holds, a model or the embeddings of a training function, on the test split.

    Args:
        goal: what its study maximised.
    """
    if (folder / EMBEDDINGS).is_file():
        audio, visual, labels, _ = read_embeddings(folder / EMBEDDINGS)
        return retrieval_scores(audio, visual, labels, exact=True, objective=goal)
    return score(load_model(folder), dataset.test, goal)


def _score(folder: Path, dataset: Dataset, results: Results) -> str:
    if dataset.digest != results.dataset.digest:
        return f"it was scored on another dataset, of digest {results.dataset.digest[:12]}"
    goal = objective(results.objective or MAP.text, dataset.views)
    return difference(scores_of(folder, dataset, goal), results.test, TOLERANCE)


def difference(made: RetrievalScores, told: Scores, most: float) -> str:
    """Where scores differ by more than `most` from those of the first seed in `metrics.json`; empty where nowhere."""
    other = [("objective", told.objective)] if told.objective is not None and made.objective is not None else []
    for name, score_told in [*told.items(), *other]:
        value, before = float(getattr(made, name)), score_told.seeds[0]
        if abs(value - before) > most:
            return f"{name} of the first seed is {before:.6f}; made again it is {value:.6f}"
    return ""
