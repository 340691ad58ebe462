"""Text on standard output and standard error."""

from __future__ import annotations

import io
import sys


def show_everything() -> None:
    """What a stream's encoding cannot show is printed as an escape from now on, by whatever prints there: an encoding
    is no reason to end a search."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream.errors in ("strict", "surrogateescape"):
            stream.reconfigure(errors="backslashreplace")


def say(*lines: str) -> None:
    """Prints lines to standard output at once."""
    for line in lines:
        print(visible(line), flush=True)


def error(message: str) -> None:
    """Prints an error to standard error, its first line marked."""
    print(f"avtune: {visible(message)}", file=sys.stderr, flush=True)


def visible(words: str) -> str:
    """Text for a terminal: what would steer it, e.g. an escape sequence in a name, is shown instead of sent."""
    if words.isprintable():
        return words
    return "".join(
        char if char.isprintable() or char in "\n\t" else char.encode("unicode_escape").decode() for char in words
    )
