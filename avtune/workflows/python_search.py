"""From the arguments of `avtune.search` to a request, and its run in a process that is not ours.

The command line's counterpart is `cli/search.py`; both give the same request to `workflows.search`.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import yaml

from avtune.core import signals
from avtune.core.errors import StorageError, UserError
from avtune.core.names import new_name
from avtune.core.protocol import PUBLISHED
from avtune.data.dataset import ARRAYS, Dataset
from avtune.data.registry import REGISTRY, locate
from avtune.engine import user_code
from avtune.runners.ray.session import is_of_another
from avtune.space.parse import parse
from avtune.space.space import Space
from avtune.study.folder import StudyFolder
from avtune.workflows.choose_runner import placement_request
from avtune.workflows.choose_space import chosen
from avtune.workflows.continuing import space_of_study
from avtune.workflows.listening import SearchListener
from avtune.workflows.python_options import Options, plain
from avtune.workflows.search import search
from avtune.workflows.search_plan import Request


def request_for(dataset: Dataset, given: object, options: Options, code: str | None) -> Request:
    """What a call asks for.

    Args:
        given: what the caller named the dataset by; the dataset itself, where it was loaded before.
        code: the method or training function that is named, registered already; None for what the space says.

    Raises:
        UserError: something the user gave is wrong.
    """
    options = options.checked()
    _check_ray(options)
    spec = _spec(dataset, given)
    overrides = options.overrides()
    published = options.protocol == PUBLISHED
    folder = StudyFolder(options.results / new_name(options.name, "", dataset.name, "-published" * published))
    usual = REGISTRY[spec].space if spec in REGISTRY else None

    def make(overrides: Sequence[str]) -> Space:
        return _space(options, code, usual, overrides)

    if folder.exists:
        space, overrides = space_of_study(folder, code, overrides, None if options.space is None else make)
    else:
        space = make(overrides)
    return Request(
        dataset=dataset,
        spec=spec,
        space=space,
        folder=folder,
        placement=placement_request(options),
        runner=options.runner,
        precision=options.precision,
        deterministic=options.deterministic,
        overrides=overrides,
        protocol=options.protocol,
        keep=options.keep,
        retry_failed=options.retry_failed,
    )


def run(request: Request, listener: SearchListener) -> None:
    """Searches. When it is over the caller's signal handlers are as they were.

    Raises:
        UserError: as `workflows.search.search`.
        KeyboardInterrupt: Ctrl-C; the study has been closed before.
    """
    try:
        with _ended_in_order():
            search(request, listener)
    except KeyboardInterrupt as error:
        if request.folder.exists:
            error.add_note(f"the study {request.folder.root} has been closed; the same call continues it")
        raise
    except StorageError as error:
        if not request.folder.exists:
            raise
        raise StorageError(f"{error}\nthe study keeps what it has; the same call continues") from None
    except SystemExit as error:  # no code of ours
        raise UserError(f"code of the method or training function ended the search (SystemExit: {error})") from error


def _check_ray(options: Options) -> None:
    """Raises:
    UserError: this process has used Ray in a way that leaves no room for that of a search.
    """
    ray = sys.modules.get("ray")
    if ray is None or options.runner == "inline":
        return
    ways = (
        "run the search in a process that has not imported Ray (in a notebook: restart the kernel and import avtune "
        "alone), or take runner='inline', which trains without Ray"
    )
    if ray.is_initialized() and options.cluster != "auto":
        raise UserError(
            "this process is connected to a Ray of yours, and a search starts a private one\n"
            f"give cluster='auto' to train on yours, {ways}"
        )
    if is_of_another() and options.cluster is None:
        raise UserError(
            "this process imported Ray before avtune could set it up: with another token, or open to the network\n"
            f"{ways}"
        )


@contextlib.contextmanager
def _ended_in_order() -> Iterator[None]:
    """In the block the signals that would end this process at once (SIGTERM, SIGHUP, SIGUSR1) interrupt the search as
    Ctrl-C does, and then do what they would have done. A handler of the caller's own is left alone."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []

    def end(number: int, frame: object) -> None:
        came.append(number)
        raise KeyboardInterrupt

    ours = [number for number in signals.ending() if signal.getsignal(number) == signal.SIG_DFL]
    for number in ours:
        signal.signal(number, end)
    try:
        yield
    finally:
        for number in ours:
            signal.signal(number, signal.SIG_DFL)
        if came:
            with contextlib.suppress(OSError, ValueError):
                sys.stdout.flush()
            signal.raise_signal(came[0])


def _spec(dataset: Dataset, given: object) -> str:
    """How the command line would name the dataset: what a study tells those who continue it."""
    if isinstance(given, str) and given in REGISTRY:
        return given
    entry = REGISTRY.get(dataset.name)
    if entry is not None:
        found = locate(entry)
        if dataset.source == ("generated" if found is None else str(found)):
            return entry.name
    return dataset.source if dataset.source == ARRAYS else str(Path(dataset.source).resolve())


def _space(options: Options, code: str | None, usual: str | None, overrides: Sequence[str]) -> Space:
    given = options.space
    if isinstance(given, Mapping):
        return parse(
            yaml.safe_dump(plain(given), sort_keys=False),
            file="space",
            hypers_of=user_code.hypers_of,
            method_names=user_code.names(),
            overrides=overrides,
            method=code,
        )
    if given is not None and not isinstance(given, str | os.PathLike):
        raise UserError(f"space is a {type(given).__name__}; give a name, a file, or a mapping")
    return chosen(None if given is None else os.fspath(given), code, usual=usual, overrides=overrides)
