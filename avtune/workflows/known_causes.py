"""Errors of the machine that are no mistake of ours: what a user reads of them."""

from __future__ import annotations

import errno

from avtune.core.errors import is_out_of_memory
from avtune.runners.out_of_memory import out_of_memory
from avtune.runners.thread_limit import no_threads

# What a disk says, whatever the file: where we know which one, a `StorageError` names it.
_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG, errno.EIO, errno.ESTALE}
_DISK |= {errno.ENAMETOOLONG, errno.ELOOP, errno.ENOTDIR, errno.EACCES}  # and of the paths that a user can give


def known_cause(error: Exception) -> str | None:
    """A line on an error of memory, threads or the disk; None for others."""
    if is_out_of_memory(error):
        return out_of_memory("this process could not take more")
    if (said := no_threads(error)) is not None:
        return said
    if isinstance(error, OSError) and error.errno in _DISK:
        return f"{error.strerror}: {error.filename or 'a file of ours'}"
    return None
