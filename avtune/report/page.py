"""`report.html`: one page that stands alone. What it loads is inside it, and it takes nothing from the network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from avtune import __version__
from avtune.core.objective import label
from avtune.report.page_facts import facts
from avtune.report.page_payload import as_script, payload
from avtune.report.page_sections import sections
from avtune.report.page_trials import WHOLE, thinned
from avtune.report.plots import curves
from avtune.report.text import score_header, score_rows, score_text, short, still_rises, ties_text
from avtune.study.best import Best, Finalist
from avtune.study.record import Record
from avtune.study.results import Results
from avtune.study.study import Study

_HTML = Path(__file__).parent / "html"
_SCRIPTS = (
    "core",
    "chart_history",
    "chart_curves",
    "chart_configurations",
    "chart_importance",
    "chart_bought",
    "chart_rungs",
    "chart_finals",
    "chart_classes",
    "chart_timeline",
    "table",
)
_MOST_ROWS = 50  # of the table without scripts; with them, every trial is in it
_PICTURE_POINTS = 100


def page(study: Study, results: Results | None, best: Best | None) -> str:
    """The report of a study. The same files give the same page.

    Args:
        study: its trials, as far as they are.
        results: what `final/metrics.json` holds, None before the end.
        best: what `best.yaml` holds, None before the end.
    """
    records = sorted(study.records, key=_place)
    shown = records[:_MOST_ROWS]
    axes = [axis.name for axis in study.space.axes]
    times = study.times()
    found = payload(study, results, best, times)
    template = Environment(autoescape=True, undefined=StrictUndefined).from_string(_file("page.html"))
    return template.render(
        name=study.folder.root.name,
        method=study.space.method,
        version=__version__,
        counts=f"{len(study.records)} trials, {study.count('PRUNED')} stopped early, {study.count('FAIL')} failed",
        verdict=found["verdict"],
        facts=facts(study, times),
        **_scores(results),
        finalists=[_finalist(row) for row in best.finalists] if best else [],
        value_name=found["value_name"],
        sections=sections(found),
        # Safe: drawn by us from numbers.
        picture=Markup(_picture(study, best)),
        header=["trial", "state", "epochs", "best epoch", label(study.space.search.objective), *axes],
        trials=[_trial(record, axes) for record in shown],
        hidden=len(records) - len(shown),
        # Safe: files of ours, and JSON in which no character can end the element that it stands in.
        style=Markup(_file("style.css")),
        payload=Markup(as_script(found)),
        echarts=Markup(_file("echarts/echarts.min.js")),
        script=Markup("\n".join(_file(f"{name}.js") for name in _SCRIPTS)),
    )


@cache
def _file(name: str) -> str:
    return (_HTML / name).read_text(encoding="utf-8")


def _place(record: Record) -> tuple[bool, float, int]:
    """Sorts trials: best first, those without a value and then those that failed last."""
    value = -1.0 if record.best_value is None else record.best_value
    return record.state == "FAIL", -value, record.number


def _picture(study: Study, best: Best | None) -> str:
    """The curves of the best trials as SVG, for paper and for readers without scripts."""
    ranked = study.ranking()[:WHOLE]
    winner = study.records[best.trial] if best else None
    lines = [(_points(one), one.state) for one in ranked]
    name = label(study.space.search.objective, "validation")
    return curves(lines, None if winner is None else _points(winner), name)


def _points(record: Record) -> Mapping[int, float]:
    return {epoch: record.values[epoch] for epoch in thinned(record, _PICTURE_POINTS)}


def _scores(results: Results | None) -> dict[str, Any]:
    """What the page says of test scores; empty before the end."""
    if results is None:
        return {
            "rows": [],
            "label": "",
            "seeds": 0,
            "scored": 0,
            "problems": [],
            "ties": "",
            "notes": [],
            "columns": [],
        }
    return {
        "rows": [{"name": name, "scores": [score_text(one) for one in row.shown]} for name, row in score_rows(results)],
        "label": f", {results.label}" if results.label is not None else "",
        "seeds": len(results.seeds),
        "scored": results.times_test_was_scored,
        "problems": results.problems or (),
        "ties": ties_text(results.tied_queries) if results.tied_queries is not None else "",
        "notes": still_rises(results),
        "columns": score_header(results),
    }


def _finalist(row: Finalist) -> dict[str, Any]:
    return {
        "trial": f"{row.called} (default)" if row.is_default and row.trial is not None else row.called,
        "epoch": row.epoch,
        "val_map_mean": None if row.mean is None else round(row.mean, 4),
        "val_map_sd": None if row.spread is None else round(row.spread, 4),
    }


def _trial(record: Record, axes: Sequence[str]) -> list[Any]:
    """The cells of a trial in the table; of one that failed, why, in the place of a value that does not count."""
    value = "" if record.best_value is None else f"{record.best_value:.4f}"
    return [
        record.number,
        record.state,
        record.values.last,
        record.best_epoch if record.best_epoch is not None else "",
        record.reason if record.state == "FAIL" else value,
        *(short(record.trial.config.get(name, "")) for name in axes),
    ]
