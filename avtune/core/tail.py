"""Reads a file of JSON lines while another process appends to it: each look takes what has been added since."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from avtune.core.errors import UserError
from avtune.core.files import line_record, using


class Tail:
    """A file of JSON lines that grows. It is opened for reading at each look, and never locked or changed.

    Args:
        path: the file, which need not exist yet.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._inode = 0
        self._at = 0  # bytes of whole lines that have been taken
        self._count = 0

    def is_another(self) -> bool:
        """Whether the file is not the one that was read before: it was replaced, deleted or cut. What was taken from it
        says nothing of what it holds now."""
        with using(self._path, "read"):
            if not self._path.exists():
                return self._at > 0
            state = self._path.stat()
        return self._at > 0 and (state.st_ino != self._inode or state.st_size < self._at)

    def take(self) -> list[dict[str, Any]]:
        """The lines that were added since the last call; one that has no end yet comes with a later call.

        Raises:
            UserError: a line is damaged, or it is no regular file.
            StorageError: the file cannot be read.
        """
        with using(self._path, "read"):
            if not self._path.exists():
                return []
            if not self._path.is_file():
                raise UserError(f"{self._path} is no regular file; restore it from a copy")
            self._inode = self._path.stat().st_ino
            with self._path.open("rb") as file:
                file.seek(self._at)
                data = file.read()
        whole = data[: data.rfind(b"\n") + 1]
        records = []
        for line in whole.splitlines(keepends=True):
            self._count += 1
            try:
                records.append(line_record(line))
            except (ValueError, RecursionError) as error:
                raise UserError(
                    f"{self._path}, line {self._count} is damaged ({error}); restore the file from a copy"
                ) from None
        self._at += len(whole)
        return records
