"""What Ray's own logs say of a start that failed; they go with the scratch folder. No Ray here."""

from __future__ import annotations

import re
from pathlib import Path

_LONGEST, _TAIL = 240, 1 << 16  # characters shown, bytes read of a log
# The last line of a Python traceback; a line of Ray's core that is an error (E) or its end (C).
_PYTHON = re.compile(r"^(?:\w+\.)*\w*(?:Error|Exception|Interrupt|Exit): \S.*", re.MULTILINE)
_CORE = re.compile(r"^\[[^]]* [EC] [\d ]+\] \(\w+\) \S+: +(.+)", re.MULTILINE)


def last_words(folder: Path) -> str:
    """The line of the logs below Ray's folder that tells most about why it did not start; empty where none does: what
    Python raised last in one of its processes, else the first error of its core."""
    texts = [_tail(path) for path in sorted(folder.glob("session_*/logs/*"), key=_time) if path.is_file()]
    raised = [found[-1] for text in texts if (found := _PYTHON.findall(text))]
    said = [found[0] for text in texts if (found := _CORE.findall(text))]
    return _short((raised or said or [""])[0])


def _short(line: str) -> str:
    return line if len(line) <= _LONGEST else f"{line[: _LONGEST - 3]}..."


def _time(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def _tail(path: Path) -> str:
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - _TAIL))
            return file.read().decode(errors="replace")
    except OSError:
        return ""
