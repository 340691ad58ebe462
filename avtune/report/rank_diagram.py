"""The critical-difference diagram of Demšar (2006): mean ranks on an axis, and bars over methods that do not differ."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import escape
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import TextPath

from avtune.core.streams import visible
from avtune.report.svg import boxes_for_letters, svg_element

TITLE = "Critical-difference diagram"
_INK = "#1c2126"  # what a page replaces by the colour of its text
_BAR = "#3366aa"
_AXIS = 4.6  # inches, as all of these
_MARGIN, _GAP = 0.1, 0.12
_ROW, _LEVEL = 0.21, 0.11
_SIZE = 9.5  # points


@dataclass(frozen=True)
class RankDiagram:
    """What is drawn.

    Attributes:
        names: of the methods [k], best mean rank first.
        ranks: their mean ranks [k].
        critical: the critical difference.
        groups: places of methods between which no difference was found; those of one are not drawn.
        alt: what is seen, in words.
    """

    names: tuple[str, ...]
    ranks: tuple[float, ...]
    critical: float
    groups: tuple[tuple[int, ...], ...]
    alt: str


def rank_diagram(of: RankDiagram, *, on_page: bool = False) -> str:
    """One `<svg>` element: the axis of ranks, 1 on the left; below it the bars of the groups; the better half of the
    methods on the left, the other on the right, each with its mean rank; above, the critical difference. The same
    diagram gives the same bytes. A letter that the font lacks is drawn as a box.

    Args:
        on_page: without a ground, in the colour of the text around it.
    """
    with boxes_for_letters():  # the widths of names are asked, too
        return _drawn(of, on_page=on_page)


def _drawn(of: RankDiagram, *, on_page: bool) -> str:
    bars = _levels([group for group in of.groups if len(group) > 1])
    left = (len(of.names) + 1) // 2
    labels = [f"{name}  {rank:.2f}" if at < left else f"{rank:.2f}  {name}"
              for at, (name, rank) in enumerate(zip(map(visible, of.names), of.ranks, strict=True))]  # fmt: skip
    wide = [_width(label) for label in labels]
    start = _MARGIN + max(wide[:left]) + 2 * _GAP
    below = 0.95 + _LEVEL * (1 + max(bars, default=-1) + 1)
    height = below + _ROW * left + _MARGIN
    axes = _canvas(start + _AXIS + 2 * _GAP + max(wide[left:]) + _MARGIN, height)

    def at(rank: float) -> float:
        return start + _AXIS * (rank - 1) / (len(of.names) - 1)

    _axis(axes, len(of.names), at)
    _critical(axes, of.critical, len(of.names), at)
    for group, level in zip([group for group in of.groups if len(group) > 1], bars, strict=True):
        y = 0.95 + _LEVEL * (level + 0.6)
        ends = [at(of.ranks[group[0]]) - 0.04, at(of.ranks[group[-1]]) + 0.04]
        axes.plot(ends, [y, y], color=_BAR, linewidth=3.5, solid_capstyle="butt")
    for place, label in enumerate(labels):
        better = place < left
        y = below + _ROW * ((place if better else len(labels) - 1 - place) + 0.5)
        x = at(of.ranks[place])
        end = start - _GAP if better else start + _AXIS + _GAP
        axes.plot([x, x, end], [0.8, y, y], color=_INK, linewidth=0.8, solid_joinstyle="miter")
        side = {"ha": "right" if better else "left", "va": "center_baseline", "fontsize": _SIZE, "color": _INK}
        axes.text(end - 0.05 if better else end + 0.05, y, label, parse_math=False, **side)
    return _svg(axes.figure, of.alt, on_page=on_page)


def _axis(axes: Any, methods: int, at: Any) -> None:
    axes.plot([at(1), at(methods)], [0.8, 0.8], color=_INK, linewidth=1.2)
    step = max(1, -(-(methods - 1) // 10))  # at most eleven ticks with numbers
    numbered = [rank for rank in range(1, methods + 1) if (rank - 1) % step == 0]
    for rank in range(1, methods + 1):
        top = 0.7 if rank in numbered else 0.74
        axes.plot([at(rank)] * 2, [top, 0.8], color=_INK, linewidth=1.2)
    for rank in numbered:
        axes.text(at(rank), 0.66, str(rank), ha="center", va="bottom", fontsize=_SIZE, color=_INK)


def _critical(axes: Any, critical: float, methods: int, at: Any) -> None:
    """The bar of the critical difference; one that is longer than the axis ends in an arrow."""
    longer = critical > methods - 1
    ends = [at(1), at(methods if longer else 1 + critical)]
    axes.plot(ends, [0.34, 0.34], color=_INK, linewidth=1.2)
    for end in ends[: 1 if longer else 2]:
        axes.plot([end, end], [0.28, 0.4], color=_INK, linewidth=1.2)
    if longer:
        axes.plot([ends[1] - 0.08, ends[1], ends[1] - 0.08], [0.28, 0.34, 0.4], color=_INK, linewidth=1.2)
    text = f"critical difference {critical:.2f}" + ", longer than the axis" * longer
    axes.text(at(1), 0.22, text, ha="left", va="bottom", fontsize=_SIZE, color=_INK)


def _levels(groups: Sequence[Sequence[int]]) -> list[int]:
    """A level for each bar, so that no two on one level touch."""
    ends: list[int] = []  # the last place of what is on each level
    found = []
    for group in groups:
        level = next((at for at, end in enumerate(ends) if end < group[0]), len(ends))
        ends[level : level + 1] = [group[-1]]
        found.append(level)
    return found


def _width(text: str) -> float:
    """Inches of a text."""
    drawn = TextPath((0, 0), text, size=_SIZE, prop=FontProperties(), usetex=False)
    return float(drawn.get_extents().width) / 72 if len(drawn.vertices) else 0.0


def _canvas(width: float, height: float) -> Any:
    """Axes in inches from the upper left corner, over the whole figure."""
    figure = Figure(figsize=(width, height))
    FigureCanvasSVG(figure)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    axes.set_xlim(0, width)
    axes.set_ylim(height, 0)
    return axes


def _svg(figure: Figure, alt: str, *, on_page: bool) -> str:
    """Its `<svg>` element with a title and a description, without date and creator."""
    head, rest = svg_element(figure, transparent=on_page).split(">", 1)
    drawn = f"{head}>\n <title>{TITLE}</title>\n <desc>{escape(alt)}</desc>{rest}"
    return drawn.replace(_INK, "currentColor") if on_page else drawn
