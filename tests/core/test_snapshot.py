"""The files of a folder at one moment."""

import os

import pytest

from avtune.core.snapshot import Unsettled, looked_at, parts_of


def everything(name):
    return True


def content(folder, name, seen, *, grows=False):
    return b"".join(parts_of(folder / name, seen[name], 4, grows=grows))


def test_files_are_seen_and_read_in_parts(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "long").write_bytes(b"0123456789")
    (tmp_path / "empty").touch()
    (tmp_path / "left").write_text("out")
    (tmp_path / "link").symlink_to(tmp_path / "empty")
    seen = looked_at(tmp_path, lambda name: name != "left")
    assert {name: stamp.size for name, stamp in seen.items()} == {"a/long": 10, "empty": 0}
    assert list(parts_of(tmp_path / "a" / "long", seen["a/long"], 4, grows=False)) == [b"0123", b"4567", b"89"]
    assert content(tmp_path, "empty", seen) == b""


def test_a_folder_that_changes_between_two_looks_is_looked_at_again(tmp_path):
    """The first file grows after the first look, with the second: what is seen has both or neither."""
    first, second = tmp_path / "1", tmp_path / "2"
    first.write_text("a")
    looks = []

    def wanted(name):
        looks.append(name)
        if len(looks) == 1:  # the first file has not been looked at yet
            second.write_text("b")
        if len(looks) == 2:  # now it has
            first.write_text("longer")
            second.write_text("longer")
        return True

    seen = looked_at(tmp_path, wanted, pause=lambda seconds: None)
    assert {name: stamp.size for name, stamp in seen.items()} == {"1": 6, "2": 6}


def test_a_folder_that_never_rests_is_said(tmp_path):
    file = tmp_path / "file"

    def wanted(name):
        with file.open("a") as out:
            out.write("x")
        return True

    file.touch()
    with pytest.raises(Unsettled):
        looked_at(tmp_path, wanted, pause=lambda seconds: None)


def test_of_a_file_that_has_grown_the_part_that_was_seen_is_read(tmp_path):
    (tmp_path / "lines").write_bytes(b"12345")
    seen = looked_at(tmp_path, everything)
    with (tmp_path / "lines").open("ab") as file:
        file.write(b"678")
    assert content(tmp_path, "lines", seen, grows=True) == b"12345"
    with pytest.raises(Unsettled):
        content(tmp_path, "lines", seen)


@pytest.mark.parametrize("grows", [False, True])
def test_a_file_that_was_replaced_cut_or_deleted_is_not_taken_for_what_was_seen(tmp_path, grows):
    path = tmp_path / "file"
    path.write_bytes(b"12345")
    seen = looked_at(tmp_path, everything)
    other = tmp_path / "other"
    other.write_bytes(b"abcdefgh")
    os.replace(other, path)
    with pytest.raises(Unsettled):
        content(tmp_path, "file", seen, grows=grows)
    seen = looked_at(tmp_path, everything)
    os.truncate(path, 2)
    with pytest.raises(Unsettled):
        content(tmp_path, "file", seen, grows=grows)
    path.unlink()
    with pytest.raises(Unsettled):
        content(tmp_path, "file", seen, grows=grows)
