"""A run's private scratch folder, and what the scratch folders of killed runs leave behind. No Ray here."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

from avtune.study.files import using

_PREFIX, _OWNER = "avtune-", "owner"


@contextlib.contextmanager
def scratch_folder(root: Path | None = None) -> Iterator[Path]:
    """A new folder for the length of the block; takes those of this user's dead runs away first.

    Args:
        root: where, made if need be; None for the machine's folder for temporary files.

    A run holds a lock on a file in its folder, which a dead process does not hold, however it died.
    """
    # Short, because the path of a Unix socket below it must stay under 108 bytes; private, because Ray's logs are not.
    if root is None:
        root = Path("/tmp") if Path("/tmp").is_dir() else Path(tempfile.gettempdir())
    _sweep(root)
    with using(root):
        root.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=root))
    try:
        with using(folder):
            owner = (folder / "new").open("w")
        with owner:
            fcntl.flock(owner, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.rename(folder / "new", folder / _OWNER)  # under this name it has been locked from the start
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _sweep(root: Path) -> None:
    for folder in root.glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):  # another run takes it away too, or it is not ours
            facts = folder.lstat()
            if not stat.S_ISDIR(facts.st_mode) or facts.st_uid != os.getuid():
                continue
            with (folder / _OWNER).open() as owner:
                fcntl.flock(owner, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
