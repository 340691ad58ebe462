"""Which space a command works with: a file, the one that comes with a method, one made for a user's own, or one made
from a configuration."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from avtune.core.errors import UserError
from avtune.engine import user_code
from avtune.methods import get, hypers_of
from avtune.space.around import around, point_space
from avtune.space.configuration import Configuration, configurations_of_text, is_configuration
from avtune.space.files import find, load, names, text_of
from avtune.space.free import space_of
from avtune.space.parse import parse
from avtune.space.space import Space
from avtune.space.written import to_yaml
from avtune.space.yaml_lines import read
from avtune.study.folder import StudyFolder


def chosen(
    file: str | None,
    method: str | None,
    *,
    usual: str | None = None,
    overrides: Sequence[str] = (),
    notes: list[str] | None = None,
) -> Space:
    """The space that the user asked for.

    Args:
        file: the path or the name of a space, or a file that holds a configuration; None to choose.
        method: the method, or the code of the user's own, that it must be for; None for whatever it says.
        usual: the dataset's own space, taken where neither says otherwise; None for `psd`.
        overrides: see `space.parse.parse`.
        notes: takes what is to be said of the choice.

    Raises:
        UserError: there is no such space or method, or the space is not as it should be.
    """
    if file is not None:
        path = find(file)
        text = text_of(path)
        if holds_configuration(text, str(path)):
            return of_configuration(text, str(path), method, usual=usual, overrides=overrides, notes=notes)
        return parse_text(text, str(path), method, overrides)
    usual = usual or "psd"
    if method is None:
        return _load(usual, None, overrides)
    if user_code.function(method) is not None:
        raise UserError(
            f"{user_code.TRAIN} {method} needs --space FILE, which defines the hyper-parameters that it is "
            "called with\nsee docs/own_method.md"
        )
    if method not in user_code.names():
        get(method)  # says what there is
    if _load(usual).method == method:
        return _load(usual, method, overrides)
    if method in names():
        return _load(method, method, overrides)
    text = space_of(method, hypers_of(method), _load("psd"))
    return parse_text(text, f"the space made for {method}", method, overrides)


def parse_text(text: str, file: str, method: str | None, overrides: Sequence[str]) -> Space:
    """`space.parse.parse` with the methods that this process knows."""
    return parse(
        text,
        file=file,
        hypers_of=user_code.hypers_of,
        method_names=user_code.names(),
        overrides=overrides,
        method=method,
    )


def holds_configuration(text: str, file: str) -> bool:
    """Whether a text is a configuration and no space; see `space.configuration.is_configuration`."""
    return is_configuration(read(text, lambda line: f"{file}:{line}"))


def of_configuration(
    text: str,
    file: str,
    method: str | None,
    *,
    usual: str | None = None,
    overrides: Sequence[str] = (),
    notes: list[str] | None = None,
) -> Space:
    """A space of one point, with the settings of its method's usual space.

    Args:
        text: of a `best.yaml`, a model's `config.yaml`, or a mapping of values.
        file: its path, or what errors call it.
        method, usual, overrides, notes: as in `chosen`.

    Raises:
        UserError: a name or a value that the method does not take.
    """
    given = configurations_of_text(text, file)[0]
    named = method or given.method or method_of_study(Path(file))
    hypers = None
    if named is not None and user_code.function(named) is not None:
        base = parse_text(to_yaml({"method": named, "space": {}}), file, named, ())
    else:
        base = chosen(None, named, usual=usual)
        if named is None and notes is not None:
            notes.append(f"{file} names no method; it is taken for {base.method}; --method NAME says otherwise")
        hypers = user_code.hypers_of(base.method)
    return parse_text(to_yaml(point_space(base, given, hypers)), file, method, overrides)


def around_configuration(space: Space, given: Configuration, width: float, overrides: Sequence[str]) -> Space:
    """The space with ranges around a configuration, see `space.around`; overrides have the last word."""
    made = around(space, given, user_code.hypers_of(space.method), width)
    return parse_text(made.to_yaml(), f"the space around {given.where}", space.method, overrides)


def method_of_study(best: Path) -> str | None:
    """The method of the study that a `best.yaml` lies in; None where it lies in none."""
    folder = StudyFolder(best.parent)
    if best.name != folder.best_yaml.name or not folder.exists:
        return None
    return str(folder.settings()["space"]["method"])


def _load(name: str, method: str | None = None, overrides: Sequence[str] = ()) -> Space:
    return load(name, hypers_of=user_code.hypers_of, method_names=user_code.names(), overrides=overrides, method=method)
