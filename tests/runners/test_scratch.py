"""Scratch folders: private to a run, gone with it, and after a kill gone with the next one."""

import errno
import fcntl
import os
import shutil
import stat
import subprocess
import sys
from collections import namedtuple
from pathlib import Path

import pytest
from toy import write_toy

from avtune.core.errors import StorageError, UserError
from avtune.runners import scratch


def dead(root, name):
    """What a killed run leaves."""
    folder = root / name
    (folder / "ray").mkdir(parents=True)
    (folder / "ray" / "log").write_text("x")
    (folder / "owner").touch()
    return folder


def test_only_the_folders_of_dead_runs_are_taken_away(tmp_path):
    gone, living, strange, other = (dead(tmp_path, name) for name in ("avtune-a", "avtune-b", "avtune-c", "thing-d"))
    (strange / "owner").unlink()
    (tmp_path / "avtune-link").symlink_to(other)
    with (living / "owner").open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        scratch._sweep(tmp_path)
    assert not gone.exists()
    assert all((folder / "ray" / "log").exists() for folder in (living, strange, other))
    scratch._sweep(tmp_path)
    assert not living.exists(), "its run has ended meanwhile"
    assert (other / "ray" / "log").exists()


def test_a_folder_is_private_and_ends_with_its_block():
    with scratch.scratch_folder() as folder:
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert len(str(folder)) < 40, "the path of a socket in it must stay below 108 bytes"
        with scratch.scratch_folder() as second:
            assert folder.exists(), "a run sweeps no living one"
            assert second != folder
    assert not folder.exists()


def test_what_a_kill_left_of_a_start_is_taken_away(tmp_path):
    for name in ("avtune-abc", ".avtune-new-full"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "mine").touch()
    (tmp_path / ".avtune-new-empty").mkdir()
    dead(tmp_path, ".avtune-new-dead")
    scratch._sweep(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".avtune-new-full", "avtune-abc"], (
        "those may be a user's"
    )


@pytest.mark.parametrize("when", ["mkdtemp", "open", "lock"])
def test_a_start_whose_folder_another_start_takes_away_makes_another(when, tmp_path, monkeypatch):
    """Another process may sweep at any moment, before there is a lock that it could see."""
    swept = []

    def sweeping(function):
        def run(*words, **more):
            if when == "lock" and not swept:
                swept.append(True)
                scratch._sweep(tmp_path)
            made = function(*words, **more)
            if when != "lock" and not swept:
                swept.append(True)
                scratch._sweep(tmp_path)
            return made

        return run

    owner, name = {
        "mkdtemp": (scratch.tempfile, "mkdtemp"), "open": (scratch.Path, "open"), "lock": (scratch, "lock")
    }[when]  # fmt: skip
    monkeypatch.setattr(owner, name, sweeping(getattr(owner, name)))
    with scratch.scratch_folder(tmp_path) as folder:
        assert swept
        assert (folder / "owner").exists()
        scratch._sweep(tmp_path)
        assert [path.name for path in tmp_path.iterdir()] == [folder.name]
    assert not list(tmp_path.iterdir())


def test_the_owner_file_goes_last(tmp_path, monkeypatch):
    """What cannot be deleted now is still known to be ours."""
    folder = dead(tmp_path, "avtune-a")
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", lambda path, ignore_errors: None)
        scratch._sweep(tmp_path)
        assert sorted(path.name for path in folder.iterdir()) == ["owner", "ray"]
    scratch._sweep(tmp_path)
    assert not folder.exists()


def test_tmpdir_is_used(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    with scratch.scratch_folder() as folder:
        assert folder.resolve().parent == tmp_path
    assert not list(tmp_path.iterdir())


def test_a_long_path_has_a_short_name(tmp_path, monkeypatch):
    short = tmp_path / "short"
    short.mkdir()
    monkeypatch.setattr(scratch, "_SHORT", (str(tmp_path / "none"), str(short)))
    root = tmp_path / ("long" * 10)
    with scratch.scratch_folder(root) as folder:
        assert folder.parent == short
        assert folder.resolve().parent == root
        scratch._sweep(short)
        assert folder.exists()
    assert not list(short.iterdir())
    assert not list(root.iterdir())
    with scratch.scratch_folder(root) as folder:
        scratch.remove(folder)
        assert not list(short.iterdir())
        assert not list(root.iterdir())


def test_a_link_that_a_dead_run_left_is_taken_away(tmp_path):
    (tmp_path / "avtune-gone").symlink_to(tmp_path / "disk" / "avtune-gone")
    (tmp_path / "avtune-other").symlink_to(tmp_path / "disk" / "thing")
    scratch._sweep(tmp_path)
    assert [path.name for path in tmp_path.glob("avtune-*")] == ["avtune-other"]


def test_no_place_for_a_short_name(tmp_path, monkeypatch):
    monkeypatch.setattr(scratch, "_SHORT", (str(tmp_path / "none"),))
    root = tmp_path / ("long" * 10)
    with pytest.raises(StorageError, match=r"too long a path.*set TMPDIR"), scratch.scratch_folder(root):
        pytest.fail("it has none")
    assert not list(root.iterdir())


def test_a_folder_that_cannot_be_written_names_the_ways_out(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path / "gone"))
    with pytest.raises(StorageError) as caught, scratch.scratch_folder():
        pytest.fail("it is not there")
    assert str(caught.value) == (
        f"{tmp_path / 'gone'} (TMPDIR) cannot be written: No such file or directory; "
        "set TMPDIR to a folder on another disk, or take --runner inline"
    )


