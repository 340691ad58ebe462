"""Which space a command works with: a file, the one that comes with a method, or one made for a user's own."""

from __future__ import annotations

from collections.abc import Sequence

from avtune.core.errors import UserError
from avtune.engine import user_code
from avtune.methods import get, hypers_of
from avtune.space.files import load, names
from avtune.space.free import space_of
from avtune.space.parse import parse
from avtune.space.space import Space


def chosen(file: str | None, method: str | None, *, usual: str | None = None, overrides: Sequence[str] = ()) -> Space:
    """The space that the user asked for.

    Args:
        file: the path or the name of a space, None to choose.
        method: the method, or the code of the user's own, that it must be for; None for whatever it says.
        usual: the dataset's own space, taken where neither says otherwise; None for `psd`.
        overrides: see `space.parse.parse`.

    Raises:
        UserError: there is no such space or method, or the space is not as it should be.
    """
    usual = usual or "psd"
    if file is None and method is not None:
        if user_code.function(method) is not None:
            raise UserError(
                f"{user_code.TRAIN} {method} needs --space FILE, which defines the hyper-parameters that it is "
                "called with\nsee docs/own_method.md"
            )
        if method not in user_code.names():
            get(method)  # says what there is
        if load(usual, hypers_of=user_code.hypers_of, method_names=user_code.names()).method == method:
            file = usual
        elif method in names():
            file = method
        else:
            like = load("psd", hypers_of=user_code.hypers_of, method_names=user_code.names())
            text = space_of(method, hypers_of(method), like)
            return parse(
                text,
                file=f"the space made for {method}",
                hypers_of=user_code.hypers_of,
                method_names=user_code.names(),
                overrides=overrides,
                method=method,
            )
    return load(
        file or usual, hypers_of=user_code.hypers_of, method_names=user_code.names(), overrides=overrides, method=method
    )
