"""A bucket on the loopback address, in memory, for gcsfs: it answers what gcsfs asks of Google Cloud Storage for
objects that are written, read, listed and deleted as a whole. Written from gcsfs's own source, so that it shows what
avtune does with gcsfs, and not what Google's servers do. Resumable uploads (of 50 MiB and more) are refused."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, unquote, urlsplit

_PAGE = 3  # items of a listing, so that there are several pages


class Refused(Exception):
    """An answer that is an error.

    Args:
        status: of HTTP.
        text: for people.
    """

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


class Bucket:
    """The objects of a bucket, by name.

    Attributes:
        lost: how many answers to uploads get lost: the object is made, and the answer is an error.
    """

    def __init__(self, name: str) -> None:
        self.name, self.lost = name, 0
        self._objects: dict[str, bytes] = {}
        self._generations: dict[str, int] = {}
        self._lock = threading.Lock()
        self._last = 0

    def names(self) -> list[str]:
        with self._lock:
            return sorted(self._objects)

    def read(self, name: str) -> bytes:
        with self._lock:
            self._look_for(name)
            return self._objects[name]

    def described(self, name: str) -> dict[str, str]:
        with self._lock:
            self._look_for(name)
            return self._described(name)

    def upload(self, name: str, data: bytes, condition: str | None) -> dict[str, str]:
        """
        Args:
            condition: the generation that is replaced, "0" for no object at all, None for whatever is there.
        """
        with self._lock:
            if condition is not None and condition != str(self._generations.get(name, 0)):
                raise Refused(412, "At least one of the pre-conditions you specified did not hold.")
            self._last += 1
            self._objects[name], self._generations[name] = data, self._last
            if self.lost:
                self.lost -= 1
                raise Refused(503, "Backend Error")
            return self._described(name)

    def delete(self, name: str) -> None:
        with self._lock:
            self._look_for(name)
            del self._objects[name], self._generations[name]

    def listed(self, query: dict[str, str]) -> dict[str, object]:
        """A page of a listing: objects, and what is common to those with a delimiter after the prefix."""
        prefix, delimiter, after = (query.get(key, "") for key in ("prefix", "delimiter", "pageToken"))
        with self._lock:
            entries: dict[str, dict[str, str] | None] = {}
            for name in sorted(self._objects):
                rest = name[len(prefix) :]
                if name.startswith(prefix):
                    folder = delimiter and delimiter in rest
                    key = prefix + rest.partition(delimiter)[0] + delimiter if folder else name
                    entries[key] = None if folder else self._described(name)
        left = sorted(key for key in entries if key > after)
        page: dict[str, object] = {"kind": "storage#objects"}
        page["items"] = [entries[key] for key in left[:_PAGE] if entries[key]]
        page["prefixes"] = [key for key in left[:_PAGE] if not entries[key]]
        return page | ({"nextPageToken": left[_PAGE - 1]} if len(left) > _PAGE else {})

    def _look_for(self, name: str) -> None:
        if name not in self._objects:
            raise Refused(404, f"No such object: {self.name}/{name}")

    def _described(self, name: str) -> dict[str, str]:
        size, generation = str(len(self._objects[name])), str(self._generations[name])
        return {"kind": "storage#object", "name": name, "bucket": self.name, "size": size, "generation": generation}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    bucket: Bucket

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def do_DELETE(self) -> None:
        self._answer()

    def log_message(self, *_: object) -> None:
        """Nothing."""

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        try:
            status, answer = self._done(body)
        except Refused as error:
            status, answer = error.status, {"error": {"code": error.status, "message": str(error)}}
        raw = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        with contextlib.suppress(ConnectionError):  # whoever asked has been killed
            self.send_response(status)
            self.send_header("Content-Type", "application/octet-stream" if raw is answer else "application/json")
            self.send_header("Content-Length", str(len(raw)))
            self.end_headers()
            self.wfile.write(raw)

    def _done(self, body: bytes) -> tuple[int, object]:
        url = urlsplit(self.path)
        query = dict(parse_qsl(url.query))
        kind, _, place = url.path.partition("storage/v1/b/")
        bucket, _, name = (unquote(part) for part in place.partition("/o"))
        if bucket != self.bucket.name:
            raise Refused(404, "The specified bucket does not exist.")
        match self.command, kind, name[1:]:
            case "GET", "/", "":
                return 200, self.bucket.listed(query)
            case "GET", "/", name:
                return 200, self.bucket.described(name)
            case "GET", "/download/", name:
                return 200, self.bucket.read(name)
            case "DELETE", "/", name:
                self.bucket.delete(name)
                return 204, b""
            case "POST", "/upload/", "" if query.get("uploadType") == "multipart":
                about, data = _two_parts(body, self.headers["Content-Type"])
                return 200, self.bucket.upload(json.loads(about)["name"], data, query.get("ifGenerationMatch"))
        raise Refused(501, f"{self.command} {self.path} is not served here")


def _two_parts(body: bytes, kind: str) -> tuple[bytes, bytes]:
    """The contents of a `multipart/related`: what describes an object, and its data."""
    boundary = kind.partition("boundary=")[2].strip('"').encode()
    _, first, second = body[: body.rindex(b"\n--" + boundary + b"--")].split(b"--" + boundary + b"\n", 2)
    return first.partition(b"\n\n")[2], second.partition(b"\n\n")[2]


@contextlib.contextmanager
def served(bucket: Bucket) -> Iterator[str]:
    """The address of a server of a bucket, which ends with the block."""
    handler = type("Handler", (_Handler,), {"bucket": bucket})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, name="gs-server", daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
