"""`leaderboard.html`: a bench on one page that stands alone, without scripts and without anything from the network."""

from __future__ import annotations

import io
from typing import Any

import matplotlib
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from avtune import __version__
from avtune.report.text import short
from avtune.workflows.bench.board import LEVEL, POWER, Board, Row
from avtune.workflows.bench.leaderboard import HEADER, cells, facts, gaps, notes, size_text, title

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Leaderboard: {{ title }}</title>
<meta name="viewport" content="width=device-width">
<style>
body { font: 15px/1.5 system-ui, sans-serif; max-width: 78rem; margin: 2rem auto; padding: 0 1rem; color: #222 }
table { border-collapse: collapse; margin: 1rem 0; font-variant-numeric: tabular-nums }
th, td { padding: .2rem .8rem .2rem 0; text-align: left; border-bottom: 1px solid #ddd; vertical-align: top }
.wide { overflow-x: auto } .wide td { white-space: nowrap } .quiet { color: #666 } .differ { font-weight: 600 }
svg { max-width: 100%; height: auto }
</style></head><body>
<h1>Leaderboard: {{ title }}</h1>
{% for line in gaps %}<p><strong>{{ line }}</strong></p>
{% endfor %}<div class="wide"><table><tr>{% for name in header %}<th>{{ name }}</th>{% endfor %}</tr>
{% for row in rows %}<tr>{% for value in row %}<td>
{%- if loop.index0 == 1 %}<a href="{{ value|urlencode }}/report.html">{{ value }}</a>{% else %}{{ value }}{% endif -%}
</td>{% endfor %}</tr>
{% endfor %}</table></div>
<ul>{% for line in notes %}<li>{{ line }}</li>
{% endfor %}</ul>
{% if rows %}
<h2>Test MAP</h2>
{{ picture }}
<h2>Pairs</h2>
<p class="quiet">Holm-adjusted p-values of the paired randomisation test; in bold those below {{ level }}. Where no
difference was found, the second number is the smallest one of MAP that {{ power }} of such benches would have
found.</p>
<div class="wide"><table><tr><th></th>{% for name in methods %}<th>{{ name }}</th>{% endfor %}</tr>
{% for row in pairs %}<tr><th>{{ methods[loop.index0] }}</th>{% for p in row %}<td
{%- if p is not none and p.p < level %} class="differ"{% endif %}>
{%- if p is not none %}{{ "%.3f"|format(p.p) }}{% if p.p >= level %} ({{ p.detectable }}){% endif %}{% endif %}</td>
{%- endfor %}</tr>
{% endfor %}</table></div>
<h2>Winning configurations</h2>
<table>{% for name, config in configs %}<tr><th>{{ name }}</th><td>{{ config }}</td></tr>
{% endfor %}</table>
{% endif %}
<h2>Facts</h2>
<table>{% for name, value in facts %}<tr><th>{{ name }}</th><td>{{ value }}</td></tr>
{% endfor %}</table>
<p class="quiet">avtune {{ version }}</p>
</body></html>
"""


def leaderboard_page(board: Board) -> str:
    """The page; each method's name leads to the report of its study."""
    template = Environment(autoescape=True, undefined=StrictUndefined).from_string(_PAGE)
    return template.render(
        title=title(board.about),
        gaps=gaps(board),
        header=HEADER,
        rows=cells(board),
        notes=notes(board),
        # Safe: drawn by us from numbers and the names of methods, which matplotlib escapes.
        picture=Markup(_intervals(board)) if board.rows else "",
        level=LEVEL,
        power=f"{POWER:.0%}",
        methods=[row.method for row in board.rows],
        pairs=_pairs(board),
        configs=[(row.method, _config_text(row)) for row in board.rows],
        facts=facts(board),
        version=__version__,
    )


def _pairs(board: Board) -> list[list[dict[str, Any] | None]]:
    """p-value and detectable difference of every pair of rows [n, n]; None on the diagonal."""
    return [
        [
            None if at == place else {"p": float(p), "detectable": size_text(board.detectable[place, at])}
            for at, p in enumerate(row)
        ]
        for place, row in enumerate(board.p_values)
    ]


def _config_text(row: Row) -> str:
    return ", ".join(f"{name} {short(value)}" for name, value in row.config.items())


def _intervals(board: Board) -> str:
    """One `<svg>` element: MAP of each row tuned, by default and untrained, with the interval over the seeds. The same
    board gives the same bytes."""
    figure = Figure(figsize=(8, 1.2 + 0.3 * len(board.rows)), layout="constrained")
    FigureCanvasSVG(figure)
    axes = figure.add_subplot()
    for name, colour, marker, scores in (
        ("tuned", "#cc3311", "o", [row.results.test for row in board.rows]),
        ("default", "#4477aa", "s", [row.results.default for row in board.rows]),
        ("untrained", "#bbbbbb", "d", [row.results.untrained for row in board.rows]),
    ):
        shown = [(place, one.map) for place, one in enumerate(scores) if one is not None]
        axes.errorbar(
            [score.mean for _, score in shown],
            [place for place, _ in shown],
            xerr=[score.half_width or 0.0 for _, score in shown],
            color=colour,
            marker=marker,
            markersize=5,
            linestyle="",
            capsize=2,
            label=name,
        )
    axes.set_yticks(range(len(board.rows)), [row.method for row in board.rows], parse_math=False)
    axes.invert_yaxis()
    axes.set_xlabel("test MAP")
    axes.legend(loc="upper left", bbox_to_anchor=(1, 1), frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    return _svg(figure)


def _svg(figure: Figure) -> str:
    """Its `<svg>` element, without date and creator."""
    out = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": "avtune"}):
        figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None})
    drawn = out.getvalue()
    return drawn[drawn.index("<svg") :]
