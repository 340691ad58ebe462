"""TensorBoard on the loopback address, until it is interrupted."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from avtune.core.errors import UserError


def serve(folder: Path, port: int, say: Callable[[str], None]) -> int:
    """Starts TensorBoard on a folder as a process of its own and waits for it.

    Args:
        port: on 127.0.0.1; 0 picks a free one.

    Returns:
        TensorBoard's exit code; 0 after an interrupt.

    Raises:
        UserError: the port is no port.
    """
    if not 0 <= port <= 65535:
        raise UserError(f"--port is {port}; allowed: 0 to 65535, 0 picks a free one")
    # -P: else a file of the current folder could be imported in the place of a package.
    command = [sys.executable, "-P", "-W", "ignore", "-m", "tensorboard.main", "--logdir", str(folder)]
    command += ["--host", "127.0.0.1"]
    say(f"TensorBoard on {folder}; stop it with Ctrl-C")
    server = subprocess.Popen([*command, "--port", str(port), "--load_fast=false"])
    try:
        return server.wait()
    except KeyboardInterrupt:
        return 0
    finally:
        if server.poll() is None:
            server.send_signal(signal.SIGTERM)
            server.wait()
