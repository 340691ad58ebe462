"""A Ray that does not start is said in a line or two, with the reason that its logs have."""

import contextlib
import errno
import os
import shutil
import subprocess
import sys
from collections import namedtuple

import pytest
from toy import write_toy

from avtune.cli.main import main
from avtune.core import system
from avtune.core.errors import UserError
from avtune.runners.ray import local as ray_local
from avtune.runners.ray.start_errors import last_words
from avtune.workflows import doctor

AGENT = """2026-01-01 10:00:00,000\tINFO utils.py:330 -- Module x cannot be loaded: ImportError
Traceback (most recent call last):
  File "common.py", line 947, in <module>
TypeError: unsupported operand type(s) for +=: 'NoneType' and 'str'
"""
CORE = """[2026-01-01 10:00:00,000 I 55 55] (raylet) main.cc:1: Starting
[2026-01-01 10:00:01,000 E 55 57] (raylet) agent_manager.cc:87: The raylet exited immediately because an agent failed
[2026-01-01 10:00:02,000 C 55 55] (raylet) node_manager.cc:3588:  Check failed: status
*** StackTrace Information ***
"""


@pytest.fixture
def failing(monkeypatch, tmp_path):
    """Makes Ray leave logs (texts by name) and fail to start."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))

    def failing(error, **logs):
        @contextlib.contextmanager
        def session(settings, start, *, _temp_dir, **more):
            folder = ray_local.Path(_temp_dir) / "session_2026" / "logs"
            (folder / "old").mkdir(parents=True)
            for name, text in logs.items():
                (folder / name).write_text(text)
            with start():
                raise error
            yield

        monkeypatch.setattr(ray_local, "ray_session", session)

    return failing


def start():
    with pytest.raises(UserError) as caught, ray_local.local_ray(1, 0, 0):
        pytest.fail("it did")
    return str(caught.value).splitlines()


TIMED_OUT = Exception("The current node timed out during startup.\nThis could happen because")


def test_the_last_words_of_its_logs_are_the_reason(failing, tmp_path):
    failing(TIMED_OUT, agent=AGENT, raylet=CORE, empty="", gcs="nothing to say\n")
    assert start() == [
        "Ray does not start: The current node timed out during startup.",
        "its last words: TypeError: unsupported operand type(s) for +=: 'NoneType' and 'str'",
    ]
    assert not list(tmp_path.iterdir())


def test_what_its_core_says_counts_where_python_says_nothing(failing):
    failing(TIMED_OUT, raylet=CORE)
    assert start()[1] == "its last words: The raylet exited immediately because an agent failed"


def test_a_start_without_words(failing):
    failing(ConnectionError())
    assert start() == ["Ray does not start: ConnectionError"]
    assert doctor._ray() == {"state": "bad", "what": "Ray", "found": "Ray does not start: ConnectionError"}


def test_long_and_broken_logs(tmp_path):
    logs = tmp_path / "session_1" / "logs"
    logs.mkdir(parents=True)
    (logs / "a").write_bytes(b"\xff" * (1 << 17) + b"\nValueError: " + b"x" * 1000 + b"\n")
    (logs / "gone").symlink_to(tmp_path / "none")
    assert len(last_words(tmp_path)) == 240
    assert last_words(tmp_path).startswith("ValueError: xxx")
    assert last_words(tmp_path / "none") == ""


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("RuntimeError: can't start new thread\n", "threads cannot be started"),
        (f"OSError: [Errno {errno.EAGAIN}] Resource temporarily unavailable\n", "threads cannot be started"),
        ("ray.exceptions.OutOfMemoryError: killed\n", "out of memory: a process of Ray's was ended while it started"),
    ],
)
def test_limits_are_said_in_their_own_words(failing, words, said):
    failing(TIMED_OUT, agent=words)
    assert start()[0].startswith(said)


def test_a_full_disk_is_said_in_its_own_words(failing, monkeypatch):
    usage = namedtuple("usage", "free")
    free = [1 << 30, 0]
    failing(TIMED_OUT, agent=AGENT)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(free.pop(0)))
    assert " is full (0.0 MiB free)" in start()[0]


def test_a_death_for_lack_of_memory_counts(failing, monkeypatch):
    kills = iter(range(10))
    monkeypatch.setattr(system, "out_of_memory_kills", lambda: next(kills))
    failing(TIMED_OUT)
    assert start()[0].startswith("out of memory: ")


@pytest.mark.slow
@pytest.mark.long
def test_python_without_texts_is_said_at_once(tmp_path):
    write_toy(tmp_path)
    command = [sys.executable, "-m", "avtune", "search", "toy.h5", "--space", "space.yaml", "--gpus", "0"]
    environment = os.environ | {"PYTHONOPTIMIZE": "2"}
    ended = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120)
    assert ended.returncode == 2
    assert ended.stderr.splitlines() == [
        "avtune: Python runs with -OO (PYTHONOPTIMIZE=2), without the texts that Ray reads from its own code",
        "unset PYTHONOPTIMIZE, or take --runner inline",
    ]
    assert not (tmp_path / "results").exists()


def test_a_log_that_is_not_there_is_not_named(tmp_path, monkeypatch, capsys):
    from avtune.workflows import search

    def broken(request, listener):
        raise RuntimeError("a mistake of ours")

    monkeypatch.setattr(search, "search", broken)
    data, space = write_toy(tmp_path)
    words = ["search", data, "--space", space, "--name", "one", "--results", tmp_path / "results"]
    assert main([str(word) for word in words]) == 1
    said = capsys.readouterr().err
    assert said.splitlines()[0] == "avtune: RuntimeError: a mistake of ours"
    assert "details in" not in said
    assert not (tmp_path / "results").exists()
