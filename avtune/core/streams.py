"""Text on standard output and standard error, as wide as the terminal and in the letters that it has."""

from __future__ import annotations

import codecs
import io
import os
import re
import sys
import textwrap
from typing import IO, Any

_ASCII = {
    "±": "+/-",
    "…": "...",
    "→": "->",
    "–": "-",
    "—": "-",
    "×": "x",
    "≥": ">=",
    "≤": "<=",
    "·": "-",
    "\N{NO-BREAK SPACE}": " ",
}
"""How signs of ours are written where an encoding has only ASCII."""
_ERRORS = "avtune.ascii"
_LEAST_WIDTH = 20
_LABEL = re.compile(r"(?:note: |problem: |[A-Za-z]+ {2,})(?=\S)")


def show_everything() -> None:
    """What a stream's encoding cannot show is printed in ASCII from now on, by whatever prints there: an encoding is no
    reason to end a search."""
    codecs.register_error(_ERRORS, _in_ascii)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream.errors in ("strict", "surrogateescape"):
            stream.reconfigure(errors=_ERRORS)


def _in_ascii(error: UnicodeError) -> tuple[str | bytes, int]:
    """Signs of ours in ASCII, all else as an escape."""
    if isinstance(error, UnicodeEncodeError):
        known = _ASCII.get(error.object[error.start])
        if known is not None:
            return known, error.start + 1
        return codecs.backslashreplace_errors(
            UnicodeEncodeError(error.encoding, error.object, error.start, error.start + 1, error.reason)
        )
    raise error


def shown_as(text: str, stream: IO[Any] | None = None) -> str:
    """The text as the stream's encoding will show it, so that columns of a table are as wide as they look."""
    encoding = getattr(stream or sys.stdout, "encoding", None) or "utf-8"
    try:
        text.encode(encoding)
    except (UnicodeEncodeError, LookupError):
        return "".join(_ASCII.get(char, char) for char in text)
    return text


def say(*lines: str) -> None:
    """Prints lines to standard output at once. On a terminal, lines that are wider are folded between words."""
    columns = width()
    for line in lines:
        for part in folded(visible(line), columns):
            print(part, flush=True)


def error(message: str) -> None:
    """Prints an error to standard error, its first line marked."""
    columns = width(sys.stderr)
    for line in f"avtune: {visible(message)}".split("\n"):
        for part in folded(line, columns):
            print(part, file=sys.stderr, flush=True)


def width(stream: IO[Any] | None = None) -> int | None:
    """Columns of the terminal that a stream, or else standard output, is written to; None where it is none."""
    try:
        out = sys.stdout if stream is None else stream
        columns = os.get_terminal_size(out.fileno()).columns if out.isatty() else 0
    except (OSError, ValueError, AttributeError):  # closed, none at all, or a terminal without a size
        return None
    return columns or None


def folded(line: str, columns: int | None) -> list[str]:
    """A line in parts that a terminal does not wrap; further ones are indented. A word that is wider stays whole, as a
    path that somebody copies has to.

    Args:
        line: without line ends.
        columns: of the terminal; None leaves the line as it is.

    >>> folded("note: a few words that are too many", 20)
    ['note: a few words', '      that are too', '      many']
    """
    if columns is None or len(line) <= columns or columns < _LEAST_WIDTH:
        return line.split("\n")
    label = _LABEL.match(line)
    indent = len(label[0]) if label is not None and len(label[0]) < columns // 2 else 2
    return [
        part
        for one in line.split("\n")
        for part in textwrap.wrap(
            one,
            columns,
            subsequent_indent=" " * indent,
            break_long_words=False,
            break_on_hyphens=False,
            replace_whitespace=False,
        )
        or [""]
    ]


def visible(words: str) -> str:
    """Text for a terminal: what would steer it, e.g. an escape sequence in a name, is shown instead of sent."""
    if words.isprintable():
        return words
    return "".join(
        char if char.isprintable() or char in "\n\t" else char.encode("unicode_escape").decode() for char in words
    )
