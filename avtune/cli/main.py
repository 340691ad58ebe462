"""Runs a command: parses, calls the verb, and answers with an exit code.

The codes: 0 done, 1 a mistake of ours, 2 the user's, 128 + the number of the signal that ended the command.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from avtune import __version__
from avtune.cli import (
    across,
    bench,
    compare,
    compare_models,
    completion,
    console,
    curves,
    data,
    doctor,
    embed,
    evaluate,
    export,
    finish,
    methods,
    plan,
    report,
    retrain,
    retrieve,
    search,
    space,
    status,
    tensorboard,
    track,
    verify,
)
from avtune.cli.arguments import Parser, Verbs, import_user_code
from avtune.cli.remote import results_here
from avtune.core import signals
from avtune.core.errors import StorageError, UserError
from avtune.core.log import append_note, shown


class Verb(Protocol):
    """What the file of a verb holds. It imports what is heavy in `run`, so that `avtune --help` stays quick."""

    def add(self, verbs: Verbs) -> None:
        """Adds the verb's parser."""

    def run(self, given: argparse.Namespace, log: list[Path]) -> int:
        """Does what the command line says and returns the exit code.

        Args:
            given: the parsed command line.
            log: takes the `log.txt` of the study as soon as it is known; the traceback of a mistake of ours goes there.
        """


_FILES: dict[str, Verb] = {  # in the order of `avtune --help`
    "search": search,
    "plan": plan,
    "bench": bench,
    "status": status,
    "finish": finish,
    "compare": compare,
    "across": across,
    "compare-models": compare_models,
    "report": report,
    "evaluate": evaluate,
    "embed": embed,
    "retrieve": retrieve,
    "export": export,
    "retrain": retrain,
    "verify": verify,
    "curves": curves,
    "data": data,
    "space": space,
    "methods": methods,
    "doctor": doctor,
    "tensorboard": tensorboard,
    "completion": completion,
    "track": track,
}
_VERBS = {name: verb.run for name, verb in _FILES.items()}


def parser() -> Parser:
    """The parser of the whole command line."""
    top = Parser(
        prog="avtune",
        description="Hyper-parameter search for cross-modal metric learning. A DATASET is a registered name "
        "(vegas, ave, demo) or the path of a file or folder of features; docs/data.md lists the layouts.",
        epilog="examples:\n  avtune search demo\n  avtune search my_features.h5 --trials 64\n  avtune status",
        allow_abbrev=False,
    )
    top.add_argument("--version", action="version", version=f"avtune {__version__}")
    verbs = top.add_subparsers(dest="verb", metavar="VERB", required=True, parser_class=Parser)
    for verb in _FILES.values():
        verb.add(verbs)
    top.set_defaults(parser=top)
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command.

    Returns:
        The exit code.
    """
    console.show_everything()
    log: list[Path] = []
    with signals.taken() as came:
        try:
            given = parser().parse_args(argv)
            with shown() if "verbose" in given else contextlib.nullcontext():
                return _call(given, log)
        except UserError as error:
            console.error(str(error))
            # After a signal it is what ended meanwhile, e.g. Ray: the same command continues.
            return signals.part(signals.first(came)) if came else 2
        except KeyboardInterrupt:
            return signals.part(signals.first(came))
        except BrokenPipeError:
            if came:  # of a process that has been ended too
                return signals.part(signals.first(came))
            # The reader of our output has gone (`| head`); nothing more can be said.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 1
        except Exception as error:
            # After a signal to all processes of a job, what Ray says of its own end may come before the interrupt.
            return signals.part(signals.first(came)) if came else _our_mistake(error, log)


def _call(given: argparse.Namespace, log: list[Path]) -> int:
    import_user_code(given)
    try:
        with results_here(given):
            return _VERBS[given.verb](given, log)
    except SystemExit as error:  # no code of ours: it would end the command without a word
        raise UserError(f"code that the command line names ended this command (SystemExit: {error})") from error


def _our_mistake(error: Exception, log: Sequence[Path]) -> int:
    """Says what no `UserError` has said: a cause that we know in a line, or else that the mistake is ours, with its
    traceback in the study's log.

    Returns:
        The exit code.
    """
    if (known := _known_cause(error)) is not None:
        message, code = known
        console.error(message)
        return code
    details = traceback.format_exc()
    first = str(error).splitlines()[0] if str(error) else ""
    if isinstance(error, OSError) and error.strerror:
        first = f"{error.strerror}: {error.filename}" if error.filename else error.strerror
    if _is_logged(details, log):
        console.error(f"{type(error).__name__}: {first}; details in {log[0]}")
    else:
        console.error(f"{type(error).__name__}: {first}")
        print(details, file=sys.stderr)
    return 1


def _known_cause(error: Exception) -> tuple[str, int] | None:
    """The message and the exit code of an error that is not a mistake of ours."""
    from avtune.cli.result_text import RETRY
    from avtune.finals.finish import NoWinner
    from avtune.workflows.known_causes import known_cause

    if isinstance(error, NoWinner):
        return (f"{error}\n{RETRY}" if error.retry else str(error)), 1
    said = known_cause(error)
    return None if said is None else (said, 2)


def _is_logged(details: str, log: Sequence[Path]) -> bool:
    """Appends a traceback to the study's `log.txt`; False where there is none, or not yet."""
    try:
        append_note(log[0], details, "ERROR")
    except (IndexError, StorageError):
        return False
    return True
