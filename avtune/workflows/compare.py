"""Several studies side by side: what each found, and which of them differ.

Only studies whose test clips are the same, by the digest of their dataset, and whose scores were made alike (selected
on validation rows, or on the test split) are ranked against each other. Each such group has places of its own. The test
of a difference is that of `bench.board`: over the test clips and over the seeds, with Holm's correction over the pairs
of a group.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

import numpy as np

from avtune.core.errors import UserError
from avtune.core.objective import MAP, value_of
from avtune.core.seeds import mix
from avtune.metrics import holm, randomisation_tests, rounds_for, with_seeds
from avtune.metrics.letters import letters
from avtune.report.query_ap import clip_ap
from avtune.study.best import read_best
from avtune.study.folder import StudyFolder
from avtune.study.results import Results, read_results
from avtune.study.scores import Score
from avtune.study.status import read_status
from avtune.workflows.bench.board import LEVEL, Floats

_SEED = mix("compare")


@dataclass(frozen=True, eq=False)
class Compared:
    """A study in a comparison.

    Attributes:
        name: of its folder; its path where another has that name.
        method: that it searched.
        dataset, digest: what it was trained and scored on.
        trials: begun; epochs, seconds: of its search, as far as they count, the latter on devices.
        state: `finished`, `running` or `stopped`.
        best: best validation MAP of a trial so far, of one seed; None before the first epoch.
        validation: of the winner over the seeds of the finals; None before that.
        results: None before the end.
        place: among the studies that it can be ranked with, from 1; None for a study without results, or alone.
        group: letters: between two studies of a group that share one no difference was found; empty for none.
        objective: what its search maximises; `best` and `validation` are values of it.
    """

    name: str
    folder: StudyFolder
    method: str
    dataset: str
    digest: str
    trials: int
    epochs: int
    seconds: float
    state: str
    best: float | None
    validation: Score | None
    results: Results | None
    place: int | None = None
    group: str = ""
    objective: str = MAP.text

    @property
    def kind(self) -> tuple[str, str]:
        """What studies must share to be ranked against each other."""
        return self.digest, (self.results.label or "") if self.results is not None else ""


@dataclass(frozen=True, eq=False)
class Comparison:
    """Studies side by side.

    Attributes:
        studies: those on the same data together, best test MAP first, studies without results last.
        notes: sentences on what is not compared, and why.
    """

    studies: tuple[Compared, ...]
    notes: tuple[str, ...]


def compare(folders: Sequence[StudyFolder]) -> Comparison:
    """Reads studies and ranks those that can be ranked.

    Raises:
        UserError: a study is given twice, or a file of one is damaged.
    """
    roots = [folder.root.resolve() for folder in folders]
    twice = [folder.root for folder, root in zip(folders, roots, strict=True) if roots.count(root) > 1]
    if twice:
        raise UserError(f"{twice[0]} is given twice; name each study once")
    names = [root.name for root in roots]
    found = [
        _read(folder, root.name if names.count(root.name) == 1 else str(folder.root))
        for folder, root in zip(folders, roots, strict=True)
    ]
    notes: list[str] = []
    kinds = dict.fromkeys(one.kind for one in found if one.results is not None)
    ordered: list[Compared] = []
    for kind in kinds:
        ordered += _ranked([one for one in found if one.kind == kind and one.results is not None], notes)
    open_ones = [one for one in found if one.results is None]
    notes += [*_looks(ordered), *_unfinished(open_ones)]
    return Comparison((*ordered, *open_ones), (*_why_apart(ordered), *notes))


def _read(folder: StudyFolder, name: str) -> Compared:
    settings, status, results = folder.settings(), read_status(folder), read_results(folder)
    state = "running" if folder.search_owner() is not None else "stopped" if results is None else "finished"
    return Compared(
        name=name,
        folder=folder,
        method=status["method"],
        dataset=status["dataset"],
        digest=settings["dataset"]["digest"] if results is None else results.dataset.digest,
        trials=sum(status["states"].values()),
        epochs=status["epochs"],
        seconds=status["seconds"],
        state=state,
        best=None if status["best"] is None else value_of(status["best"]),
        objective=status.get("objective", MAP.text),
        validation=_validation(folder, results),
        results=results,
    )


def _validation(folder: StudyFolder, results: Results | None) -> Score | None:
    """Validation MAP of the winner over the seeds of the finals; it has no interval: the winner was chosen by it."""
    if results is not None and results.validation is not None:
        return Score(results.validation.mean, results.validation.seeds)
    best = read_best(folder)
    won = next((one for one in best.finalists if one.trial == best.trial), None) if best is not None else None
    return Score(won.mean, won.seeds or ()) if won is not None and won.mean is not None else None


def _ranked(studies: Sequence[Compared], notes: list[str]) -> list[Compared]:
    """The studies of one kind with their places, best first."""
    studies = sorted(studies, key=lambda one: (-_map(one), one.name))
    if len(studies) < 2:
        return studies
    found = [_clip_ap(one) for one in studies]
    groups = [""] * len(studies)
    if all(one is not None and found[0] is not None and len(one) == len(found[0]) for one in found):
        groups = _groups([one for one in found if one is not None], [_seeds(one) for one in studies])
    else:
        lacking = [one.name for one, ap in zip(studies, found, strict=True) if ap is None]
        notes.append(f"no test of differences: {', '.join(lacking) or 'a study'} lacks the scores of the single clips")
    return [
        replace(one, place=place, group=group)
        for place, (one, group) in enumerate(zip(studies, groups, strict=True), 1)
    ]


def _map(one: Compared) -> float:
    assert one.results is not None
    return one.results.test.map.mean


def _clip_ap(one: Compared) -> Floats | None:
    """Average precision of every test clip; None where there is none, or the file belongs to other scores."""
    try:
        ap = clip_ap(one.folder.query_ap.read_bytes(), "test")
    except (OSError, ValueError):
        return None
    return ap if ap is not None and np.isclose(ap.mean(), _map(one)) else None


def _seeds(one: Compared) -> Sequence[float]:
    assert one.results is not None
    return one.results.test.map.seeds


def _groups(found: Sequence[Floats], seeds: Sequence[Sequence[float]]) -> list[str]:
    """Letters of studies, given the average precision of their test clips, and MAP of their seeds."""
    pairs = list(combinations(range(len(found)), 2))
    differences = np.stack([found[one] - found[other] for one, other in pairs])
    swaps = randomisation_tests(differences, _SEED, rounds_for(len(pairs), LEVEL))
    found_p = zip(swaps, differences, pairs, strict=True)
    p_values = holm([with_seeds(float(p), each, seeds[i], seeds[j]) for p, each, (i, j) in found_p])
    differ = np.zeros((len(found), len(found)), bool)
    for (one, other), p in zip(pairs, p_values, strict=True):
        differ[one, other] = differ[other, one] = p < LEVEL
    return letters(differ)


def _why_apart(studies: Sequence[Compared]) -> list[str]:
    digests = dict.fromkeys(one.digest for one in studies)
    labels = dict.fromkeys(one.kind[1] for one in studies)
    notes = []
    if len(digests) > 1:
        said = [
            f"{digest[:12]} ({', '.join(one.name for one in studies if one.digest == digest)})" for digest in digests
        ]
        notes.append(f"studies on different data are not ranked against each other: {'; '.join(said)}")
    if len(labels) > 1:
        chosen = [one.name for one in studies if one.kind[1]]
        notes.append(f"scores selected on test are not ranked with others: {', '.join(chosen)}")
    return notes


def _looks(studies: Sequence[Compared]) -> list[str]:
    """Studies whose test split has been looked at more often than one search does."""
    found = [one for one in studies if one.results is not None and one.results.further_looks]
    names = ", ".join(f"{one.name} ({one.results.times_test_was_scored})" for one in found if one.results is not None)
    return (
        [f"scored on the test split so often, each time with another configuration, epochs or seeds: {names}"]
        if found
        else []
    )


def _unfinished(studies: Sequence[Compared]) -> list[str]:
    names = ", ".join(one.name for one in studies)
    return [f"without test scores yet, so not ranked: {names}"] if studies else []


def facts_of(one: Compared) -> dict[str, Any]:
    """What is known of a study, for JSON and CSV: one value a key."""
    results = one.results
    test = results.test.map if results is not None else None
    facts: dict[str, Any] = {"place": one.place, "study": one.name, "group": one.group or None, "state": one.state}
    facts |= {"method": one.method, "dataset": one.dataset, "dataset_digest": one.digest, "trials": one.trials}
    facts |= {"epochs": one.epochs, "search_seconds": one.seconds, "best_val_map": one.best}
    if one.objective != MAP.text:
        facts |= {"objective": one.objective, "best_val_objective": facts.pop("best_val_map")}
    name = "validation_map" if one.objective == MAP.text else "validation_objective"
    facts[name] = None if one.validation is None else one.validation.mean
    for name, score in results.test.items() if results is not None else ():
        low, high = score.interval or (None, None)
        facts |= {name: score.mean, f"{name}_low": low, f"{name}_high": high}
    for name in ("default", "untrained"):
        row = getattr(results, name) if results is not None else None
        facts[f"{name}_map"] = None if row is None else row.map.mean
    seeds = None if test is None else len(test.seeds)
    facts |= {"seeds": seeds, "selected_on": None if results is None else results.selected_on}
    facts["times_test_was_scored"] = None if results is None else results.times_test_was_scored
    facts["problems"] = "; ".join(results.problems or ()) if results is not None else None
    return facts
