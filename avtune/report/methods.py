"""What `avtune methods` prints."""

from __future__ import annotations

import re

from avtune.methods import METHODS, get, hypers_of
from avtune.report.text import short, table
from avtune.space.axis import Axis
from avtune.space.files import load, names

_LEGEND = (
    "exact: as in the authors' public code or the textbook; stated: as the paper's text says; reading: our",
    "interpretation where the paper leaves room. `avtune methods NAME` shows one method's hyper-parameters.",
)


def certainty(source: str) -> str:
    """How sure a method's definition is, from its `source`: `exact`, `stated`, `reading`, or several of them."""
    return ", ".join(word for word in ("exact", "stated", "reading") if re.search(rf"\b{word}\b", source))


def overview() -> list[str]:
    """Every method in a line."""
    rows = [[name, kind.summary, certainty(kind.source)] for name, kind in METHODS.items()]
    one = [name for name, kind in METHODS.items() if not kind.multi_label]
    several = f"all but {', '.join(one)} learn" if one else "all learn"
    return [*table(["method", "", "certainty"], rows), "", *_LEGEND, f"Of clips of several labels {several} too."]


def details(name: str) -> list[str]:
    """One method: its source, and its hyper-parameters with defaults, legal values and what its own space searches.

    Raises:
        UserError: no method has that name.
    """
    kind = get(name)
    searched = load(name, hypers_of=hypers_of, method_names=METHODS).axes if name in names() else ()
    axes = {axis.name: axis for axis in searched}
    source, _, how = kind.source.partition("; ")
    rows = [
        [
            hyper.name,
            short(hyper.default),
            hyper.range_text,
            _searched(axes[hyper.name]) if hyper.name in axes else "",
            "static" if hyper.static else "",
            "off" if hyper.extra else "",
            hyper.doc,
        ]
        for hyper in kind.hypers
    ]
    return [
        f"{name}: {kind.summary}",
        f"source     {source}",
        f"certainty  {how or certainty(source) or 'not said'}",
        f"labels     {'one a clip, or several' if kind.multi_label else 'one a clip'}",
        "",
        *table(["hyper-parameter", "default", "legal", "searched" if axes else "", "", "", ""], rows),
        "",
        "static: changes shapes or the code path; trials that differ in it do not share tensors",
        *(
            ["off: a choice of training that is at its default, off, unless a space names it"]
            if any(hyper.extra for hyper in kind.hypers)
            else []
        ),
        *([f"searched: by the space {name}; avtune space show {name}"] if axes else []),
    ]


def _searched(axis: Axis) -> str:
    if axis.kind == "choice":
        return " ".join(map(short, axis.values))
    return f"{short(axis.low)} to {short(axis.high)}" + (", log" if axis.log else "")
