"""What code of the user's own prints while it trains, kept in a file of the study: `print`, warnings and logging. What
C code or another process writes to the terminal by itself is not kept."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO

from avtune.core.errors import StorageError
from avtune.core.files import private_opener, using, write_bytes

MOST = 1 << 20
"""Bytes of such a file at most: one that would grow beyond keeps its last half."""
_CUT = b"(what was printed before is left out)\n"


class Output:
    """The file of one trial, or of an engine's trials. It is made when something is printed.

    Args:
        path: of the file; None keeps nothing, and what is printed goes where it goes.
        title: who prints; it stands with the time above what is printed.
    """

    def __init__(self, path: str | Path | None, title: str = "") -> None:
        self._path = Path(path) if path is not None else None
        self._title = title
        self._titled = ""
        self._handle: int | None = None
        self._before: tuple[TextIO, TextIO] | None = None  # the terminal's streams, while captured
        self._error: StorageError | None = None

    def titled(self, title: str) -> Output:
        """The same file, with another title above what is printed from now on."""
        self._title = title
        return self

    @contextlib.contextmanager
    def captured(self) -> Iterator[None]:
        """What is printed in the block, by any thread, goes to the file."""
        if self._path is None:
            yield
            return
        stream, handlers = _stream(), _handlers()
        self._before = sys.stdout, sys.stderr
        _sinks.append(self)
        for handler, _ in handlers:
            handler.stream = stream  # `setStream` would flush the old one, which may be closed
        sys.stdout = sys.stderr = stream
        try:
            yield
        finally:
            with contextlib.suppress(ValueError):  # the code closed it
                stream.flush()
            sys.stdout, sys.stderr = self._before
            self._before = None
            for handler, terminal in handlers:
                handler.stream = terminal
            _sinks.remove(self)

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Inside of `captured`: what is printed in the block, e.g. by ourselves, goes where it went before."""
        if self._before is None:
            yield
            return
        now = sys.stdout, sys.stderr
        sys.stdout, sys.stderr = self._before
        try:
            yield
        finally:
            sys.stdout, sys.stderr = now

    def close(self) -> None:
        """Closes the file; raises what `check` raises."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None
        self.check()

    def check(self) -> None:
        """Raises:
        StorageError: something printed could not be written.
        """
        if self._error is not None:
            raise self._error

    def append(self, data: bytes) -> None:
        """Adds to the file. What goes wrong is raised by `close`: the code that prints could do nothing about it."""
        if self._error is not None or not data:
            return
        if self._title != self._titled:
            stamp = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
            data = f"--- {self._title}, {stamp}\n".encode() + data
            self._titled = self._title
        assert self._path is not None
        try:
            with using(self._path):
                handle = self.fileno()
                while data:
                    data = data[os.write(handle, data) :]
                if os.fstat(handle).st_size > MOST:
                    self._cut(handle)
        except StorageError as error:
            self._error = error

    def fileno(self) -> int:
        """Of the file, for processes that the code starts."""
        assert self._path is not None
        if self._handle is None:
            self._path.parent.mkdir(mode=0o700, exist_ok=True)
            flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
            self._handle = private_opener(str(self._path), flags)
        return self._handle

    def _cut(self, handle: int) -> None:
        """Keeps the whole lines of the last half."""
        assert self._path is not None
        data = os.pread(handle, MOST, os.fstat(handle).st_size - MOST // 2)
        write_bytes(self._path, _CUT + data[data.find(b"\n") + 1 :])
        os.close(handle)
        self._handle = None


def standard_error() -> TextIO | None:
    """The standard error of this process, also inside of `captured`. Where it is a file and a live table is on the
    terminal, which takes over both streams, it is the file."""
    stream = next((sink._before[1] for sink in _sinks if sink._before is not None), sys.stderr)
    file = getattr(stream, "rich_proxied_file", None)
    return stream if file is None or file.isatty() else file


class _Raw(io.RawIOBase):
    """Takes what is printed to the file of the moment. A logging handler that holds on to it writes to the file of the
    run of that time, and to the terminal when there is none."""

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        text = bytes(data)
        if _sinks:
            _sinks[-1].append(text)
        elif sys.__stderr__ is not None:
            sys.__stderr__.write(text.decode(errors="replace"))
        return len(text)

    def fileno(self) -> int:
        return _sinks[-1].fileno() if _sinks else super().fileno()


_sinks: list[Output] = []
_streams: list[io.TextIOWrapper] = []


def _stream() -> io.TextIOWrapper:
    """The text stream of this process; a new one where the code has closed it."""
    if not _streams or _streams[-1].closed:
        _streams.append(io.TextIOWrapper(io.BufferedWriter(_Raw()), "utf-8", "backslashreplace", line_buffering=True))
    return _streams[-1]


def _handlers() -> list[tuple[logging.StreamHandler[Any], Any]]:
    """The logging handlers that write to the terminal, and their streams."""
    terminal = [sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__]
    terminal += [getattr(stream, "rich_proxied_file", None) for stream in terminal[:2]]
    loggers = [logging.root, *logging.root.manager.loggerDict.values()]
    found = {
        id(handler): handler
        for logger in loggers
        if isinstance(logger, logging.Logger)
        for handler in logger.handlers
        if isinstance(handler, logging.StreamHandler) and not isinstance(handler, logging.FileHandler)
    }
    known = {id(stream) for stream in terminal if stream is not None}
    return [(handler, handler.stream) for handler in found.values() if id(handler.stream) in known]
