"""Scratch folders: private to a run, gone with it, and after a kill gone with the next one."""

import fcntl
import stat

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
