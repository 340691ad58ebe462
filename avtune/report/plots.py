"""Pictures of curves."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from avtune.report.svg import boxes_for_letters, svg_element, svg_file

_COLOURS = ("#cc3311", "#4477aa", "#228833", "#aa7700", "#aa3377", "#555555")


def curves(
    lines: Sequence[tuple[Mapping[int, float], str]],
    highlight: Mapping[int, float] | None,
    name: str = "validation MAP",
) -> str:
    """Validation MAP, or what is maximised in its place, against epochs.

    Args:
        lines: (MAP by epoch, state) of every trial; stopped ones are drawn lighter.
        highlight: the winner's curve, drawn on top.
        name: of what is drawn.

    Returns:
        One `<svg>` element; the same curves give the same text.
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
    axes.set_ylabel(name)
    axes.spines[["top", "right"]].set_visible(False)
    return svg_element(figure)


@dataclass(frozen=True)
class Panel:
    """One of the small pictures of a comparison.

    Attributes:
        title: above it.
        quantity: what is drawn; panels that share it share their vertical axis.
        lines: (name, values [seeds, epochs]) each.
    """

    title: str
    quantity: str
    lines: Sequence[tuple[str, np.ndarray]]


def comparison(panels: Sequence[Sequence[Panel]], title: str) -> tuple[str, bytes]:
    """A grid of panels against epochs: means over the seeds, with a band from the lowest to the highest seed. A name
    has one colour throughout.

    Returns:
        The picture as SVG and as PNG.
    """
    names = list(dict.fromkeys(name for row in panels for panel in row for name, _ in panel.lines))
    rows, columns = len(panels), max(len(row) for row in panels)
    figure = Figure(figsize=(4.4 * columns, 3.2 * rows + 0.4), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(rows, columns, squeeze=False, sharey="col")
    for row, drawn in zip(grid, panels, strict=True):
        for axes, panel in zip(row, drawn, strict=True):
            for name, values in panel.lines:
                colour = _COLOURS[names.index(name) % len(_COLOURS)]
                epochs = np.arange(1, values.shape[1] + 1)
                axes.plot(epochs, values.mean(0), color=colour, label=_plain(name))
                if len(values) > 1:
                    axes.fill_between(epochs, values.min(0), values.max(0), color=colour, alpha=0.2, linewidth=0)
            axes.set_title(_plain(panel.title), fontsize="medium")
            axes.set_xlabel("epoch")
            axes.tick_params(labelleft=True)
            axes.spines[["top", "right"]].set_visible(False)
            axes.legend(frameon=False)
    figure.suptitle(_plain(title), fontsize="medium")
    png = io.BytesIO()
    with boxes_for_letters():
        figure.savefig(png, format="png", dpi=150)
    return svg_file(figure), png.getvalue()


def _plain(text: str) -> str:
    """Text that matplotlib takes for no formula."""
    return text.replace("$", r"\$")
