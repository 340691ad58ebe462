"""Makes the numbers of a finished study again and compares them with what its files say: the verb `verify`.

Nothing is written: what has to be replayed is copied first. The test split is scored with the saved model, which was
scored before, so that this is no new look at it.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from avtune.core.errors import UserError
from avtune.core.files import read_lines, unchecked
from avtune.core.protocol import VALIDATION
from avtune.data.dataset import Dataset
from avtune.finals.finish import best_facts
from avtune.finals.retraining import Retraining, retraining
from avtune.finals.run_record import on_record, runs_that_ended_well
from avtune.finals.select import Repeated, finalists, retraining_seed, winner
from avtune.study.curves import read_curves
from avtune.study.folder import StudyFolder
from avtune.study.results import read_best, read_metrics
from avtune.study.study import Study
from avtune.workflows.open_study import open_space, open_study
from avtune.workflows.verify_model import Check, check, check_model, skipped
from avtune.workflows.verify_retrain import check_retraining

_OLD = "written by an avtune that did not name its runs or sum up its files"


@dataclass(frozen=True)
class _Copy:
    """What is replayed: a study opened on copies of its append-only files, and its finalists.

    Attributes:
        study: as the copies say.
        rows: the finalists; empty where their runs have names of an earlier avtune.
    """

    study: Study
    rows: list[Repeated]


def verify_study(folder: StudyFolder, dataset: Dataset, *, retrain: bool = False) -> list[Check]:
    """Checks every file of a study.

    Args:
        dataset: the one that it was made with.
        retrain: train the winner's first seed once more and compare it too.

    Raises:
        UserError: another process works on the study, or its settings cannot be read.
    """
    if owner := folder.owner():
        raise UserError(f"{folder.root} is being worked on by another avtune ({owner}); verify it when that has ended")
    settings = folder.settings()
    finished = folder.metrics.is_file()
    checks = [_digest(folder, settings, dataset)]
    checks += [_lines(path, finished) for path in (folder.curves, folder.repeats, folder.scored)]
    if all(one.ok for one in checks):
        with _replayed(folder, dataset) as (copy, check_copy):
            checks += check_copy
            if copy is not None and finished:
                checks += _finished(folder, settings, dataset, copy, retrain=retrain)
    if not finished:
        checks.append(skipped("final/", "scores", "the study is not finished"))
    for made in sorted(folder.root.glob("retrained_trial_*/metrics.json")):
        checks += check_model(made.parent, dataset, name=f"{made.parent.name}/")
    return checks


def _digest(folder: StudyFolder, settings: dict[str, Any], dataset: Dataset) -> Check:
    wanted = settings["dataset"]["digest"]
    problem = "" if dataset.digest == wanted else f"the study's is {wanted[:12]}, this dataset's {dataset.digest[:12]}"
    return Check("study.yaml", "digest of the dataset", problem)


def _lines(path: Path, finished: bool) -> Check:
    """That no line has changed, and that all are there as far as that can be seen."""

    def compare() -> str:
        if path.name == "curves.jsonl":
            lines, torn = read_curves(path, repair=False)
            count = sum(1 for _ in lines)
        else:
            known, torn = read_lines(path, repair=False)
            count = len(known)
        if torn and finished:
            return "its last line is cut off"
        since = unchecked(path)[1]
        if since:
            return f"{since} of its {count} lines have no checksum: something else wrote them"
        return ""

    old = unchecked(path)[0]
    what = "checksums of its lines" + (f" ({old} of an avtune that wrote none)" if old else "")
    return check(path.name, what, compare)


@contextmanager
def _replayed(folder: StudyFolder, dataset: Dataset) -> Iterator[tuple[_Copy | None, list[Check]]]:
    """Opens the study on copies of its files; gives None where that fails, and what was compared."""
    with tempfile.TemporaryDirectory(prefix="avtune-verify-") as place:
        copy = StudyFolder(Path(place) / folder.root.name)
        copy.root.mkdir()
        for path in (folder.study_yaml, folder.journal, folder.curves, folder.repeats, folder.scored):
            if path.is_file():
                shutil.copyfile(path, copy.root / path.name)
        study: list[Study] = []
        rows: list[Repeated] = []

        def said(call: Callable[[], str]) -> Callable[[], str]:
            def inside() -> str:
                try:
                    return call()
                except UserError as error:  # of the copy
                    raise UserError(str(error).replace(str(copy.root), str(folder.root))) from None

            return inside

        def trials() -> str:
            study.append(open_study(copy, open_space(copy), dataset))
            study[0].close()
            if not folder.metrics.is_file():
                return ""
            if not study[0].exhausted:
                return "the study has final scores, and trials that have not ended"
            return _differs(folder.trials_csv, copy.trials_csv.read_text())

        def best() -> str:
            rows.extend(finalists(study[0], runs_that_ended_well(copy.repeats), _on_record(copy)))
            won = winner(rows)
            if won is None:
                return "no finalist has a result"
            made, told = best_facts(study[0], won, rows), read_best(folder)
            return "" if told == made else _first_difference(told or {}, made)

        checks = [check("trials.csv", "made again from journal.log and curves.jsonl", said(trials))]
        if folder.metrics.is_file() and checks[0].ok:
            old = unchecked(folder.repeats)[0] > 0 and not _has_names(folder)
            what = "finalists and winner, made again from repeats.jsonl"
            checks.append(skipped("best.yaml", what, _OLD) if old else check("best.yaml", what, said(best)))
        yield (_Copy(study[0], rows) if study else None), checks


def _on_record(copy: StudyFolder) -> Any:
    return lambda stage, names, trials: on_record(copy.repeats, trials)


def _has_names(folder: StudyFolder) -> bool:
    """Whether the winner's files carry the names of their runs."""
    facts = read_metrics(folder)
    return facts is not None and "sha256" in facts


