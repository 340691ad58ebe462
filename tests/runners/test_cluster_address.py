"""The address of a cluster, before Ray tries it. What Ray does with a wrong one takes minutes and no signal."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from avtune.core.errors import UserError
from avtune.runners.ray import address as address_module
from avtune.runners.ray.address import cluster_address
from avtune.runners.ray.cluster import check_token_is_set


@pytest.fixture
def served() -> Iterator[str]:
    """An address where something accepts connections."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


@pytest.fixture(autouse=True)
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where `ray start` leaves its address, with nothing there yet."""
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    (tmp_path / "ray").mkdir()
    return tmp_path / "ray" / "ray_current_cluster"


def said(given: str) -> str:
    with pytest.raises(UserError) as error:
        cluster_address(given)
    return str(error.value)


def test_an_address_that_answers(served: str) -> None:
    assert cluster_address(served) == served


def test_a_port_that_nobody_serves() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    text = said(f"127.0.0.1:{port}")
    assert text.startswith(f"--cluster is '127.0.0.1:{port}': nothing accepts connections there (Connection refused)")


@pytest.mark.parametrize(
    "given", ["10.0.0.5", "10.0.0.5:", ":6379", "10.0.0.5:ray", "10.0.0.5:0", "10.0.0.5:70000", ""]
)
def test_what_is_no_address(given: str) -> None:
    assert f"--cluster is {given!r}; allowed: host:port" in said(given)


@pytest.mark.parametrize(("given", "why"), [("ray://h:10001", "Ray's client"), ("http://h:8265", "an address of http")])
def test_addresses_of_other_kinds(given: str, why: str) -> None:
    assert why in said(given)


def test_a_name_that_is_unknown() -> None:
    assert "no machine of the name 'no-such-machine.invalid' is known" in said("no-such-machine.invalid:6379")


def test_a_name_service_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    ended = threading.Event()
    monkeypatch.setattr(address_module, "PATIENCE", 0.05)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *words, **more: ended.wait())
    try:
        assert "the name service has not answered in 0.05 s" in said("n1:6379")
    finally:
        ended.set()


def test_auto_takes_what_the_environment_says(served: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", served)
    assert cluster_address("auto") == served


def test_auto_takes_the_ray_that_was_started_last(served: str, environment: Path) -> None:
    environment.write_text(served)
    assert cluster_address("auto") == served


def test_auto_with_an_address_that_is_out_of_date(environment: Path) -> None:
    environment.write_text("127.0.0.1:1")
    assert f"--cluster is 'auto', which is 127.0.0.1:1 (from {environment}): nothing accepts" in said("auto")


def test_auto_without_any_ray(environment: Path) -> None:
    assert f"no Ray has been started on this machine: there is no {environment}" in said("auto")


def test_auto_does_not_take_the_ray_of_another_user(
    served: str, environment: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment.write_text(served)
    monkeypatch.setattr("os.getuid", lambda: 12345)
    assert "the Ray that was started last on this machine is" in said("auto")


def test_a_token_is_found_without_a_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HOME")
    monkeypatch.setattr("pwd.getpwuid", lambda number: {}[number])
    monkeypatch.delenv("RAY_AUTH_TOKEN_PATH", raising=False)
    monkeypatch.setenv("RAY_AUTH_TOKEN", "a" * 64)
    check_token_is_set()
    monkeypatch.delenv("RAY_AUTH_TOKEN")
    with pytest.raises(UserError, match="needs the cluster's token: set RAY_AUTH_TOKEN"):
        check_token_is_set()
    (tmp_path / "token").touch()
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(tmp_path / "token"))
    check_token_is_set()
