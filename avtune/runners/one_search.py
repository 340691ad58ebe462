"""One search at a time in a process: a search sets what all threads of it share. No Ray here."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

from avtune.core.errors import UserError

_running = threading.RLock()


@contextlib.contextmanager
def only_search() -> Iterator[None]:
    """No other thread of this process searches in the block. Environment, umask, Ray, the streams, torch's threads and
    generators, and the precision of matrix products are the process's: of two searches in two threads one would train
    with the settings of the other, or lose its own when that ends. It does not wait. A thread may nest such blocks.

    Raises:
        UserError: another thread is in such a block.
    """
    if not _running.acquire(blocking=False):
        raise UserError(
            "another search runs in this process; wait for it, or run this one in a process of its own\n"
            "one after the other, a process may search as often as it likes"
        )
    try:
        yield
    finally:
        _running.release()
