"""Locks that a dead process does not hold, however it died."""

from __future__ import annotations

import errno
import fcntl
from pathlib import Path
from typing import IO, Any

from avtune.core.errors import UserError

# What a file system without locks says: some network file systems, and mounts with locks switched off.
_NONE = {errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP}


def lock(handle: IO[Any], path: Path, way_out: str) -> None:
    """Takes the lock of an open file for this process; it goes when the file is closed.

    Args:
        path: the file or folder that messages name.
        way_out: what to do where there are no locks.

    Raises:
        BlockingIOError: another process holds it.
        UserError: the file system has no locks.
    """
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise
    except OSError as error:
        if error.errno not in _NONE:
            raise
        why = f"has no file locks ({error.strerror}), without which two runs cannot be kept apart"
        raise UserError(f"the file system of {path} {why}\n{way_out}") from None


def is_locked(handle: IO[Any]) -> bool:
    """Whether another process holds the lock; False where there are none, as nobody can hold one there."""
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        pass
    return False
