"""A file of JSON lines that is read while it grows."""

import pytest

from avtune.core.errors import UserError
from avtune.core.files import append_line
from avtune.core.tail import Tail


def test_each_look_takes_what_was_added(tmp_path):
    path = tmp_path / "a.jsonl"
    tail = Tail(path)
    assert tail.take() == []
    append_line(path, {"a": 1})
    append_line(path, {"a": 2}, checksum=False)
    assert tail.take() == [{"a": 1}, {"a": 2}]
    assert tail.take() == []
    with path.open("ab") as file:
        file.write(b'{"a":')
        file.flush()
        assert tail.take() == [], "its end has not come yet"
        file.write(b"3}\n")
    assert tail.take() == [{"a": 3}]
    assert not tail.is_another()


def test_a_file_that_was_replaced_or_cut_is_another(tmp_path):
    path = tmp_path / "a.jsonl"
    append_line(path, {"a": 1})
    tail = Tail(path)
    tail.take()
    whole = path.read_bytes()
    path.write_bytes(b"")
    assert tail.is_another()
    path.write_bytes(whole)
    assert not tail.is_another()
    (tmp_path / "b.jsonl").write_bytes(whole)
    (tmp_path / "b.jsonl").rename(path)
    assert tail.is_another()
    path.unlink()
    assert tail.is_another()


@pytest.mark.parametrize("line", [b"{", b"[1]", b'{"a":NaN}', b'{"a":1,"crc":"00000000"}'])
def test_a_damaged_line_is_named(line, tmp_path):
    path = tmp_path / "a.jsonl"
    append_line(path, {"a": 1})
    tail = Tail(path)
    tail.take()
    with path.open("ab") as file:
        file.write(line + b"\n")
    with pytest.raises(UserError, match=r"a\.jsonl, line 2 is damaged"):
        tail.take()


def test_a_folder_is_no_file(tmp_path):
    with pytest.raises(UserError, match="no regular file"):
        Tail(tmp_path).take()
