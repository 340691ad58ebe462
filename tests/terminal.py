"""A terminal for tests: a pseudo-terminal that standard output is written to, and what a user would see on it."""

import contextlib
import fcntl
import io
import os
import pty
import re
import struct
import sys
import termios
import threading

import pytest

CONTROL = re.compile(rb"\x1b\[[0-9;?]*[A-Za-z]|\x1b\][^\x07]*\x07")
_MARK = b"\x1b]9;mark\x07"


class Terminal:
    """Takes what is written to it by this process; `screen` shows it. Use it through the fixture `terminal`.

    Args:
        columns, rows: its size.
        encoding: of its letters.
    """

    def __init__(self, columns, rows, encoding="utf-8"):
        self._master, slave = pty.openpty()
        mode = termios.tcgetattr(slave)
        mode[1] &= ~termios.OPOST  # line ends as they are written: a real one adds a carriage return
        termios.tcsetattr(slave, termios.TCSANOW, mode)
        self.stream = io.TextIOWrapper(os.fdopen(slave, "wb", 0), encoding=encoding, newline="\r\n", write_through=True)
        self._encoding = encoding
        self._came = [("size", (columns, rows))]
        self._marks = threading.Semaphore(0)
        self._size(columns, rows)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _size(self, columns, rows):
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def _read(self):
        pending = b""
        with contextlib.suppress(OSError):
            while data := os.read(self._master, 65_536):
                pending += data
                while _MARK in pending:
                    before, _, pending = pending.partition(_MARK)
                    self._came.append(("data", before))
                    self._marks.release()
                self._came.append(("data", pending)) if b"\x1b]" not in pending else None
                pending = pending if b"\x1b]" in pending else b""

    def _sync(self):
        """Everything written so far has come."""
        os.write(self.stream.fileno(), _MARK)
        assert self._marks.acquire(timeout=60)

    def resize(self, columns, rows):
        self._sync()
        self._came.append(("size", (columns, rows)))
        self._size(columns, rows)

    @property
    def raw(self):
        """All that was written, as bytes."""
        self._sync()
        return b"".join(data for kind, data in self._came if kind == "data")

    @property
    def lines(self):
        """All lines that were written, whether they are still there or not, without what steers the terminal."""
        return re.split(r"[\r\n]+", CONTROL.sub(b"", self.raw).decode(self._encoding))

    def screen(self, reflows=False):
        """The rows that a user sees, those that have left the screen above included; empty ones at the end left out.

        Args:
            reflows: the terminal wraps lines again when it becomes narrower, as most do; else it cuts them off.
        """
        pyte = pytest.importorskip("pyte", reason="pyte, which shows what a terminal would, is not installed")
        self._sync()
        (_, (columns, rows)), *events = self._came
        shown = pyte.HistoryScreen(columns, rows, history=10_000, ratio=1)
        stream = pyte.ByteStream(shown)
        for kind, what in events:
            if kind == "data":
                stream.feed(what)
            elif reflows:
                shown, stream = _reflowed(pyte, shown, *what)
            else:
                shown.resize(what[1], what[0])
        return _rows_of(shown)

    def close(self):
        with contextlib.suppress(OSError, ValueError):
            self.stream.close()
        self._reader.join(10)
        os.close(self._master)


def _rows_of(shown):
    above = ["".join(row[at].data for at in range(shown.columns)).rstrip() for row in shown.history.top]
    rows = [*above, *(row.rstrip() for row in shown.display)]
    while rows and not rows[-1]:
        rows.pop()
    return rows


def _reflowed(pyte, shown, columns, rows):
    """The screen of a terminal that has wrapped its lines again; the cursor is where its letter is now."""
    lines = [row.rstrip() for row in shown.display[: shown.cursor.y + 1]]
    lines[-1] = lines[-1].ljust(shown.cursor.x)
    parts = [line[at : at + columns] for line in lines for at in range(0, max(1, len(line)), columns)]
    new = pyte.HistoryScreen(columns, rows, history=10_000, ratio=1)
    new.history.top.extend(shown.history.top)
    stream = pyte.ByteStream(new)
    stream.feed("\r\n".join(parts).encode())
    return new, stream


@pytest.fixture
def terminal(monkeypatch):
    """`terminal(columns, rows)` is a terminal that is standard output from then on."""
    made = []

    def terminal(columns=80, rows=24, encoding="utf-8", term="xterm-256color", stderr=False):
        one = Terminal(columns, rows, encoding)
        made.append(one)
        for name in ("COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR", "XTERM_VERSION"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("TERM", term)
        monkeypatch.setattr(sys, "stdout", one.stream)
        if stderr:
            monkeypatch.setattr(sys, "stderr", one.stream)
        return one

    yield terminal
    for one in made:
        one.close()
