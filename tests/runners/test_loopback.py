"""A machine without a loopback interface is told so before Ray starts."""

import errno
import socket

import pytest

from avtune.core.errors import UserError
from avtune.runners import loopback
from avtune.runners.ray import local as ray_local


def test_a_loopback_interface_that_works_passes():
    loopback.check_loopback()


@pytest.mark.parametrize(
    ("error", "why"),
    [
        (OSError(errno.ENETUNREACH, "Network is unreachable"), "Network is unreachable"),
        (TimeoutError("timed out"), "timed out"),
    ],
)
def test_one_that_is_down_is_said_before_ray_starts(monkeypatch, error, why):
    def down(*words, **more):
        raise error

    monkeypatch.setattr(socket, "create_connection", down)
    monkeypatch.setattr(ray_local, "scratch_folder", lambda: pytest.fail("Ray's folder was made"))
    with pytest.raises(UserError) as caught, ray_local.local_ray(1, 0, 0):
        pytest.fail("it started")
    assert str(caught.value).splitlines() == [
        f"processes of this machine cannot connect to each other through 127.0.0.1: {why}",
        "is the loopback interface down? `ip link set lo up` starts it, or take --runner inline",
    ]
