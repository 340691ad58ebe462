"""Whether this machine's loopback interface works, which a private Ray needs. No Ray here."""

from __future__ import annotations

import socket

from avtune.core.errors import UserError

_ADDRESS = "127.0.0.1"
_PATIENCE = 1.0  # seconds


def check_loopback() -> None:
    """Connects to itself. Without it Ray tries for a quarter of an hour, deaf to signals.

    Raises:
        UserError: no connection comes about.
    """
    try:
        with socket.create_server((_ADDRESS, 0)) as server:
            socket.create_connection(server.getsockname(), timeout=_PATIENCE).close()
    except OSError as error:
        raise UserError(
            f"processes of this machine cannot connect to each other through {_ADDRESS}: {error.strerror or error}\n"
            "is the loopback interface down? `ip link set lo up` starts it, or take --runner inline"
        ) from None
