"""Makes the numbers of a finished study again and compares them with what its files say: the verb `verify`.

Nothing is written: what has to be replayed is copied first. The test split is scored with the saved model, which was
scored before, so that this is no new look at it.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from avtune.core.errors import UserError
from avtune.core.files import read_lines, read_yaml, unchecked
from avtune.core.protocol import VALIDATION
from avtune.core.trial import Trial
from avtune.data.dataset import Dataset
from avtune.finals.repeats import finalists
from avtune.finals.retraining import retraining
from avtune.finals.run_record import Result, on_record, runs_that_ended_well
from avtune.finals.select import Repeated, retraining_seed, winner
from avtune.finals.summary import best_of, race_of
from avtune.study.best import read_best
from avtune.study.curves import read_curves
from avtune.study.folder import StudyFolder
from avtune.study.results import Race, Results, read_results
from avtune.study.scores import ValidationScore
from avtune.study.study import Study
from avtune.workflows.differences import any_difference, first_difference, text_difference
from avtune.workflows.open_study import open_space, open_study
from avtune.workflows.verify_model import Check, check, check_model, skipped
from avtune.workflows.verify_reference import check_reference
from avtune.workflows.verify_repeats import check_repeats
from avtune.workflows.verify_retrain import check_retraining

_OLD = "written by an avtune that did not name its runs or sum up its files"


def verify_study(folder: StudyFolder, dataset: Dataset, *, retrain: bool = False) -> list[Check]:
    """Checks every file of a study.

    Args:
        folder: of the study.
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
        with _copied(folder) as copy:
            replay = _Replay(folder, copy, dataset)
            checks += replay.checks()
            if replay.study is not None and finished:
                protocol = str(settings.get("protocol", VALIDATION))
                checks += _finished(folder, protocol, dataset, replay.study, replay.rows, retrain=retrain)
    if not finished:
        checks.append(skipped("final/", "scores", "the study is not finished"))
    checks += check_repeats(folder)
    for made in sorted(folder.root.glob("retrained_trial_*/metrics.json")):
        checks += check_model(made.parent, dataset, name=f"{made.parent.name}/")
    return checks


def _digest(folder: StudyFolder, settings: dict[str, Any], dataset: Dataset) -> Check:
    wanted = settings["dataset"]["digest"]
    problem = "" if dataset.digest == wanted else f"the study's is {wanted[:12]}, this dataset's {dataset.digest[:12]}"
    return Check("study.yaml", "digest of the dataset", problem)


def _lines(path: Path, finished: bool) -> Check:
    """Checks that no line has changed. A missing last line cannot be seen, half a one can."""

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
def _copied(folder: StudyFolder) -> Iterator[StudyFolder]:
    """A copy of the settings and the append-only files of a study, which replaying may write to."""
    with tempfile.TemporaryDirectory(prefix="avtune-verify-") as place:
        copy = StudyFolder(Path(place) / folder.root.name)
        copy.root.mkdir()
        for path in (folder.study_yaml, folder.journal, folder.curves, folder.repeats, folder.scored):
            if path.is_file():
                shutil.copyfile(path, copy.root / path.name)
        yield copy


