"""Pictures as SVG text."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence

from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure


def curves(lines: Sequence[tuple[Mapping[int, float], str]], highlight: Mapping[int, float] | None) -> str:
    """Validation MAP against epochs.

    Args:
        lines: (MAP by epoch, state) of every trial; stopped ones are drawn lighter.
        highlight: the winner's curve, drawn on top.

    Returns:
        One `<svg>` element.
    """
    figure = Figure(figsize=(8, 3.6), layout="constrained")
    FigureCanvasSVG(figure)
    axes = figure.add_subplot()
    for curve, state in lines:
        colour = "#4477aa" if state == "COMPLETE" else "#bbbbbb"
        axes.plot(list(curve), list(curve.values()), color=colour, linewidth=0.8, marker="." if len(curve) == 1 else "")
    if highlight:
        axes.plot(list(highlight), list(highlight.values()), color="#cc3311", linewidth=2, label="winner")
        axes.legend(loc="lower right", frameon=False)
    axes.set_xlabel("epoch")
    axes.set_ylabel("validation MAP")
    axes.spines[["top", "right"]].set_visible(False)
    out = io.StringIO()
    figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None})
    text = out.getvalue()
    return text[text.index("<svg") :]
