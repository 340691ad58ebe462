"""Writes the page of a comparison, where a command was told to or beside what it compares."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from avtune.cli import console
from avtune.core.errors import UserError


def write_page(write: Callable[[Path], None], given: argparse.Namespace, name: str, *, quiet: bool) -> None:
    """Writes a page to `--page`; without it beside the studies, if that can be written.

    Args:
        write: writes the page to a path.
        given: has `page` and `results`.
        name: of the page where nobody says.
        quiet: what the command prints is for other programs: no page unless it was asked for, and no word of it.

    Raises:
        UserError: it was asked for and cannot be written.
    """
    if given.page is None and quiet:
        return
    path = given.page or (given.results if given.results.is_dir() else Path()) / name
    try:
        write(path)
    except UserError as error:
        if given.page is not None:
            raise
        console.say("", f"note: no page: {error}")
        return
    if not quiet:
        console.say("", f"page         {path}")