def _finished(
    folder: StudyFolder, settings: dict[str, Any], dataset: Dataset, copy: _Copy, *, retrain: bool
) -> list[Check]:
    checks = check_model(folder.final, dataset, name="final/")
    metrics_ok = all(one.ok for one in checks if one.file == "final/metrics.json")
    if not metrics_ok:
        return checks
    metrics = read_metrics(folder)
    assert metrics is not None
    if not copy.rows:
        return checks
    best = winner(copy.rows)
    assert best is not None
    way = retraining(copy.study.horizon, dataset, str(settings.get("protocol", VALIDATION)))
    seeds = [retraining_seed(copy.study.space, index) for index in range(copy.study.space.final.seeds)]
    checks.append(check("final/metrics.json", "winner, epochs and seeds", lambda: _told(metrics, best, seeds, way)))
    checks.append(_looks(folder, metrics))
    trial = way.trial(best.candidate.config, seeds[0], best.epoch, len(best.curve))
    return checks + check_retraining(folder, dataset, way, trial, metrics, train=retrain)


def _looks(folder: StudyFolder, metrics: dict[str, Any]) -> Check:
    scored, told = len(read_lines(folder.scored, repair=False)[0]), metrics["times_test_was_scored"]
    what = "looks at the test split"
    if told < scored:  # noted before it is taken
        why = f"a command was killed when {scored - told} more had been noted; the next search or evaluate tells them"
        return skipped("final/metrics.json", what, why)
    problem = "" if told == scored else f"says {told} configurations were scored; scored.jsonl has {scored}"
    return Check("final/metrics.json", what, problem)


def _told(metrics: dict[str, Any], best: Repeated, seeds: list[int], way: Retraining) -> str:
    trial = way.trial(best.candidate.config, seeds[0], best.epoch, len(best.curve))
    made = {
        "trial": best.candidate.number,
        "epochs": trial.epochs,
        "seeds": seeds,
        "precision": way.precision,
        "validation": {"map": {"mean": best.mean, "sd": best.spread, "seeds": list(best.values)}},
    }
    return _first_difference({key: metrics.get(key) for key in made}, made)


def _first_difference(told: dict[str, Any], made: dict[str, Any]) -> str:
    for key, value in made.items():
        if told.get(key) != value:
            return f"{key} is {told.get(key)!r}; made again it is {value!r}"[:200]
    return ""


def _differs(path: Path, made: str) -> str:
    told = path.read_text(encoding="utf-8") if path.is_file() else ""
    if told == made:
        return ""
    pairs = list(zip(told.splitlines(), made.splitlines(), strict=False))
    at = next((number for number, (one, other) in enumerate(pairs, 1) if one != other), len(pairs) + 1)
    return f"line {at} is another than the one made again"
