"""All that the charts of the report page show, as JSON: computed here, drawn by `html/*.js`."""

from __future__ import annotations

import json
from typing import TypedDict

from avtune.core.objective import label
from avtune.report.page_classes import Classes, classes
from avtune.report.page_finals import Fate, Verdict, fates, verdict
from avtune.report.page_importance import Importance, importance
from avtune.report.page_rungs import Rung, rungs
from avtune.report.page_search import Bought, bought
from avtune.report.page_times import Cost, Timeline, Times, cost, timeline
from avtune.report.page_trials import Curves, Trials, curves, trials
from avtune.study.best import Best
from avtune.study.by_class import read_by_class
from avtune.study.results import Results
from avtune.study.run_lines import read_runs
from avtune.study.study import Study


class Payload(TypedDict):
    """What the page's scripts are given.

    Attributes:
        winner: its number, or that of the best trial so far; None before the first result.
        finished: the test split has been scored.
        value_name: what the values on validation rows are called.
    """

    winner: int | None
    finished: bool
    value_name: str
    verdict: Verdict
    trials: Trials
    curves: Curves
    bought: Bought
    rungs: list[Rung]
    importance: Importance | None
    fates: list[Fate]
    classes: Classes | None
    timeline: Timeline | None
    cost: Cost


def payload(study: Study, results: Results | None, best: Best | None, times: Times) -> Payload:
    """Of a study as far as it is.

    Args:
        results: what `final/metrics.json` holds, None before the end.
        best: what `best.yaml` holds, None before the end.
        times: `Study.times`.
    """
    top = study.best
    return {
        "winner": best.trial if best is not None else None if top is None else top.number,
        "finished": results is not None,
        "value_name": label(study.space.search.objective, "validation"),
        "verdict": verdict(study, best, results),
        "trials": trials(study.records, study.space.axes, study.space.fixed),
        "curves": curves(study.ranking()),
        "bought": bought(study.records, study.space, times, study.known),
        "rungs": rungs(study.records, study.space.early_stopping.factor),
        "importance": importance(study.records, study.space),
        "fates": fates(study, best, results),
        "classes": None if results is None else classes(read_by_class(study.folder), results.dataset.views),
        "timeline": timeline(
            times, study.records, deterministic=study.deterministic, runs=read_runs(study.folder.repeats, repair=False)
        ),
        "cost": cost(study.records, times, study.folder),
    }


def as_script(value: object) -> str:
    """JSON that can stand inside a `<script>` element: nothing in it ends the element or begins a comment."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False, ensure_ascii=True)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
