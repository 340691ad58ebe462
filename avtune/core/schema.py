"""What a file of ours must hold, checked when it is read: a study folder may have been damaged, or come from anywhere.

A shape is one of:
- a type: `int`, `float` (any finite number), `str` or `bool`;
- a word or None: that very value;
- a tuple of shapes: any of them;
- a list: `[shape]` is a list of any length, `[shape, shape]` one of two items, `[]` any list;
- a dict: `{"key": shape, "may be there?": shape}` is a mapping, which may have other keys; `{str: shape}` one of any
  names.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from avtune.core.errors import UserError

_LARGEST = 1e300
_MOST_SHOWN = 60


def fitting(value: Any, shape: Any, path: Path) -> Any:
    """`value`, which was read from `path`.

    Raises:
        UserError: it has another shape; names the file and the first place that differs.
    """
    wrong = misfit(value, shape)
    if wrong is not None:
        raise UserError(f"{path} is damaged: {wrong}; restore it from a copy")
    return value


def misfit(value: Any, shape: Any, name: str = "it") -> str | None:
    """What is wrong with `value`, which an error calls `name`; None when it has the shape."""
    if isinstance(shape, tuple):
        found = [misfit(value, one, name) for one in shape]
        return found[-1] if None not in found else None
    if isinstance(shape, list):
        if not isinstance(value, list) or (len(shape) > 1 and len(value) != len(shape)):
            return f"{name} is {_shown(value)}"
        shapes = shape * len(value) if len(shape) == 1 else shape
        return _first(misfit(item, one, f"{name}[{at}]") for at, (item, one) in enumerate(zip(value, shapes)))  # noqa: B905
    if isinstance(shape, dict):
        if not isinstance(value, dict):
            return f"{name} is {_shown(value)}"
        inside = "" if name == "it" else f"{name}."
        if str in shape:
            odd = next((key for key in value if not isinstance(key, str)), None)
            if odd is not None:
                return f"{inside}{_shown(odd)} is no name"
            return _first(misfit(item, shape[str], f"{inside}{key[:_MOST_SHOWN]}") for key, item in value.items())
        for key, one in shape.items():
            plain = key.removesuffix("?")
            if plain in value:
                wrong = misfit(value[plain], one, f"{inside}{plain}")
                if wrong is not None:
                    return wrong
            elif plain == key:
                return f"{inside}{plain} is missing"
        return None
    return None if _is(value, shape) else f"{name} is {_shown(value)}"


def is_number(value: Any) -> bool:
    """Whether it is a finite number."""
    return isinstance(value, int | float) and not isinstance(value, bool) and -_LARGEST < value < _LARGEST


def is_whole(value: Any) -> bool:
    """Whether it is a whole number, written as one."""
    return isinstance(value, int) and not isinstance(value, bool)


def _is(value: Any, kind: Any) -> bool:
    if kind is float:
        return is_number(value)
    if kind is int:
        return is_whole(value)
    if isinstance(kind, type):
        return isinstance(value, kind)
    return type(value) is type(kind) and bool(value == kind)


def _first(found: Any) -> str | None:
    return next((wrong for wrong in found if wrong is not None), None)


def _shown(value: Any) -> str:
    if isinstance(value, dict | list):
        return "a mapping" if isinstance(value, dict) else f"a list of {len(value)}"
    try:
        text = repr(value)
    except ValueError:  # a whole number of thousands of digits
        return "a huge number"
    return text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}..."
