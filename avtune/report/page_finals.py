"""The finals on the report page: what was found, in sentences, and how values change from the search to the test."""

from __future__ import annotations

from typing import TypedDict

import numpy as np
import numpy.typing as npt

from avtune.core.objective import label
from avtune.core.seeds import mix
from avtune.metrics import holm, randomisation_tests, with_seeds
from avtune.report.query_ap import clip_ap
from avtune.report.text import over_seeds_text, p_text, score_text, seeds_text, tested_text
from avtune.study.best import Best, Finalist
from avtune.study.folder import StudyFolder
from avtune.study.results import Results
from avtune.study.scores import Scores
from avtune.study.study import Study
from avtune.study.summary import failure_of_all

LEVEL = 0.05
_SEED = mix("report")


class Fate(TypedDict):
    """A finalist from the search to the test split.

    Attributes:
        name: `trial 3`, or `default`.
        search: its validation MAP in the search, the best of its epochs; None where it was no trial.
        seeds: validation MAP of each fresh seed; None where they were not kept.
        mean, sd: over the fresh seeds; None where one failed, and the latter for one seed.
        test, test_interval: MAP on the test split and its 95 % interval; None for what was not scored there.
        winner, default: whether it is.
        dropped: over how many of the seeds it was run, where it could not win any more; else None.
    """

    name: str
    search: float | None
    seeds: list[float] | None
    mean: float | None
    sd: float | None
    test: float | None
    test_interval: tuple[float, float] | None
    winner: bool
    default: bool
    dropped: str | None


class Verdict(TypedDict):
    """What the study found.

    Attributes:
        sentence: the first one, which stands alone.
        more: further sentences.
        p_values: Holm-adjusted, by what the winner is compared with.
    """

    sentence: str
    more: list[str]
    p_values: dict[str, float]


def fates(study: Study, best: Best | None, results: Results | None) -> list[Fate]:
    """Every finalist, best first."""
    return [] if best is None else [_fate(study, row, best, results) for row in best.finalists]


def _fate(study: Study, row: Finalist, best: Best, results: Results | None) -> Fate:
    winner = row.trial == best.trial
    known = row.trial is not None and 0 <= row.trial < len(study.records)
    value = study.records[row.trial].best_value if known and row.trial is not None else None
    scores = None if results is None else results.test if winner else results.default if row.is_default else None
    return {
        "name": "default" if row.trial is None else f"trial {row.trial}",
        "search": None if value is None else round(value, 6),
        "seeds": None if row.seeds is None else [round(one, 6) for one in row.seeds],
        "mean": None if row.mean is None else round(row.mean, 6),
        "sd": None if row.spread is None else round(row.spread, 6),
        "test": None if scores is None else round(scores.map.mean, 6),
        "test_interval": None if scores is None else scores.map.interval,
        "winner": winner,
        "default": bool(row.is_default),
        "dropped": seeds_text(row, results.race) if row.dropped and results is not None and results.race else None,
    }


def verdict(study: Study, best: Best | None, results: Results | None) -> Verdict:
    """What is known now."""
    if results is None:
        return _so_far(study, best)
    number = "the configuration" if results.trial is None else f"trial {results.trial}"
    is_default = results.default_is_winner is True
    subject = f"The default configuration ({number}) is" if is_default else f"{number[0].upper()}{number[1:]} is"
    label = f" ({results.label})" if results.label is not None else ""
    clips = f" on {results.dataset.test_clips} test clips" if results.dataset.test_clips is not None else ""
    sentence = (
        f"{subject} the {'winner' if results.searched else 'configuration chosen by hand'}: "
        f"test MAP{label} {score_text(results.test.map)} ({over_seeds_text(len(results.seeds))}){clips}."
    )
    found, damage = _tests(study.folder, results)
    more = [
        *_compared("the default configuration", None if is_default else results.default, results, found),
        *(["No other finalist was better than the default configuration on validation."] if is_default else []),
        *_compared(_reference(results), results.reference, results, found),
        *_compared("the untrained network", results.untrained, results, found),
        *([f"{tested_text(len(results.seeds))}."] if found else []),
        *([] if results.race is None else [f"The finals were {results.race.words}."]),
        *damage,
    ]
    return {"sentence": sentence, "more": more, "p_values": found}


