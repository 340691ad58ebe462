"""Errors as a Python caller reads them: one type, and options spelt as arguments."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator

from avtune.core.errors import UserError
from avtune.finals.finish import NoWinner
from avtune.workflows.known_causes import known_cause

_RETRY = "once the cause is mended, the same call with retry_failed=True trains what failed again"

_SET = re.compile(r"--set ([\w.]+)=([^\s:;,)]+)")
# A value follows an option where the text tells what to do.
_TO_DO = re.compile(r"\b(add|take|only|or|with) --(name|method|train|runner|gpus|keep) ([\w.:-]*\w)(?! is\b)")
# So does one that says how a file is read, where it has one.
_READ = re.compile(r"--(map|views|pool|test-fraction) (?!(?:is|names|has|goes|out|and|or|with|alone)\b)([\w./=,+-]*\w)")
_OPTION = re.compile(r"(?<![\w-])--([a-z][a-z-]*[a-z])")
_ARGUMENTS = {"dataset": "data"}  # options that are arguments of another name
_COMMAND = re.compile(r"(\bavtune [a-z]+ [^\n;]*)")  # one to type, which stays as it is
_WORDS = {
    "the same command": "the same call",
    "to the command": "to the call",
    "only the command line may name": "only a call may name",
    "the command line": "the call",
}


@contextlib.contextmanager
def python_errors() -> Iterator[None]:
    """What a user can put right leaves the block as a `UserError` that speaks of arguments; the rest as it is."""
    try:
        yield
    except UserError as error:
        raise type(error)(in_python(str(error))) from error.__cause__
    except NoWinner as error:
        raise UserError(f"{error}\n{_RETRY}" if error.retry else str(error)) from error.__cause__
    except Exception as error:
        said = known_cause(error)
        if said is None:
            raise
        raise UserError(in_python(said)) from error


def in_python(text: str) -> str:
    """A message of the command line with its options spelt as arguments.

    >>> in_python("--trials-per-gpu is 0; allowed: a whole number from 1")
    'trials_per_gpu is 0; allowed: a whole number from 1'
    >>> in_python("add --name first-2 to the command for a new study")
    "add name='first-2' to the call for a new study"
    """
    parts = _COMMAND.split(text)
    return "".join(part if at % 2 else _spelt(part) for at, part in enumerate(parts))


def _spelt(text: str) -> str:
    text = _SET.sub(lambda found: f"set={{{found[1]!r}: {_literal(found[2])}}}", text)
    text = _TO_DO.sub(lambda found: f"{found[1]} {found[2]}={_literal(found[3])}", text)
    text = _READ.sub(lambda found: f"{found[1].replace('-', '_')}={_literal(found[2])}", text)
    text = _OPTION.sub(lambda found: _ARGUMENTS.get(found[1], found[1].replace("-", "_")), text)
    for words, ours in _WORDS.items():
        text = text.replace(words, ours)
    return text


def _literal(text: str) -> str:
    return text if re.fullmatch(r"-?\d+(\.\d+)?|N|FILE", text) else repr(text)