class _Replay:
    """Makes trials, finalists and winner of a study again from copies of its append-only files.

    Args:
        folder: of the study.
        copy: see `_copied`.
        dataset: that the study was made with.

    Attributes:
        study: as the copies say; None where it could not be opened.
        rows: the finalists; empty where they could not be made again.
    """

    def __init__(self, folder: StudyFolder, copy: StudyFolder, dataset: Dataset) -> None:
        self._folder = folder
        self._copy = copy
        self._dataset = dataset
        self.study: Study | None = None
        self.rows: list[Repeated] = []

    def checks(self) -> list[Check]:
        """Compares what is made again with `trials.csv` and, of a finished study, with `best.yaml`."""
        checks = [check("trials.csv", "made again from journal.log and curves.jsonl", self._trials)]
        if self._folder.metrics.is_file() and checks[0].ok:
            old = unchecked(self._folder.repeats)[0] > 0 and not _has_names(self._folder)
            what = "finalists and winner, made again from repeats.jsonl"
            checks.append(skipped("best.yaml", what, _OLD) if old else check("best.yaml", what, self._best))
        return checks

    def _trials(self) -> str:
        with self._errors_of_the_study():
            self.study = open_study(self._copy, open_space(self._copy), self._dataset)
            self.study.close()
            if not self._folder.metrics.is_file():
                return ""
            if not self.study.exhausted:
                return "the study has final scores, and trials that have not ended"
            return text_difference(self._folder.trials_csv, self._copy.trials_csv.read_text())

    def _best(self) -> str:
        assert self.study is not None
        with self._errors_of_the_study():
            self.rows = finalists(self.study, runs_that_ended_well(self._copy.repeats), self._on_record)
            won = winner(self.rows)
            if won is None:
                return "no finalist has a result"
            if read_best(self._folder) is None:  # raises where it is damaged
                return "it is missing"
            found, made = read_yaml(self._folder.best_yaml), best_of(self.study, won, self.rows)
            if "method" not in found:  # an earlier avtune did not write it
                made = replace(made, method=None)
            return any_difference(found, made.to_json())

    def _on_record(self, stage: str, names: Sequence[str], trials: Sequence[Trial]) -> list[Result]:
        return on_record(self._copy.repeats, trials)

    @contextmanager
    def _errors_of_the_study(self) -> Iterator[None]:
        """Errors name the files of the study, not those of the copy."""
        try:
            yield
        except UserError as error:
            raise UserError(str(error).replace(str(self._copy.root), str(self._folder.root))) from None


def _has_names(folder: StudyFolder) -> bool:
    """Whether the winner's files carry the names of their runs."""
    results = read_results(folder)
    return results is not None and results.sha256 is not None


def _finished(
    folder: StudyFolder, protocol: str, dataset: Dataset, study: Study, rows: Sequence[Repeated], *, retrain: bool
) -> list[Check]:
    """Checks `final/`.

    Args:
        protocol: of the retraining.
        study, rows: made again, see `_Replay`.
        retrain: train the winner's first seed once more.
    """
    checks = check_model(folder.final, dataset, name="final/")
    metrics_ok = all(one.ok for one in checks if one.file == "final/metrics.json")
    if not metrics_ok or not rows:
        return checks
    results, best = read_results(folder), winner(rows)
    assert results is not None
    assert best is not None
    way = retraining(study.horizon, dataset, protocol)
    seeds = [retraining_seed(study.space, index) for index in range(study.space.final.seeds)]
    trial = way.trial(best.candidate.config, seeds[0], best.epoch, len(best.curve))
    race = race_of(study.space, rows)
    told = check(
        "final/metrics.json",
        "winner, epochs and seeds",
        lambda: _told(results, best, seeds, trial, way.precision, race),
    )
    checks += [told, *check_reference(folder, study, dataset, results, protocol), _looks(folder, results)]
    return checks + check_retraining(folder, way, trial, results, train=retrain)


def _looks(folder: StudyFolder, results: Results) -> Check:
    scored, told = len(read_lines(folder.scored, repair=False)[0]), results.times_test_was_scored
    what = "looks at the test split"
    if told < scored:  # noted before it is taken
        why = f"a command was killed when {scored - told} more had been noted; the next search or evaluate tells them"
        return skipped("final/metrics.json", what, why)
    problem = "" if told == scored else f"says {told} configurations were scored; scored.jsonl has {scored}"
    return Check("final/metrics.json", what, problem)


def _told(results: Results, best: Repeated, seeds: list[int], trial: Trial, precision: str, race: Race | None) -> str:
    """Where the results differ from the winner that was made again.

    Args:
        trial: the run of its first seed.
        precision: of the retraining.
        race: of the finals.
    """
    made = {
        "trial": best.candidate.number,
        "epochs": trial.epochs,
        "seeds": seeds,
        "precision": precision,
        "validation": ValidationScore(best.mean, best.spread, best.values, results.objective is None).to_json(),
        "race": race and race.to_json(),
    }
    return first_difference(results.to_json(), made)
