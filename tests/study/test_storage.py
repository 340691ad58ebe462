"""What a full disk, a missing permission or a folder that has gone does to a study: one line, and nothing else."""

import contextlib
import errno
import fcntl
import os
import re
import stat

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_study import drive, make_space, outcome
from toy import toy_dataset

from avtune.core.errors import StorageError, UserError
from avtune.core.files import append_line, read_lines, stream_lines, unchecked, write_bytes, write_text
from avtune.data.formats import write_hdf5
from avtune.study.folder import StudyFolder
from avtune.study.study import Study

SAYS = {
    errno.ENOSPC: "No space left on device",
    errno.EACCES: "Permission denied",
    errno.EROFS: "Read-only file system",
    errno.EIO: "Input/output error",
    errno.EDQUOT: "Disk quota exceeded",
}


def make_study(root):
    folder = StudyFolder(root)
    space = make_space()
    folder.create({"format": 1, "dataset": {"name": "toy"}, "space": space.as_dict()}, {})
    return Study(folder, space)


class Broken:
    """Makes a function of `os` fail from its n-th call on."""

    def __init__(self, patch, name, number, after=0):
        self.left, self.number, self.real = after, number, getattr(os, name)
        patch.setattr(os, name, self)

    def __call__(self, *words, **more):
        if self.left == 0:
            raise OSError(self.number, os.strerror(self.number))
        self.left -= 1
        return self.real(*words, **more)


@pytest.mark.parametrize("number", SAYS)
@pytest.mark.parametrize("call", ["write", "fsync"])
def test_a_line_is_added_whole_or_not_at_all(tmp_path, monkeypatch, call, number):
    path = tmp_path / "lines"
    append_line(path, {"a": 1})
    before = path.read_bytes()
    with monkeypatch.context() as patch:
        Broken(patch, call, number)
        with pytest.raises(StorageError, match=SAYS[number]) as caught:
            append_line(path, {"b": 2}, sync=True)
    assert str(path) in str(caught.value)
    assert path.read_bytes() == before


def test_half_a_line_is_taken_back(tmp_path, monkeypatch):
    path, write = tmp_path / "lines", os.write
    append_line(path, {"a": 1})
    before = path.read_bytes()
    calls = []

    def half(handle, data):
        calls.append(data)
        if len(calls) > 1:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(handle, data[:4])

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", half)
        with pytest.raises(StorageError):
            append_line(path, {"b": 2})
    assert path.read_bytes() == before