def _so_far(study: Study, best: Best | None) -> Verdict:
    """Before the test scores."""
    top = study.best
    ended = sum(record.state != "RUNNING" for record in study.records)
    if study.exhausted and (failed := failure_of_all(study.records, len(study.records))) is not None:
        more = ["Once the cause is mended, the same command with --retry-failed trains them again."]
        return {"sentence": f"Every trial failed; the first: {failed}", "more": more, "p_values": {}}
    state = "All trials have ended" if study.exhausted else f"{ended} of {study.space.search.trials} trials have ended"
    if top is None or top.best_value is None:
        return {"sentence": f"{state}; there is no result yet.", "more": [], "p_values": {}}
    leader = "the winner" if best is not None else "the best so far"
    number = top.number if best is None else best.trial
    value = study.records[number].best_value
    name = label(study.space.search.objective, "validation")
    said = "" if value is None else f", {name} {value:.4f} in the search"
    more = ["The test split has not been scored yet. The best value of many is higher than what it repeats."]
    return {"sentence": f"{state}; {leader} is trial {number}{said}.", "more": more, "p_values": {}}


def _compared(what: str, scores: Scores | None, results: Results, found: dict[str, float]) -> list[str]:
    if scores is None:
        return []
    gain = results.test.map.mean - scores.map.mean
    sentence = f"{_capital(what)} scores {score_text(scores.map)}, {abs(gain):.4f} {'less' if gain >= 0 else 'more'}"
    p = found.get(what)
    if p is None:
        return [f"{sentence}."]
    heard = "a difference was found" if p < LEVEL else "no difference was found"
    return [f"{sentence}: {heard} (paired randomisation test over the test clips, p {_p_text(p)})."]


def _reference(results: Results) -> str:
    return f"the reference ({results.reference_method}, not tuned)"


def _p_text(p: float) -> str:
    return "below 0.001" if p < 0.001 else f"= {p_text(p)}"


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]


def _tests(folder: StudyFolder, results: Results) -> tuple[dict[str, float], list[str]]:
    """Holm-adjusted p-values of the winner against what else was scored, and what is wrong with the file that they come
    from."""
    others = {"the default configuration": "default", "the untrained network": "untrained"}
    others |= {_reference(results): "reference"} if results.reference is not None else {}
    if not folder.query_ap.is_file():
        return {}, []
    try:
        data = folder.query_ap.read_bytes()
        winner = clip_ap(data, "test")
        given = {what: clip_ap(data, name) for what, name in others.items()}
    except (OSError, ValueError) as error:
        return {}, [f"Whether there are differences cannot be said: {folder.query_ap.name} is damaged ({error})."]
    if winner is None or abs(float(winner.mean()) - results.test.map.mean) > 1e-6:
        return {}, [f"Whether there are differences cannot be said: {folder.query_ap.name} is of other scores."]
    known = {what: ap for what, ap in given.items() if ap is not None and ap.shape == winner.shape}
    if not known:
        return {}, []
    raw = [_p_value(winner - ap, results, getattr(results, others[what])) for what, ap in known.items()]
    return dict(zip(known, map(float, holm(raw)), strict=True)), []


def _p_value(difference: npt.NDArray[np.float64], results: Results, other: Scores | None) -> float:
    """Of the winner against what has other scores: over the clips, and over the seeds where there are several."""
    swaps = float(randomisation_tests(difference[None], _SEED)[0])
    return swaps if other is None else with_seeds(swaps, difference, results.test.map.seeds, other.map.seeds)