Usage = namedtuple("Usage", "free")


def test_a_full_disk_is_said_before_and_after(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    free = [1 << 20]
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(free[0]))
    with pytest.raises(StorageError, match=r"is full \(1\.0 MiB free\).*set TMPDIR"), scratch.scratch_folder():
        pytest.fail("it is full")

    def fill(left, error):
        free[0] = left
        raise error

    for left, raised, expected in (
        (0, RuntimeError("in Ray's words"), StorageError),
        (0, UserError("ours"), UserError),
        (1 << 30, KeyError(), KeyError),
    ):
        free[0] = 1 << 30
        with pytest.raises(expected) as caught, scratch.scratch_folder():
            fill(left, raised)
        assert ("is full" in str(caught.value)) == (expected is StorageError)
    assert not list(tmp_path.iterdir())


def test_no_file_locks(tmp_path, monkeypatch):
    def flock(handle, kind):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(fcntl, "flock", flock)
    with pytest.raises(UserError, match=r"has no file locks \(No locks available\)"), scratch.scratch_folder():
        pytest.fail("it has none")
    assert not list(tmp_path.iterdir())


def can_mount():
    command = ["unshare", "-m", "mount", "-t", "tmpfs", "tmpfs", "/mnt"]
    try:
        return subprocess.run(command, capture_output=True).returncode == 0
    except OSError:
        return False


# Folders that are needed below /tmp are kept aside, and put into the new /tmp before nothing can be written there.
_RUN = """
set -e
place=$1; shift
IFS=:; number=0
for needed in $NEEDED; do
    number=$((number + 1)); mkdir -p "$place/aside/$number"; mount --bind "$needed" "$place/aside/$number"
done
mount -t tmpfs tmpfs /tmp
number=0
for needed in $NEEDED; do
    number=$((number + 1)); mkdir -p "$needed"; mount --bind "$place/aside/$number" "$needed"
done
mount -o remount,ro tmpfs /tmp
cd "$place"; "$@"
"""
_BELOW = Path("/tmp")


def needed_below_tmp():
    """Where avtune and this Python are, as far as that is below /tmp."""
    folders = {Path(scratch.__file__).parents[2], Path(sys.prefix), Path(sys.base_prefix)}
    below = {folder for folder in folders if folder.is_relative_to(_BELOW)}
    return sorted(
        str(folder) for folder in below if not any(folder.is_relative_to(other) for other in below - {folder})
    )


@pytest.mark.ray
@pytest.mark.long
@pytest.mark.skipif(sys.platform != "linux" or not can_mount(), reason="mounting is not allowed here")
def test_a_search_where_tmp_is_read_only():
    """For real, in a mount namespace of its own."""
    place = Path("/var/tmp")
    made = [place / f"avtune-test-{os.getpid()}", place / f"avtune-test-{os.getpid()}-and-a-long-name-for-its-folder"]
    try:
        for folder in made:
            folder.mkdir(mode=0o700)
        write_toy(made[0])
        words = ["search", "toy.h5", "--space", "space.yaml", "--gpus", "0", "--trials", "1"]
        words += ["--set", "final.finalists=1", "--set", "final.seeds=1", "--set", "final.reference=none"]
        command = ["unshare", "-m", "bash", "-c", _RUN, "run", str(made[0]), sys.executable, "-m", "avtune", *words]
        environment = {name: value for name, value in os.environ.items() if name != "TMPDIR"}
        environment["NEEDED"] = ":".join(needed_below_tmp())
        refused = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=180)
        assert refused.returncode == 2
        assert refused.stderr.splitlines() == [
            "avtune: /tmp cannot be written: Read-only file system; "
            "set TMPDIR to a folder on another disk, or take --runner inline"
        ]
        assert not (made[0] / "results").exists()
        environment["TMPDIR"] = str(made[1])
        ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=180)
        assert (ended.returncode, ended.stderr) == (0, "")
        assert not list(made[1].iterdir())
    finally:
        for folder in made:
            shutil.rmtree(folder, ignore_errors=True)
