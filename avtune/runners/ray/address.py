"""The address of a Ray cluster, checked before Ray tries it. No Ray here.

Ray itself waits ten minutes and more for an address that nobody serves, without a word and deaf to Ctrl-C.
"""

from __future__ import annotations

import os
import pwd
import queue
import socket
import tempfile
import threading
from pathlib import Path

from avtune.core.errors import UserError

PATIENCE = 5.0  # seconds for a name to be resolved, and for a connection
_CURRENT = "ray_current_cluster"  # where `ray start` writes its address, in Ray's folder for temporary files


def cluster_address(given: str) -> str:
    """The address `host:port` of a cluster, where something accepts connections.

    Args:
        given: `host:port`; or `auto`: what RAY_ADDRESS says, else the Ray that this user started last on this machine.

    Raises:
        UserError: it is no address, or nothing answers there within `PATIENCE` seconds.
    """
    address, source = _auto() if given == "auto" else (given, "")
    host, port = _parsed(address, source)
    _check_answers(host, port, f"--cluster is {given!r}" + (f", which is {address} ({source})" if source else ""))
    return address


def _parsed(address: str, source: str) -> tuple[str, int]:
    said = f"--cluster is {address!r}" + (f" ({source})" if source else "")
    if "://" in address:
        scheme = address.partition("://")[0]
        why = (
            "Ray's client, through which avtune's driver cannot run"
            if scheme == "ray"
            else f"an address of {scheme}, which is not Ray's own"
        )
        raise UserError(f"{said}: {why}; give host:port of the head, as in 10.0.0.5:6379, on a machine of the cluster")
    host, mark, port = address.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not mark or not host or not port.isdecimal() or not 0 < int(port) < 1 << 16:
        raise UserError(f"{said}; allowed: host:port of the cluster's head, as in 10.0.0.5:6379, or auto")
    return host, int(port)


def _auto() -> tuple[str, str]:
    """The address that `auto` stands for, and where it is from."""
    if address := os.environ.get("RAY_ADDRESS"):
        return address, "from RAY_ADDRESS"
    file = Path(os.environ.get("RAY_TMPDIR") or tempfile.gettempdir()) / "ray" / _CURRENT
    try:
        owner, address = file.stat().st_uid, file.read_text().strip()
    except OSError:
        raise UserError(
            f"--cluster is 'auto', and no Ray has been started on this machine: there is no {file}, and RAY_ADDRESS "
            "is not set\ngive the head's address, as in --cluster 10.0.0.5:6379"
        ) from None
    if owner != os.getuid():
        raise UserError(
            f"--cluster is 'auto', and the Ray that was started last on this machine is {_name(owner)}'s ({file})\n"
            "give the address of yours; with a RAY_TMPDIR of its own, a Ray does not meet those of others"
        )
    return address, f"from {file}"


def _name(user: int) -> str:
    try:
        return pwd.getpwuid(user).pw_name
    except KeyError:
        return f"user {user}"


def _check_answers(host: str, port: int, said: str) -> None:
    try:
        families = _resolved(host, port)
    except OSError as error:
        raise UserError(f"{said}: no machine of the name {host!r} is known ({error.args[-1]})") from None
    failure: OSError = OSError("no address")
    for family, kind, protocol, _, where in families:
        with socket.socket(family, kind, protocol) as tried:
            tried.settimeout(PATIENCE)
            try:
                tried.connect(where)
                return
            except OSError as error:
                failure = error
    why = f"no answer in {PATIENCE:g} s" if isinstance(failure, TimeoutError) else failure.strerror or str(failure)
    raise UserError(
        f"{said}: nothing accepts connections there ({why})\n"
        "is the cluster up, and is this its head's address? `ray start --head` prints it; docs/cluster.md"
    )


def _resolved(host: str, port: int) -> list[tuple[int, int, int, str, tuple[object, ...]]]:
    """`getaddrinfo`, given up after `PATIENCE` seconds: in the main thread it hears no signal for minutes.

    Raises:
        OSError: the name is not known, or nobody has said.
    """
    found: queue.Queue[object] = queue.Queue()

    def resolve() -> None:
        try:
            found.put(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        except OSError as error:
            found.put(error)
        except UnicodeError as error:  # of a name that no host can have
            found.put(OSError(str(error)))

    threading.Thread(target=resolve, name="avtune resolves", daemon=True).start()
    try:
        answer = found.get(timeout=PATIENCE)
    except queue.Empty:
        raise OSError(f"the name service has not answered in {PATIENCE:g} s") from None
    if isinstance(answer, OSError):
        raise answer
    return answer  # type: ignore[return-value]