def test_a_slow_disk_that_takes_a_line_in_pieces_gets_it_whole(tmp_path, monkeypatch):
    write = os.write
    monkeypatch.setattr(os, "write", lambda handle, data: write(handle, data[:3]))
    append_line(tmp_path / "lines", {"some": "words"})
    assert read_lines(tmp_path / "lines", repair=False) == ([{"some": "words"}], False)


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_replaced_file_is_the_old_or_the_new_one(tmp_path, monkeypatch, call):
    path = tmp_path / "file"
    write_text(path, "old")
    with monkeypatch.context() as patch:
        Broken(patch, call, errno.ENOSPC)
        with pytest.raises(StorageError, match="No space left"):
            write_text(path, "new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_has_gone_is_said(tmp_path):
    with pytest.raises(StorageError, match="No such file"):
        append_line(tmp_path / "gone" / "lines", {})
    with pytest.raises(StorageError, match="No such file"):
        write_bytes(tmp_path / "gone" / "file", b"")
    with pytest.raises(StorageError, match="No such file"):
        StudyFolder(tmp_path / "gone").note("x")
    with pytest.raises(StorageError, match="No such file"), StudyFolder(tmp_path / "gone").locked():
        pass


def test_a_study_that_cannot_be_made_leaves_nothing(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        Broken(patch, "rename", errno.EACCES)
        with pytest.raises(StorageError, match="Permission denied; choose another --results"):
            make_study(tmp_path / "results" / "one")
    assert list((tmp_path / "results").iterdir()) == []


@pytest.mark.parametrize("call", ["write", "fsync", "open"])
@pytest.mark.parametrize("after", range(5, 120, 13))
def test_a_search_that_a_full_disk_ended_goes_on_as_if_nothing_had_been(tmp_path, monkeypatch, call, after):
    whole = make_study(tmp_path / "whole")
    drive(whole)
    study = make_study(tmp_path / "one")
    with monkeypatch.context() as patch:
        Broken(patch, call, errno.ENOSPC, after)
        with contextlib.suppress(StorageError):
            drive(study)
    before, torn = read_lines(study.folder.curves, repair=False)
    assert not torn
    again = Study(study.folder, make_space())
    assert not again.repaired
    drive(again)
    assert outcome(again) == outcome(whole)
    assert read_lines(study.folder.curves, repair=False)[0][: len(before)] == before


def test_what_a_kill_left_of_a_replaced_file_is_taken_away(tmp_path):
    folder = make_study(tmp_path / "one").folder
    folder.final.mkdir()
    torn = [folder.root / ".trials.csv-abc_1234", folder.final / ".metrics.json-00000000"]
    kept = [folder.root / ".notes-of-mine0000", folder.root / "trials.csv-abc_1234", folder.root / ".gitignore"]
    for path in (*torn, *kept):
        path.write_text("half")
    folder.clear_torn()
    assert not any(path.exists() for path in torn)
    assert all(path.exists() for path in kept)


def test_what_a_kill_left_of_a_trial_that_was_being_retrained_is_taken_away(tmp_path):
    folder = make_study(tmp_path / "one").folder
    (folder.root / ".retrained_trial_3-abc_1234" / "final").mkdir(parents=True)
    (folder.root / "retrained_trial_3").mkdir()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (folder.root / ".retrained_trial_4-abc_1234").symlink_to(elsewhere)
    folder.clear_torn()
    assert not (folder.root / ".retrained_trial_3-abc_1234").exists()
    assert (folder.root / "retrained_trial_3").is_dir()
    assert elsewhere.is_dir()


def test_curves_of_a_trial_that_the_journal_has_lost_are_an_error_that_says_so(tmp_path):
    study = make_study(tmp_path / "one")
    drive(study, most=4)
    append_line(study.folder.curves, {"trial": 11, "epoch": 1, "val_map": 0.5})
    with pytest.raises(UserError, match=r"names trial 11, which journal\.log does not know"):
        Study(study.folder, make_space())


def test_who_works_on_a_study(tmp_path):
    folder = make_study(tmp_path / "one").folder
    assert folder.owner() is None
    with folder.locked():
        assert folder.owner() == f"process {os.getpid()} on {os.uname().nodename}"
    assert folder.owner() is None


@pytest.mark.parametrize("length", [1, 100, (1 << 16) - 9, 1 << 16, 200_000])
def test_a_torn_line_of_any_length_is_cut_off(tmp_path, length):
    path = tmp_path / "lines"
    append_line(path, {"a": 1})
    whole = path.read_bytes()
    path.write_bytes(whole + b"x" * length)
    assert read_lines(path, repair=False) == ([{"a": 1}], True)
    assert read_lines(path, repair=True) == ([{"a": 1}], True)
    assert path.read_bytes() == whole
    path.write_bytes(b"x" * length)
    assert read_lines(path, repair=True) == ([], True)
    assert path.read_bytes() == b""


@given(data=st.data())
def test_a_line_that_has_changed_since_it_was_written_is_named(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("lines") / "lines"
    written = [{"trial": 3, "epoch": 1, "val_map": 0.25}, {"run": "a1", "curve": {"1": 0.5}, "seconds": 1.5}]
    for record in written:
        append_line(path, record)
    content = bytearray(path.read_bytes())
    at = data.draw(st.integers(0, len(content) - 2))
    content[at] = data.draw(st.integers(32, 126).filter(lambda byte: byte != content[at]))
    path.write_bytes(content)
    said, found = "", []
    try:
        found, _ = read_lines(path, repair=False)
    except UserError as error:
        said = str(error)
    if said:
        assert f"{path}, line {1 + (at > content.index(bytes([10])))} is damaged" in said
    else:  # the checksum's own name was hit: every value is as it was
        assert [{key: line[key] for key in old} for line, old in zip(found, written, strict=True)] == written
        assert sum(unchecked(path)) == 1


def test_lines_of_before_have_no_checksum_and_are_read(tmp_path):
    path = tmp_path / "lines"
    path.write_text('{"a":1}\n')
    append_line(path, {"a": 2})
    append_line(path, {})
    assert read_lines(path, repair=False) == ([{"a": 1}, {"a": 2}, {}], False)
    assert unchecked(path) == (1, 0)
    with path.open("a") as file:
        file.write('{"a":3}\n')
    assert unchecked(path) == (1, 1)


def test_lines_added_after_the_reading_began_are_not_read(tmp_path):
    path = tmp_path / "lines"
    append_line(path, {"a": 1})
    lines, torn = stream_lines(path, repair=False)
    append_line(path, {"a": 2})
    assert (list(lines), torn) == ([{"a": 1}], False)


def refuse_folders(patch, number):
    """The sync of a folder fails, that of a file does not."""
    fsync = os.fsync

    def one(handle):
        if stat.S_ISDIR(os.fstat(handle).st_mode):
            raise OSError(number, os.strerror(number))
        return fsync(handle)

    patch.setattr(os, "fsync", one)


@pytest.mark.parametrize("name", ["EINVAL", "ENOTSUP", "EOPNOTSUPP", "ENOSYS", "EBADF"])
def test_a_file_system_that_syncs_no_folders_holds_a_study(tmp_path, monkeypatch, name):
    refuse_folders(monkeypatch, getattr(errno, name))
    study = make_study(tmp_path / "one")
    drive(study)
    write_hdf5(toy_dataset(), tmp_path / "toy.h5")
    assert study.exhausted
    assert (tmp_path / "toy.h5").exists()


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC])
def test_a_folder_that_cannot_be_synced_is_an_error(tmp_path, monkeypatch, number):
    refuse_folders(monkeypatch, number)
    with pytest.raises(StorageError, match=SAYS[number]):
        make_study(tmp_path / "results" / "one")
    with pytest.raises(StorageError, match=SAYS[number]):
        write_text(tmp_path / "file", "new")
    with pytest.raises(UserError, match=SAYS[number]):
        write_hdf5(toy_dataset(), tmp_path / "toy.h5")
    assert list((tmp_path / "results").iterdir()) == []


@pytest.mark.parametrize("name", ["ENOLCK", "ENOSYS", "ENOTSUP"])
def test_a_file_system_without_locks_is_said_and_holds_no_study(tmp_path, monkeypatch, name):
    """It holds one that began elsewhere, which can be looked at."""
    folder = make_study(tmp_path / "one").folder
    number = getattr(errno, name)

    def flock(handle, kind):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", flock)
    said = rf"the file system of .*{re.escape(os.strerror(number))}.*\nchoose another --results"
    with pytest.raises(UserError, match=said) as caught:
        make_study(tmp_path / "results" / "two")
    assert not isinstance(caught.value, StorageError), "the same command does not continue"
    assert list((tmp_path / "results").iterdir()) == []
    with pytest.raises(UserError, match=said) as caught, folder.locked():
        pytest.fail("nobody can hold it")
    assert not isinstance(caught.value, StorageError)
    assert folder.owner() is None
