"""A figure of matplotlib's as SVG."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from matplotlib import rc_context
from matplotlib.figure import Figure


def svg_file(figure: Figure, *, transparent: bool = False) -> str:
    """The text of an SVG file, without date and creator. The same figure gives the same text: without a salt of ours,
    matplotlib draws the names of its marks anew."""
    out = io.StringIO()
    with rc_context({"svg.hashsalt": "avtune"}), boxes_for_letters():
        figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None}, transparent=transparent)
    return out.getvalue()


def svg_element(figure: Figure, *, transparent: bool = False) -> str:
    """The one `<svg>` element of `svg_file`, for a page."""
    text = svg_file(figure, transparent=transparent)
    return text[text.index("<svg") :]


@contextmanager
def boxes_for_letters() -> Iterator[None]:
    """In the block a letter that the font lacks is drawn as a box without a warning: names of methods, studies and
    datasets are the user's."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font")
        yield
