"""A method or a training function of the user's own, given by name or as the object itself.

Worker processes import it: an object must be found in a file, under the name that it has there.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from avtune.core.errors import UserError
from avtune.engine.user_code import METHOD, TRAIN, register
from avtune.methods import METHODS, Method


def named_code(method: str | type[Method] | None, train: str | Callable[..., Any] | None) -> str | None:
    """Registers code of the user's own; returns the name of what is searched, None where nothing is said.

    Raises:
        UserError: both are given, or `user_code.register` raises it.
    """
    if method is not None and train is not None:
        raise UserError("method and train are both given; a study is of one of them")
    if train is not None:
        return _registered(TRAIN, train)
    if method is None or (isinstance(method, str) and ":" not in method):
        return method
    return _registered(METHOD, method)


def register_model(method: str | type[Method] | None) -> str | None:
    """As `named_code`, for the method of a model."""
    return named_code(method, None)


def _registered(option: str, code: object) -> str:
    if isinstance(code, str):
        register(option, code)
        return code
    if isinstance(code, type) and code in METHODS.values():  # one of ours
        return next(name for name, known in METHODS.items() if known is code)
    spec, folder = _place(option, code)
    register(option, spec, folder)
    return spec


def _place(option: str, code: object) -> tuple[str, str]:
    """`module:Name` of a class or function, and the folder that its module is imported from.

    Raises:
        UserError: it is no class or function, or another process could not import it.
    """
    word = option.removeprefix("--")
    kind = "class" if option == METHOD else "function"
    if not (isinstance(code, type) or inspect.isroutine(code)):
        raise UserError(f"{word} is a {type(code).__name__}; give a name, 'module:Name', or the {kind} itself")
    name, module = getattr(code, "__qualname__", ""), sys.modules.get(getattr(code, "__module__", None) or "")
    file = getattr(module, "__file__", None)
    if module is None or module.__name__ == "__main__" or file is None or getattr(module, name, None) is not code:
        where = "this notebook or script" if module is None or module.__name__ == "__main__" else module.__name__
        raise UserError(
            f"{word} is {name} of {where}, which the processes that train cannot import\n"
            f"put the {kind} into a file of its own, e.g. my_code.py, and give "
            f"{word}='my_code:{name.rpartition('.')[2]}'"
        )
    folder = Path(file).resolve().parent
    up = module.__name__.count(".") + (Path(file).name == "__init__.py")
    return f"{module.__name__}:{name}", str([folder, *folder.parents][up])
