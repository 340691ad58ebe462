"""Names that a program gives to a dataset of arrays: checked, and as plain `str`, which the files of a study hold."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from avtune.core.errors import UserError, shown


def given_class_names(names: Iterable[str] | None) -> list[str] | None:
    """Names of classes as plain `str`: those of a NumPy array are of its own type, which no file of ours can hold.

    Raises:
        UserError: they are no list of names. The keys of a mapping, or the letters of a text, would be taken for names.
    """
    if names is None:
        return None
    wanted = "give a list of names in the order of the label values, e.g. ['dog', 'rain']"
    if isinstance(names, str | bytes | Mapping) or not isinstance(names, Iterable):
        raise UserError(f"class_names is a {type(names).__name__}; {wanted}")
    found = list(names)
    other = [name for name in found if not isinstance(name, str)]
    if other:
        raise UserError(f"class_names holds {shown(other[0])}, which is a {type(other[0]).__name__}; {wanted}")
    return [str(name) for name in found]


def given_name(name: str) -> str:
    """The name of a dataset.

    Raises:
        UserError: it is no text.
    """
    if not isinstance(name, str) or not name.strip():
        raise UserError(f"name is {shown(name)}; give the name of the dataset as text, e.g. 'noise'")
    return str(name)


def given_views(views: tuple[str, str]) -> tuple[str, str]:
    """The names of the two views.

    Raises:
        UserError: they are no two different names.
    """
    pair = isinstance(views, tuple | list) and len(views) == 2 and views[0] != views[1]
    if not pair or not all(isinstance(one, str) and one.strip() for one in views):
        raise UserError(f"views is {shown(views)}; give two different names, e.g. ('image', 'text')")
    return str(views[0]), str(views[1])
