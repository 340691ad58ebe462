"""Files that a kill leaves either as they were or as they should be, and errors that name them."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import shutil
import tempfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from avtune.core.errors import StorageError, UserError
from avtune.core.locks import lock

LOCK_WAY_OUT = "choose another --results, e.g. on a disk of this machine, or have it mounted with locks"


@contextlib.contextmanager
def private_files() -> Iterator[None]:
    """Files and folders made in the block, by this process or those that it starts, are for this user only."""
    before = os.umask(0o077)
    try:
        yield
    finally:
        os.umask(before)


def private_opener(path: str, flags: int) -> int:
    """Opens a file that we append to: private when it is new, never one elsewhere that a link leads to, and never one
    that would keep us waiting."""
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK, 0o600)


@contextlib.contextmanager
def using(path: Path, what: str = "written") -> Iterator[None]:
    """Says in one line what the system has against a file or folder that the block works with.

    Raises:
        StorageError: the block raised an `OSError`. A `BlockingIOError` (a lock that another holds) passes through.
    """
    try:
        yield
    except BlockingIOError:
        raise
    except OSError as error:
        raise StorageError(f"{path} cannot be {what}: {error.strerror or error}") from error


def to_yaml(value: Any) -> str:
    """YAML in the order of the dict, as people read it."""
    import yaml  # here: who only writes files, as an engine does, needs none

    return yaml.safe_dump(value, sort_keys=False, allow_unicode=True, default_flow_style=False, width=120)


def read_yaml(path: Path, *, most: int | None = None) -> Any:
    """What a YAML file of ours holds.

    Args:
        most: the largest size in bytes that such a file can have.

    Raises:
        UserError: it cannot be read.
    """
    import yaml

    try:
        if most is not None and path.stat().st_size > most:
            raise UserError(f"{path} is larger than {most:,} bytes; it is no file of ours")
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except UserError:
        raise
    # PyYAML lets what its constructors raise through, e.g. for a date that is none.
    except (OSError, yaml.YAMLError, ValueError, TypeError, AttributeError, LookupError, RecursionError) as error:
        said = " ".join(str(error).split())[:120] or type(error).__name__
        raise UserError(f"{path} cannot be read: {said}") from None


def write_text(path: Path, text: str) -> None:
    """Replaces a file so that a kill or a power loss leaves either the old or the new content."""
    write_bytes(path, _encoded(text))


def update_text(path: Path, text: str) -> None:
    """As `write_text`; a file that holds this text already is not touched, so that it may be read-only."""
    with using(path, "read"):
        known = path.read_bytes() if path.is_file() else None
    if known != _encoded(text):
        write_text(path, text)


def _encoded(text: str) -> bytes:
    return text.encode(errors="backslashreplace")  # half a surrogate pair can come from a damaged file


def write_bytes(path: Path, data: bytes, *, private: bool = True) -> None:
    """As `write_text`, for bytes.

    Args:
        private: for this user only; else for those whom the user's umask allows.

    Raises:
        StorageError: it cannot be written; the file is as it was.
    """
    write_parts(path, [data], private=private)


def write_parts(path: Path, parts: Iterable[bytes], *, private: bool = True) -> None:
    """As `write_bytes`, for what comes one part after the other. What the parts raise when they are asked for passes
    through; the file is as it was then, too."""
    with using(path):
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
        try:
            with os.fdopen(handle, "wb") as file:
                for part in parts:
                    file.write(part)
                file.flush()
                if not private:
                    os.fchmod(file.fileno(), 0o666 & ~_umask())
                os.fsync(file.fileno())
            os.replace(name, path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
        sync_folder(path.parent)


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def make_folder(root: Path, kind: str, files: Mapping[str, str]) -> None:
    """Makes a folder with text files in it; it appears under its name with all of them.

    Args:
        kind: what it is, for messages, e.g. `study`.
        files: texts by name; the last one is what makes a folder one of its kind.

    Raises:
        UserError: the folder exists and holds something else, or there are no file locks.
        StorageError: it cannot be written.
    """
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        marker = list(files)[-1]
        raise UserError(f"{root} exists and is no {kind} (it has no {marker}); choose another --name, or move it away")
    made: Path | None = None
    try:
        root.parent.mkdir(parents=True, exist_ok=True)
        made = Path(tempfile.mkdtemp(dir=root.parent, prefix=f".{root.name}-"))
        _try_lock(made)
        for name, text in files.items():
            write_text(made / name, text)
        if root.exists():
            root.rmdir()
        os.rename(made, root)
        sync_folder(root.parent)
    except (OSError, UserError) as error:
        if made is not None:
            shutil.rmtree(made, ignore_errors=True)
        if isinstance(error, UserError) and not isinstance(error, StorageError):
            raise
        why = (error.strerror if isinstance(error, OSError) else None) or error
        raise StorageError(f"{root} cannot be made: {why}; choose another --results") from None


@contextlib.contextmanager
def new_folder(root: Path) -> Iterator[Path]:
    """A folder that is filled in the block, under another name. After the block it appears under its own, with all of
    its files, for those whom the user's umask allows; when the block raises, nothing is left.

    Raises:
        UserError: there is something of that name, or no folder to put it in.
        StorageError: it cannot be written.
    """
    if root.exists() or root.is_symlink():
        raise UserError(f"{root} exists; give another --out, or move it away")
    if not root.parent.is_dir():
        raise UserError(f"the folder {root.parent} does not exist; make it, or give another --out")
    with using(root, "made"):
        made = Path(tempfile.mkdtemp(dir=root.parent, prefix=f".{root.name}-"))
    try:
        yield made
        with using(root):
            for path in made.iterdir():
                path.chmod(0o666 & ~_umask())
                _sync_file(path)
            made.chmod(0o777 & ~_umask())
            sync_folder(made)
            os.rename(made, root)
            sync_folder(root.parent)
    except BaseException:
        shutil.rmtree(made, ignore_errors=True)
        raise


def _sync_file(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


# What a file system says that cannot sync a folder: SMB, shared folders of virtual machines, some of FUSE. Nothing that
# we could do instead would be safer.
_NO_SYNC = {errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EBADF}


def _try_lock(made: Path) -> None:
    """Raises:
    UserError: what is made in this folder could not be locked by those who work on it.
    """
    with (made / ".lock").open("w") as handle:
        lock(handle, made.parent, LOCK_WAY_OUT)
    (made / ".lock").unlink()


def sync_folder(folder: Path) -> None:
    """The names in a folder survive a power loss, where the file system can do that.

    Raises:
        OSError: it could, and failed.
    """
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in _NO_SYNC:
            raise
    finally:
        os.close(handle)


def append_line(path: Path, record: dict[str, Any], *, sync: bool = False, checksum: bool = True) -> int:
    """Adds one JSON line at the end of the file, whole or not at all.

    Args:
        sync: also survive a power loss.
        checksum: the line ends with `"crc"`, the CRC-32 of what stands before, which its readers check; for files whose
            lines are ours alone.

    Returns:
        How many bytes the line has.

    Raises:
        StorageError: it cannot be written; the file is as it was.
    """
    data = json.dumps(record, separators=(",", ":"), allow_nan=False).encode()
    data = (_with_checksum(data) if checksum else data) + b"\n"
    with using(path):
        handle = private_opener(str(path), os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        done = 0
        try:
            if os.fstat(handle).st_size == 0:
                sync_folder(path.parent)
            while done < len(data):
                done += os.write(handle, data[done:])
            if sync:
                os.fsync(handle)
        except OSError:
            with contextlib.suppress(OSError):
                os.ftruncate(handle, os.fstat(handle).st_size - done)
            raise
        finally:
            os.close(handle)
    return done


def unchecked(path: Path) -> tuple[int, int]:
    """How many lines have no checksum: of those before the first line that has one, as avtune 0.1.0 wrote them, and of
    those after it, which something else wrote."""
    if not path.is_file():
        return 0, 0
    with using(path, "read"), path.open("rb") as file:
        has = [_CHECKSUM.search(line) is not None for line in file if line.endswith(b"\n")]
    first = has.index(True) if True in has else len(has)
    return first, has[first:].count(False)


_CHECKSUM = re.compile(rb',?"crc":"([0-9a-f]{8})"}\s*$')


def _with_checksum(line: bytes) -> bytes:
    """A JSON mapping with the CRC-32 of its bytes up to there as its last entry."""
    before = line.removesuffix(b"}")
    return before + (b"," if len(before) > 1 else b"") + b'"crc":"%08x"}' % zlib.crc32(before)


def _checked(line: bytes) -> tuple[bytes, bool]:
    """A line without its checksum, and whether it had one.

    Raises:
        ValueError: the line has changed since it was written.
    """
    found = _CHECKSUM.search(line)
    if found is None:
        return line, False
    before = line[: found.start()]
    if b"%08x" % zlib.crc32(before) != found[1]:
        raise ValueError("it has changed since it was written")
    return before + b"}", True


def read_lines(path: Path, *, repair: bool) -> tuple[list[dict[str, Any]], bool]:
    """The records of a file of JSON lines, and whether its last line was torn by a kill and is left out.

    Args:
        repair: cut the torn line off, so that lines can be added. Only for the owner of the study.

    Raises:
        UserError: a line before the last is damaged, or it is no file.
    """
    records, torn = stream_lines(path, repair=repair)
    return list(records), torn


def stream_lines(path: Path, *, repair: bool) -> tuple[Iterator[dict[str, Any]], bool]:
    """As `read_lines`, in the memory of a line: a damaged one is found when the iterator comes to it."""
    if not path.exists():
        return iter(()), False
    if not path.is_file():
        raise UserError(f"{path} is no regular file; restore it from a copy")
    with using(path, "read"):
        size, end = path.stat().st_size, _end_of_lines(path)
    torn = end != size
    if torn and repair:
        with using(path):
            os.truncate(path, end)
    return _records(path, end), torn


def _end_of_lines(path: Path, block: int = 1 << 16) -> int:
    """How many bytes the whole lines take."""
    with path.open("rb") as file:
        at = file.seek(0, os.SEEK_END)
        while at > 0:
            start = max(0, at - block)
            file.seek(start)
            newline = file.read(at - start).rfind(b"\n")
            if newline >= 0:
                return start + newline + 1
            at = start
    return 0


def _records(path: Path, end: int) -> Iterator[dict[str, Any]]:
    with using(path, "read"), path.open("rb") as file:
        seen = 0
        for number, line in enumerate(file, 1):
            seen += len(line)
            if seen > end:  # the torn one, or one that was added since
                return
            try:
                record = line_record(line)
            except (ValueError, RecursionError) as error:
                raise UserError(f"{path}, line {number} is damaged ({error}); restore the file from a copy") from None
            yield record


def line_record(line: bytes) -> dict[str, Any]:
    """What a line of a file of JSON lines holds, without its checksum.

    Raises:
        ValueError: it is damaged, or no mapping.
        RecursionError: it is nested too deeply.
    """
    record = json.loads(_checked(line)[0], parse_constant=_refused)
    if not isinstance(record, dict):
        raise ValueError("not a mapping")
    return record


def _refused(constant: str) -> None:
    """`NaN` and the like, which `json` reads although JSON has no such thing."""
    raise ValueError(f"{constant} is no number")
