"""A run's private scratch folder, and what the scratch folders of killed runs leave behind. No Ray here."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from avtune.core.errors import StorageError, UserError
from avtune.core.files import using
from avtune.core.locks import lock

_PREFIX, _NEW, _OWNER = "avtune-", ".avtune-new-", "owner"
# Most bytes of the folder's path: a Unix socket's path has 107 at most, and Ray appends up to 68.
_LONGEST = 39
# Where a short symbolic name for a folder with a longer path is made: the first of these that can be written to.
_SHORT = ("/tmp", "/var/tmp", "/dev/shm")
# Bytes that must be free at the start, and below which a disk counts as full. Ray's logs and Tune's records take 2 to
# 4 MB, and little more in a day.
_LEAST, _FULL = 8 << 20, 1 << 20
_WAY_OUT = "set TMPDIR to a folder on another disk, or take --runner inline"


@contextlib.contextmanager
def scratch_folder(root: Path | None = None) -> Iterator[Path]:
    """A new folder for the length of the block; takes those of this user's dead runs away first.

    Args:
        root: where, made if need be; None for what TMPDIR names, or /tmp.

    A run holds a lock on a file in its folder, which a dead process does not hold, however it died.

    Raises:
        StorageError: nothing can be written there; or there is no space left, now or when the block fails.
        UserError: there are no file locks.
    """
    with contextlib.ExitStack() as held:
        if root is None:
            root = _usual_root()
            held.enter_context(_said(root))
            root.stat()
        else:
            held.enter_context(using(root))
            root.mkdir(parents=True, exist_ok=True)
        _sweep(root)
        _check_space(root, _LEAST)
        folder, owner = _new(root)
    try:
        with owner, _short(folder) as name:
            yield name
    except UserError:
        raise
    except Exception:
        check_not_full(folder)  # on a full disk Ray fails with errors that do not say so
        raise
    finally:
        _remove(folder)


def remove(folder: Path) -> None:
    """Takes a folder that `scratch_folder` has given away, whatever becomes of its block."""
    inner = folder.resolve()
    if folder.is_symlink():
        folder.unlink(missing_ok=True)
    _remove(inner)


def _usual_root() -> Path:
    """The machine's folder for temporary files. Not `tempfile.gettempdir`, which passes over what cannot be written."""
    given = os.environ.get("TMPDIR")
    return Path(given).absolute() if given else Path("/tmp") if Path("/tmp").is_dir() else Path(tempfile.gettempdir())


@contextlib.contextmanager
def _said(root: Path) -> Iterator[None]:
    """As `using`, with what to do."""
    try:
        yield
    except (BlockingIOError, UserError):
        raise
    except OSError as error:
        named = " (TMPDIR)" if os.environ.get("TMPDIR") else ""
        raise StorageError(f"{root}{named} cannot be written: {error.strerror or error}; {_WAY_OUT}") from None


def check_not_full(folder: Path) -> None:
    """Raises:
    StorageError: there is no space left where a scratch folder is.
    """
    _check_space(folder.resolve().parent, _FULL)


def _check_space(root: Path, least: int) -> None:
    free = shutil.disk_usage(root).free
    if free < least:
        raise StorageError(f"{root} is full ({free / 2**20:.1f} MiB free), and Ray writes there: {_WAY_OUT}")


def _new(root: Path) -> tuple[Path, IO[str]]:
    """A new folder and its owner file, open and locked. Under a name that `_sweep` takes for a run's, it has been
    locked from the start; what another process sweeps before is made anew."""
    while True:
        made = Path(tempfile.mkdtemp(prefix=_NEW, dir=root))
        try:
            owner = (made / _OWNER).open("w")
        except FileNotFoundError:
            continue
        try:
            lock(owner, root, _WAY_OUT)
            folder = root / f"{_PREFIX}{made.name.removeprefix(_NEW)}"
            os.rename(made, folder)
        except (BlockingIOError, FileNotFoundError, FileExistsError):
            owner.close()
        except BaseException:
            owner.close()
            _remove(made)
            raise
        else:
            return folder, owner


@contextlib.contextmanager
def _short(folder: Path) -> Iterator[Path]:
    """The folder under a path that is short enough for sockets: a link, where its own is too long."""
    if len(os.fsencode(folder)) <= _LONGEST:
        yield folder
        return
    for place in map(Path, _SHORT):
        link = place / folder.name
        try:
            _sweep_links(place)
            os.symlink(folder, link)
        except OSError:
            continue
        try:
            yield link
        finally:
            link.unlink(missing_ok=True)
        return
    raise StorageError(
        f"{folder.parent} has too long a path for Ray's sockets, and there is none of {', '.join(_SHORT)} for a short "
        f"link to it; {_WAY_OUT}"
    )


def _sweep(root: Path) -> None:
    """Takes the folders of dead runs away, and what was to become one. What has no owner file is not taken for ours,
    unless it is empty and has the name of one that was being made."""
    for folder in (*root.glob(f"{_PREFIX}*"), *root.glob(f"{_NEW}*")):
        with contextlib.suppress(OSError, UserError):  # another run takes it away too, or it is not ours
            if not _is_mine(folder, stat.S_ISDIR):
                continue
            if folder.name.startswith(_NEW) and not (folder / _OWNER).exists():
                folder.rmdir()
                continue
            with (folder / _OWNER).open() as owner:
                lock(owner, root, _WAY_OUT)
                _remove(folder)
    _sweep_links(root)


def _sweep_links(root: Path) -> None:
    for link in root.glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):
            if _is_mine(link, stat.S_ISLNK) and not link.exists() and Path(os.readlink(link)).name == link.name:
                link.unlink()


def _is_mine(path: Path, is_kind: Callable[[int], bool]) -> bool:
    facts = path.lstat()
    return is_kind(facts.st_mode) and facts.st_uid == os.getuid()


def _remove(folder: Path) -> None:
    """Deletes a folder of ours, the owner file last: without it nobody would know whose the rest is."""
    with contextlib.suppress(OSError):
        for path in folder.iterdir():
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            elif path.name != _OWNER:
                path.unlink(missing_ok=True)
        if [path.name for path in folder.iterdir()] == [_OWNER]:
            (folder / _OWNER).unlink()
        folder.rmdir()
