"""What a user's own code prints is kept in the study, a file for each run, and stays off the screen."""

import errno
import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest
from command import call
from terminal import terminal
from user_code import function_search, method_search

from avtune.cli.progress import Progress
from avtune.core import output
from avtune.core.errors import StorageError
from avtune.core.output import Output

assert terminal  # a fixture
PRINTS = """print("on stdout", config["x"], file=sys.stdout)
    print("on stderr", file=sys.stderr)
    log.error("by logging")"""


def test_prints_and_logging_of_every_run_are_kept_and_not_shown(workplace, capsys):
    printed = call(capsys, *function_search(PRINTS, "--trials", "2"))
    for word in ("on stdout", "on stderr", "by logging"):
        assert word not in printed
    names = ["finalist_0_seed_0.txt", "retrained_0_seed_0.txt", "trial_0.txt", "trial_1.txt"]
    files = {path.name: path.read_text() for path in sorted(Path("results/one/output").iterdir())}
    assert [name for name in names if name not in files] == []
    for name, text in files.items():
        assert text.startswith(f"--- {name.removesuffix('.txt')}, seed ")
        assert [word for word in ("on stdout", "on stderr", "by logging") if word not in text] == []
    assert Path("results/one/output/trial_0.txt").stat().st_mode & 0o077 == 0


def test_what_the_driver_prints_meanwhile_is_shown(workplace, capsys):
    """A metric that is no number ends the trial inside of its report: that line is ours."""
    words = function_search("print('mine'); report(1, {'val_map': float('nan')})")
    printed = call(capsys, *words, code=1)
    assert "val_map is nan" in printed
    assert "trial 0 failed" not in Path("results/one/output/trial_0.txt").read_text()


def test_what_a_method_prints_is_kept(workplace, capsys):
    assert "in the loss" not in call(capsys, *method_search("print('in the loss')", "--trials", "1"))
    assert "in the loss" in Path("results/one/output/trial_0.txt").read_text()


def test_methods_of_ours_leave_no_such_folder(workplace, capsys):
    words = method_search("pass", "--trials", "1")
    words[words.index("my_method:Mine")] = "clip"
    call(capsys, *words)
    assert not Path("results/one/output").exists()


def test_a_file_is_bounded_and_keeps_the_end(tmp_path):
    one = Output(tmp_path / "output" / "a.txt", "me")
    with one.captured():
        for number in range(40_000):
            print("line", number, "x" * 30)
    one.close()
    data = (tmp_path / "output" / "a.txt").read_bytes()
    assert output.MOST // 2 < len(data) <= output.MOST
    lines = data.decode().splitlines()
    assert "left out" in lines[0]
    assert lines[-1].startswith("line 39999")
    assert all(line.startswith("line ") for line in lines[1:])
    assert [path.name for path in (tmp_path / "output").iterdir()] == ["a.txt"]


def test_other_threads_processes_and_streams_that_were_kept(tmp_path):
    import threading

    path = tmp_path / "output" / "a.txt"
    kept = []
    for number in (1, 2):  # a handler made in the first run writes to the second run's file in the second
        one = Output(path.with_stem(f"a{number}"))
        with one.captured():
            if number == 1:
                kept.append(logging.StreamHandler())
            kept[0].emit(logging.LogRecord("a", 20, "a", 1, f"by the handler {number}", (), None))
            thread = threading.Thread(target=print, args=("by a thread",))
            thread.start()
            thread.join()
            sys.stdout.buffer.write(b"as bytes \xff\n")
            subprocess.run([sys.executable, "-c", "print('by a process')"], stdout=sys.stdout, check=True)
            print("torn", end="")
        one.close()
        data = path.with_stem(f"a{number}").read_bytes()
        for word in (f"handler {number}", "by a thread", "as bytes", "by a process", "torn"):
            assert word.encode() in data


def test_the_terminal_is_as_it_was_whatever_the_code_raises(tmp_path):
    before = sys.stdout, sys.stderr
    handler = logging.StreamHandler()
    logging.root.addHandler(handler)
    try:
        with pytest.raises(SystemExit), Output(tmp_path / "a.txt").captured():
            raise SystemExit
        assert (sys.stdout, sys.stderr) == before
        assert handler.stream is before[1]
    finally:
        logging.root.removeHandler(handler)


def test_a_live_table_is_not_written_into(tmp_path, terminal):
    """The table is drawn by a thread of its own, while the code prints."""
    screen = terminal()
    one = Output(tmp_path / "a.txt")
    with Progress(3) as progress, progress.training(), one.captured():
        print("by the code")
        progress.display._region.refresh()
    one.close()
    assert b"by the code" not in screen.raw
    assert b"0 of 3 ended" in screen.raw
    text = (tmp_path / "a.txt").read_text()
    assert "by the code" in text
    assert "of 3 ended" not in text


def test_code_that_closes_its_stdout_spoils_it_for_itself_only(tmp_path):
    for name in ("a", "b"):
        one = Output(tmp_path / name)
        with one.captured():
            print(f"by {name}")
            sys.stdout.close()
        one.close()
        assert f"by {name}" in (tmp_path / name).read_text()


def test_a_full_disk_is_said_once_the_code_has_ended(tmp_path, monkeypatch):
    def full(handle, data):
        raise OSError(errno.ENOSPC, "No space left on device")

    one = Output(tmp_path / "a.txt")
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        with one.captured():
            print("lost")
            print("lost too")
    with pytest.raises(StorageError, match=r"a\.txt cannot be written: No space left"):
        one.close()


def test_a_full_disk_ends_the_search(workplace, capsys, monkeypatch):
    monkeypatch.setattr(Output, "fileno", lambda self: (_ for _ in ()).throw(OSError(errno.ENOSPC, "No space left")))
    assert "trial_0.txt cannot be written" in call(capsys, *function_search("print('hello')"), code=2)
