"""The YAML reader: 1.2 types, lines, and what it refuses."""

from __future__ import annotations

import pytest

from avtune.core.errors import UserError
from avtune.space.yaml_lines import MAX_BYTES, MAX_NODES, Entry, decode, read


def at(line: int) -> str:
    return f"f.yaml:{line}"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 0.001),
        ("1E3", 1000.0),
        (".5", 0.5),
        ("5.", 5.0),
        ("-1.5e+2", -150.0),
        ("12", 12),
        ("-12", -12),
        ("010", 10),
        ("0x1f", 31),
        ("0o17", 15),
        ("true", True),
        ("FALSE", False),
        ("yes", "yes"),
        ("no", "no"),
        ("on", "on"),
        ("off", "off"),
        ("1_000", "1_000"),
        ("1:30", "1:30"),
        ("2026-01-01", "2026-01-01"),
        ("'1e-3'", "1e-3"),
        ("~", None),
        ("null", None),
        ("!!str 5", "5"),
        ("!!float 5", 5.0),
        ("", None),
    ],
)
def test_scalars_follow_yaml_1_2(text: str, value: object) -> None:
    got = read(text, at).value
    assert got == value
    assert type(got) is type(value)


def test_every_value_and_key_knows_its_line() -> None:
    root = read("a: 1\nb:\n  c: 2\n  d:\n    - 3\n    - 4\n", at)
    assert isinstance(root.value, dict)
    b = root.value["b"]
    assert isinstance(b.value, dict)
    assert (b.key_where, b.where) == ("f.yaml:2", "f.yaml:3")
    assert b.value["c"].where == "f.yaml:3"
    assert b.value["d"].value == [Entry(3, "f.yaml:5"), Entry(4, "f.yaml:6")]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: 2\na: 3", "f.yaml:3: 'a' is given twice (first at f.yaml:1)"),
        ("x:\n  - &n 1", "f.yaml:2: anchors and aliases"),
        ("x: *n", "f.yaml:1: anchors and aliases"),
        ("a: !!python/name:os.system x", "f.yaml:1: the tag '!!python/name:os.system' is refused"),
        ("a: !mine {}", "f.yaml:1: the tag '!mine' is refused"),
        ("a: !!set {x}", "f.yaml:1: the tag '!!set' is refused"),
        ("a: !!int x", "f.yaml:1: 'x' is not what its tag '!!int' says"),
        ("1: x", "f.yaml:1: a key must be a name, this one is 1"),
        ("[a]: x", "f.yaml:1: a key must be a name, this one is a list"),
        ("---\na: 1\n---\nb: 1", "f.yaml:3: not valid YAML: expected a single document"),
        ("a: [1", "f.yaml:1: not valid YAML"),
        ("a: 1\nb:\n\t- 1", "f.yaml:3: not valid YAML"),
        ("a: 1\nb: \x07", "f.yaml:2: not valid YAML"),
        ('a:\n  "\\UFFFFFFFF"', "f.yaml:2: not valid YAML"),
        ("%YAML " + "9" * 5000 + ".1\n---\na: 1", "not valid YAML"),
        ("a: .inf", "f.yaml:1: .inf is not a number that can be used"),
        ("a: .NaN", "f.yaml:1: .NaN is not a number that can be used"),
        ("a: 1e999", "f.yaml:1: 1e999 is not a number that can be used"),
        ("a: 9223372036854775808", "f.yaml:1: 9223372036854775808 is not a number that can be used"),
        ("a: " + "9" * 5000, "is not a number that can be used"),
        ("[" * 100_000, "f.yaml:1: nested deeper"),
        ("{a: " * 5_000, "f.yaml:1: nested deeper"),
        ("- " * 5_000, "f.yaml:1: nested deeper"),
        ("[" + "1," * MAX_NODES + "1]", "f.yaml:1: more than"),
        ("a" * (MAX_BYTES + 1), "f.yaml:1: longer than"),
    ],
)
def test_refusals_are_one_short_line_that_names_the_place(text: str, message: str) -> None:
    with pytest.raises(UserError) as caught:
        read(text, at)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 250


def test_decode_refuses_other_encodings_and_large_files() -> None:
    assert decode("é".encode("utf-8-sig"), "f.yaml") == "é"
    with pytest.raises(UserError, match=r"^f\.yaml:2: not UTF-8 text \(byte 0xe9\)"):
        decode("a: 1\nb: é".encode("latin-1"), "f.yaml")
    with pytest.raises(UserError, match=r"^f\.yaml: larger than 1,000,000 bytes"):
        decode(b" " * (MAX_BYTES + 1), "f.yaml")
