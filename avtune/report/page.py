"""`report.html`: one page that stands alone, without scripts and without anything from the network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from avtune import __version__
from avtune.report.plots import curves
from avtune.report.text import score_rows, score_text, short, still_rises, ties_text
from avtune.study.best import Best, Finalist
from avtune.study.record import Record
from avtune.study.results import Results
from avtune.study.study import Study

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{{ name }}</title>
<meta name="viewport" content="width=device-width">
<style>
body { font: 15px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; color: #222 }
table { border-collapse: collapse; margin: 1rem 0; font-variant-numeric: tabular-nums }
th, td { padding: .2rem .8rem .2rem 0; text-align: left; border-bottom: 1px solid #ddd }
.wide { overflow-x: auto } h1 { margin-bottom: 0 } .quiet { color: #666 } svg { max-width: 100%; height: auto }
</style></head><body>
<h1>{{ name }}</h1>
<p class="quiet">{{ method }}; {{ counts }}; avtune {{ version }}</p>
{% if rows %}
<h2>Test scores{{ label }}</h2>
{% for problem in problems %}<p><strong>Problem: {{ problem }}.</strong></p>
{% endfor -%}
<table><tr><th></th><th>map</th><th>A to V</th><th>V to A</th><th>map_running</th></tr>
{% for row in rows %}<tr><td>{{ row.name }}</td>{% for value in row.scores %}<td>{{ value }}</td>{% endfor %}</tr>
{% endfor %}</table>
<p class="quiet">Mean over {{ seeds }} seeds with the 95 % interval. {{ scored }} configuration(s) of this study
have been scored on the test split, by retrained models; configurations were compared on validation rows of
the training split.{% if label %} The epoch of each retrained model was selected on test, as published tables do:
compare these scores with such tables only.{% endif %}
map_running averages AP@k over every cut-off and always reads higher.{% if ties %} {{ ties }}.{% endif %}</p>
{% endif %}
{% for sentence in notes %}<p><strong>Note:</strong> {{ sentence }}</p>
{% endfor %}
{% if finalists %}
<h2>Finalists</h2>
<table><tr><th>trial</th><th>epoch</th><th>validation MAP, mean</th><th>sd</th></tr>
{% for row in finalists %}<tr><td>{{ row.trial }}</td><td>{{ row.epoch }}</td>
<td>{{ row.val_map_mean if row.val_map_mean is not none else "failed" }}</td>
<td>{{ row.val_map_sd if row.val_map_sd is not none else "" }}</td></tr>
{% endfor %}</table>
{% endif %}
<h2>Curves</h2>
{{ picture }}
<h2>Trials</h2>
<div class="wide"><table><tr>{% for name in header %}<th>{{ name }}</th>{% endfor %}</tr>
{% for row in trials %}<tr>{% for value in row %}<td>{{ value }}</td>{% endfor %}</tr>
{% endfor %}</table></div>
{% if hidden %}<p class="quiet">The {{ hidden }} trials with the lowest validation MAP are in trials.csv.</p>{% endif %}
</body></html>
"""
_MOST_ROWS = 200


def page(study: Study, results: Results | None, best: Best | None) -> str:
    """The report of a study.

    Args:
        study: its trials, as far as they are.
        results: what `final/metrics.json` holds, None before the end.
        best: what `best.yaml` holds, None before the end.
    """
    records = sorted(study.records, key=lambda r: (-(r.best_value if r.best_value is not None else -1.0), r.number))
    shown = records[:_MOST_ROWS]
    axes = [axis.name for axis in study.space.axes]
    winner = study.records[best.trial].values if best else None
    template = Environment(autoescape=True, undefined=StrictUndefined).from_string(_PAGE)
    return template.render(
        name=study.folder.root.name,
        method=study.space.method,
        version=__version__,
        counts=f"{len(study.records)} trials, {study.count('PRUNED')} stopped early, {study.count('FAIL')} failed",
        **_scores(results),
        finalists=[_finalist(row) for row in best.finalists] if best else [],
        # Safe: drawn by us from numbers.
        picture=Markup(curves([(r.values, r.state) for r in shown if r.values], winner)),
        header=["trial", "state", "epochs", "best epoch", "val MAP", *axes],
        trials=[_trial(record, axes) for record in shown],
        hidden=len(records) - len(shown),
    )


def _scores(results: Results | None) -> dict[str, Any]:
    """What the page says of test scores; empty before the end."""
    if results is None:
        return {"rows": [], "label": "", "seeds": 0, "scored": 0, "problems": [], "ties": "", "notes": []}
    return {
        "rows": [{"name": name, "scores": [score_text(one) for one in row.shown]} for name, row in score_rows(results)],
        "label": f", {results.label}" if results.label is not None else "",
        "seeds": len(results.seeds),
        "scored": results.times_test_was_scored,
        "problems": results.problems or (),
        "ties": ties_text(results.tied_queries) if results.tied_queries is not None else "",
        "notes": still_rises(results),
    }


def _finalist(row: Finalist) -> dict[str, Any]:
    return {
        "trial": row.called,
        "epoch": row.epoch,
        "val_map_mean": None if row.mean is None else round(row.mean, 4),
        "val_map_sd": None if row.sd is None else round(row.sd, 4),
    }


def _trial(record: Record, axes: Sequence[str]) -> list[Any]:
    """The cells of a trial in the table; of one without a validation MAP, why."""
    return [
        record.number,
        record.state,
        record.values.last,
        record.best_epoch if record.best_epoch is not None else "",
        f"{record.best_value:.4f}" if record.best_value is not None else record.reason,
        *(short(record.trial.config[name]) for name in axes),
    ]
