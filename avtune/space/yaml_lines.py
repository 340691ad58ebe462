"""YAML text -> values that know their line, so that an error can name it.

YAML 1.2 core schema: `1e-3` is a number, `yes` and `on` are text, `010` is ten (PyYAML alone follows YAML 1.1, where
none of that holds). Refused, with a `UserError`: duplicate keys, keys that are not text, anchors and aliases, tags
outside the core schema, several documents, NaN and infinity, and whatever is larger or deeper than a settings file.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import yaml

from avtune.core.errors import UserError

MAX_BYTES = 1_000_000
MAX_NODES = 10_000
MAX_DEPTH = 12

_TAG = "tag:yaml.org,2002:"
# In this order: the first that matches the whole scalar is its type; none means text.
CORE_SCALARS = {
    _TAG + "null": re.compile(r"(?:~|null|Null|NULL|)\Z"),
    _TAG + "bool": re.compile(r"(?:true|True|TRUE|false|False|FALSE)\Z"),
    _TAG + "int": re.compile(r"(?:[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)\Z"),
    _TAG + "float": re.compile(
        r"(?:[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))\Z"
    ),
}


@dataclass(frozen=True)
class Entry:
    """A value, where it stands (`ave.yaml:4`), and where its key stands when it has one."""

    value: str | int | float | bool | list[Entry] | dict[str, Entry] | None
    where: str
    key_where: str = ""

    @property
    def shown(self) -> str:
        """The value as an error message shows it: short, on one line."""
        if isinstance(self.value, dict | list):
            return "a mapping" if isinstance(self.value, dict) else "a list"
        return "empty" if self.value is None else shorten(repr(self.value))


def shorten(text: str, limit: int = 80) -> str:
    """`text`, cut to `limit` characters."""
    return text if len(text) <= limit else f"{text[: limit - 3]}..."


class _Refused(yaml.MarkedYAMLError):
    """Legal YAML that we do not take."""


class _Loader(yaml.SafeLoader):
    yaml_implicit_resolvers: dict[str | None, list[tuple[str, re.Pattern[str]]]] = {None: list(CORE_SCALARS.items())}  # noqa: RUF012

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.depth = 0
        self.count = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        event: Any = self.peek_event()  # type: ignore[no-untyped-call]
        if getattr(event, "anchor", None) is not None:
            raise _Refused(problem="anchors and aliases (&name, *name) are refused", problem_mark=event.start_mark)
        self.depth += 1
        self.count += 1
        if self.depth > MAX_DEPTH:
            raise _Refused(problem=f"nested deeper than {MAX_DEPTH} levels", problem_mark=event.start_mark)
        if self.count > MAX_NODES:
            raise _Refused(problem=f"more than {MAX_NODES} values", problem_mark=event.start_mark)
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node


def decode(data: bytes, file: str) -> str:
    """The text of a file.

    Raises:
        UserError: not UTF-8, or above `MAX_BYTES`.
    """
    if len(data) > MAX_BYTES:
        raise UserError(f"{file}: larger than {MAX_BYTES:,} bytes; give a YAML settings file")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise UserError(
            f"{file}:{line}: not UTF-8 text (byte 0x{data[error.start]:02x}); a settings file is YAML, saved as UTF-8"
        ) from None


def read(text: str, where: Callable[[int], str]) -> Entry:
    """Reads one YAML document; an empty one is `None`.

    Args:
        text: the document.
        where: how an error names a line, from its 1-based number.

    Raises:
        UserError: not YAML, or something that the head of this file says is refused.
    """
    if len(text) > MAX_BYTES:
        raise UserError(f"{where(1)}: longer than {MAX_BYTES:,} characters")
    try:
        loader = _Loader(text)
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise UserError(f"{where(line)}: not valid YAML: {error.reason} ({text[error.position]!r})") from None
    try:
        root = loader.get_single_node()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        said = shorten(" ".join(", ".join(filter(None, (error.context, error.problem))).split()), 160)
        prefix = "" if isinstance(error, _Refused) else "not valid YAML: "
        raise UserError(f"{where(mark.line + 1 if mark else 1)}: {prefix}{said}") from None
    except (ValueError, OverflowError):  # PyYAML lets those of chr() and int() through
        raise UserError(f"{where(loader.line + 1)}: not valid YAML: an escape or a version is out of range") from None
    return Entry(None, where(1)) if root is None else _entry(root, where)


def _entry(node: yaml.Node, where: Callable[[int], str], key_where: str = "") -> Entry:
    here = where(node.start_mark.line + 1)
    if isinstance(node, yaml.MappingNode) and node.tag == _TAG + "map":
        table: dict[str, Entry] = {}
        for key_node, value_node in node.value:
            key = _entry(key_node, where)
            if not isinstance(key.value, str):
                raise UserError(f"{key.where}: a key must be a name, this one is {key.shown}")
            if key.value in table:
                first = table[key.value].key_where
                raise UserError(f"{key.where}: {key.shown} is given twice (first at {first}); keep one")
            table[key.value] = _entry(value_node, where, key.where)
        return Entry(table, here, key_where)
    if isinstance(node, yaml.SequenceNode) and node.tag == _TAG + "seq":
        return Entry([_entry(item, where) for item in node.value], here, key_where)
    if isinstance(node, yaml.ScalarNode):
        return Entry(_scalar(node.tag, node.value, here), here, key_where)
    raise UserError(f"{here}: the tag {_tag_text(node.tag)} is refused; write plain values")


def _scalar(tag: str, text: str, here: str) -> str | int | float | bool | None:
    if tag == _TAG + "str":
        return text
    pattern = CORE_SCALARS.get(tag)
    if pattern is None:
        raise UserError(f"{here}: the tag {_tag_text(tag)} is refused; write plain values")
    if not pattern.match(text):
        raise UserError(f"{here}: {shorten(repr(text))} is not what its tag {_tag_text(tag)} says")
    kind = tag.removeprefix(_TAG)
    if kind == "null":
        return None
    if kind == "bool":
        return text.lower() == "true"
    if kind == "int" and len(text) <= 20:
        whole = int(text, {"0o": 8, "0x": 16}.get(text[:2], 10))
        if abs(whole) < 2**63:
            return whole
    number = float(text.lower().replace(".inf", "inf").replace(".nan", "nan")) if kind == "float" else math.inf
    if kind == "int" or not math.isfinite(number):
        raise UserError(f"{here}: {shorten(text)} is not a number that can be used; write a finite one below 2^63")
    return number


def _tag_text(tag: str) -> str:
    return shorten(repr(f"!!{tag.removeprefix(_TAG)}" if tag.startswith(_TAG) else tag))
