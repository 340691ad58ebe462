"""A region at the foot of a terminal that is drawn again and again (Rich's `Live`), and stays whole when the terminal
gets another size or something else is printed."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence

from rich.console import Console, ConsoleDimensions, ConsoleOptions, ConsoleRenderable, RenderResult
from rich.control import Control
from rich.live import Live
from rich.segment import ControlType
from rich.text import Text

from avtune.core.streams import shown_as, visible, width

_LEAST_COLUMNS, _LEAST_ROWS = 10, 2


class Region(Live):
    """Lines at the foot of standard output, which must be a terminal. What is printed meanwhile, to standard error too
    where that is the terminal, comes above them.

    Args:
        lines: for so many columns and rows; each with its style, at most as wide.
    """

    def __init__(self, lines: Callable[[int, int], Sequence[tuple[str, str]]]) -> None:
        self._of = lines
        self._drawn: list[int] = []  # widths of the lines that are on the terminal now
        plain = bool(os.environ.get("NO_COLOR"))
        console = _Console(
            file=sys.stdout, color_system=None if plain else "auto", highlight=False, markup=False, emoji=False
        )
        super().__init__(
            console=console,
            get_renderable=lambda: _Lines(self),
            transient=True,
            vertical_overflow="crop",
            redirect_stderr=sys.stderr is not None and sys.stderr.isatty(),
        )

    def made(self) -> list[Text]:
        """The lines for the terminal as it is now; they are taken as drawn."""
        columns = max(_LEAST_COLUMNS, self.console.width - 1)  # the last column would wrap on some
        rows = max(_LEAST_ROWS, self.console.height - 1)
        lines = [
            Text(shown_as(_on_one_line(line), self.console.file), style, no_wrap=True, end="")
            for line, style in self._of(columns, rows)[:rows]
        ]
        for line in lines:
            line.truncate(columns, overflow="crop")
        self._drawn = [line.cell_len for line in lines]
        return lines

    def process_renderables(self, renderables: list[ConsoleRenderable]) -> list[ConsoleRenderable]:
        """As `Live` does. Where the terminal has become narrower and has wrapped the lines that are there, their
        further rows are taken away first."""
        further = self._further_rows()
        back = [(ControlType.ERASE_IN_LINE, 2), (ControlType.CURSOR_UP, 1)] * further
        made = super().process_renderables(renderables)
        return [Control(*back), *made] if back else made

    def _further_rows(self) -> int:
        columns = width(self.console.file)
        if columns is None or not _wraps_again():
            return 0
        return sum(max(0, -(-length // columns) - 1) for length in self._drawn)


class _Console(Console):
    """As wide and as high as the terminal that it writes to is at that moment; Rich asks standard input first."""

    @property
    def size(self) -> ConsoleDimensions:
        try:
            columns, rows = os.get_terminal_size(self.file.fileno())
        except (OSError, ValueError):  # it has gone
            columns, rows = 0, 0
        return ConsoleDimensions(columns or 80, rows or 25)

    @size.setter
    def size(self, new_size: tuple[int, int]) -> None:
        raise AttributeError(f"the terminal has its own size, whoever wants {new_size}")


def _on_one_line(text: str) -> str:
    return visible(text).replace("\n", "\\n").replace("\t", " ")


class _Lines:
    """What a region holds, made when it is drawn."""

    def __init__(self, region: Region) -> None:
        self._region = region

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        lines = self._region.made()
        if lines:
            yield Text("\n", end="").join(lines)


def _wraps_again() -> bool:
    """Whether this terminal wraps lines again that have become too wide for it, as today's do; Linux's console, xterm
    and GNU Screen cut them off."""
    term = os.environ.get("TERM", "")
    cuts_off = term == "linux" or "XTERM_VERSION" in os.environ
    return not cuts_off and not (term.startswith("screen") and "TMUX" not in os.environ)
