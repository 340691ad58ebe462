"""Errors that a person can act on. Imports nothing of ours."""

from __future__ import annotations

import difflib
import errno
from collections.abc import Iterable


class UserError(ValueError):
    """Something the user gave is wrong. The message says what was given, what is allowed and what to do, in one or two
    lines; the command line prints it without a traceback and exits with code 2."""


class StorageError(UserError):
    """A file of ours cannot be written or read: no space, no permission, a folder that is gone. Raised where the file
    is touched; it ends the run, and what was written before stays as it was."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether a device, or the machine, had no memory left. By name, because torch is not imported here."""
    return (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"
        or "can't allocate memory" in str(error)
        or (isinstance(error, OSError) and error.errno == errno.ENOMEM)
    )


def did_you_mean(given: str, allowed: Iterable[str]) -> str:
    """`"; did you mean 'margin'?"` when a name close to `given` is allowed, else the empty string.

    >>> did_you_mean("margn", ["margin", "tau"])
    "; did you mean 'margin'?"
    """
    close = difflib.get_close_matches(given, sorted(allowed), n=1, cutoff=0.6)
    return f"; did you mean '{close[0]}'?" if close else ""


def choices(allowed: Iterable[str]) -> str:
    """The allowed names as a person reads them: `"a, b or c"`.

    >>> choices(["b", "a", "c"])
    'a, b or c'
    """
    names = sorted(allowed)
    if len(names) < 2:
        return "".join(names)
    return f"{', '.join(names[:-1])} or {names[-1]}"


def first_of(names: Iterable[str], most: int = 10) -> str:
    """The first names in alphabetical order, and how many more there are.

    >>> first_of(["b", "a", "c"], 2)
    'a, b and 1 more'
    """
    every = sorted(names)
    more = len(every) - most
    return ", ".join(every[:most]) + (f" and {more} more" if more > 0 else "")


def shown(value: object, limit: int = 80) -> str:
    """A value as a message shows it: its `repr`, cut to `limit` characters.

    >>> shown("a" * 9, 8)
    "'aaaa..."
    """
    text = repr(value)
    return text if len(text) <= limit else f"{text[: limit - 3]}..."
