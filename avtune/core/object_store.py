"""Objects of a bucket, `s3://bucket/path` and `gs://bucket/path`, through fsspec.

Only what every such store has is used: an object is written, read or deleted as a whole, and one can be made on the
condition that there is none of its name.
"""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import re
from collections.abc import Iterable, Iterator
from typing import Any

from avtune.core.errors import StorageError, UserError, choices, did_you_mean, shown

PACKAGES = {"s3": "s3fs", "gs": "gcsfs"}
"""Which package reaches which kind of store, by the beginning of a URL."""
_URL = re.compile(r"([a-z0-9]+)://([^/\s?#]+)((?:/[^/\s?#]+)*)/?")
_CONNECT, _READ = 5, 30  # seconds
_NO_LISTINGS = {"use_listings_cache": False, "skip_instance_cache": True}  # other processes write there


def is_url(text: str) -> bool:
    """Whether a text is no path, but a URL."""
    return "://" in text


class ObjectStore:
    """The objects whose names begin with a folder's.

    Args:
        files: a file system of fsspec.
        root: the folder, as the file system names it.
        url: for messages.
    """

    def __init__(self, files: Any, root: str, url: str) -> None:
        self._files, self._root, self.url = files, root.rstrip("/"), url.rstrip("/")

    def below(self, name: str) -> ObjectStore:
        """A folder in it."""
        return ObjectStore(self._files, f"{self._root}/{name}", f"{self.url}/{name}")

    def read(self, name: str) -> bytes:
        """The content of an object.

        Raises:
            FileNotFoundError: there is none.
            StorageError: the store does not give it.
        """
        with self._reaching(name, "read"):
            data: bytes = self._files.cat_file(f"{self._root}/{name}")
        return data

    def write(self, name: str, data: bytes) -> None:
        """Makes or replaces an object.

        Raises:
            StorageError: the store does not take it.
        """
        with self._reaching(name, "written"), self._bucket_is_there():
            self._files.pipe_file(f"{self._root}/{name}", data)

    def create(self, name: str, data: bytes) -> bool:
        """Makes an object, unless there is one of that name; returns whether it has. Of several that try at a time one
        succeeds.

        Raises:
            StorageError: the store does not take it.
        """
        try:
            with self._reaching(name, "written"), self._bucket_is_there():
                self._files.pipe_file(f"{self._root}/{name}", data, mode="create")
        except FileExistsError:
            return False
        return True

    def names(self) -> list[str]:
        """The names of all objects, those in folders below with the folder's (`a/b`), sorted.

        Raises:
            StorageError: the store does not list them.
        """
        with self._reaching("", "read"):
            try:
                found = self._files.find(self._root)
            except FileNotFoundError:
                return []
        start = len(self._files._strip_protocol(self._root)) + 1
        return sorted(self._files._strip_protocol(path)[start:] for path in found)

    def folders(self) -> list[str]:
        """The names of the folders right in it, sorted.

        Raises:
            StorageError: the store does not list them.
        """
        with self._reaching("", "read"):
            try:
                found = self._files.ls(self._root, detail=True)
            except FileNotFoundError:
                return []
        return sorted(one["name"].rstrip("/").rpartition("/")[2] for one in found if one["type"] == "directory")

    def delete(self, names: Iterable[str]) -> None:
        """Deletes objects; one that is not there is none to delete.

        Raises:
            StorageError: the store refuses.
        """
        for name in names:
            with contextlib.suppress(FileNotFoundError), self._reaching(name, "deleted"):
                self._files.rm_file(f"{self._root}/{name}")

    @contextlib.contextmanager
    def _bucket_is_there(self) -> Iterator[None]:
        """What is made needs nothing but the bucket."""
        try:
            yield
        except FileNotFoundError as error:
            raise OSError(str(error) or "there is no such bucket") from error

    @contextlib.contextmanager
    def _reaching(self, name: str, what: str) -> Iterator[None]:
        """Says in one line what a store has against it."""
        try:
            yield
        except (FileNotFoundError, FileExistsError):
            raise
        except Exception as error:  # each store has its own: no credentials, no such endpoint, refused, ...
            why = (str(error).strip() or type(error).__name__).splitlines()[0]
            where = f"{self.url}/{name}".rstrip("/")
            raise StorageError(f"{where} cannot be {what}: {why[:300]}") from error


def store_at(url: str) -> ObjectStore:
    """The store that a URL names. Nothing is asked of it yet.

    Raises:
        UserError: it is no URL of such a store, or the package that reaches it is missing.
    """
    found = _URL.fullmatch(url)
    kind = url.partition("://")[0]
    if kind not in PACKAGES:
        raise UserError(
            f"{shown(url)} is of a kind that avtune does not know; allowed: "
            f"{choices(f'{each}://' for each in PACKAGES)} and paths{did_you_mean(kind, PACKAGES)}"
        )
    if found is None or ".." in found[3].split("/"):
        raise UserError(f"{shown(url)} names no folder of a bucket; allowed: {kind}://BUCKET/FOLDER")
    if importlib.util.find_spec(PACKAGES[kind]) is None:
        raise UserError(f"{kind}:// needs the package {PACKAGES[kind]}: pip install 'avtune[remote]'")
    return ObjectStore({"s3": _s3, "gs": _gs}[kind](), f"{found[2]}{found[3]}", url)


def _s3() -> Any:
    import fsspec

    # s3fs tries again by itself.
    config = {"connect_timeout": _CONNECT, "read_timeout": _READ, "retries": {"max_attempts": 1}}
    return fsspec.filesystem("s3", config_kwargs=config, **_NO_LISTINGS)


def _gs() -> Any:
    """Not the class that fsspec knows, which asks for the kind of the bucket before each request, through gRPC: whoever
    may not ask that has a warning each time, and what answers no gRPC is waited for."""
    from aiohttp import ClientTimeout
    from gcsfs.core import GCSFileSystem

    logging.getLogger("gcsfs").addHandler(logging.NullHandler())  # it prints tracebacks of what it also raises
    return GCSFileSystem(requests_timeout=ClientTimeout(sock_connect=_CONNECT, sock_read=_READ), **_NO_LISTINGS)
