"""Configurations that a search is told to try, from whatever names them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import yaml

from avtune.core.errors import UserError, did_you_mean, shown
from avtune.core.hyper import Value
from avtune.space.configuration import (
    WANTED,
    Configuration,
    configurations_of_file,
    configurations_of_text,
    point_in,
    without_repeats,
)
from avtune.space.space import Space
from avtune.workflows.choose_space import method_of_study
from avtune.workflows.options import SearchOptions
from avtune.workflows.python_options import plain


def named_points(given: object, space: Space, results: Path) -> list[dict[str, Value]]:
    """The configurations that `--start` names, as points of the space.

    Args:
        given: files with commas between them, a path, a mapping of values, or a list of these; None for none.
        space: of the search.
        results: the folder of studies, whose names stand for their `best.yaml`.

    Raises:
        UserError: a file cannot be read, or a configuration is not one of the space.
    """
    points = []
    for one in configurations(given, results):
        check_method(one, space.method)
        points.append(point_in(space, one))
    return without_repeats(points)


def configurations(given: object, results: Path, option: str = "start") -> list[Configuration]:
    """What files, mappings and lists of them hold; see `named_points`.

    Args:
        option: what errors call it.
    """
    if given is None:
        return []
    if isinstance(given, Configuration):
        return [given]
    if isinstance(given, Mapping):
        return configurations_of_text(yaml.safe_dump(plain(given), sort_keys=False), option)
    if isinstance(given, list | tuple):
        return [found for one in given for found in configurations(one, results, option)]
    if not isinstance(given, str | os.PathLike):
        raise UserError(f"--{option} is {shown(given)}; give a file, a mapping of values, or a list of these")
    text = os.fspath(given)
    names = [text] if isinstance(given, os.PathLike) or Path(text).exists() else text.split(",")
    return [found for name in names for found in _of_file(_place(name.strip(), results))]


def _of_file(path: Path) -> list[Configuration]:
    """The configurations of a file. That of a study, by an avtune that did not write its method, is of the study's."""
    path = path / "best.yaml" if (path / "best.yaml").is_file() else path
    found = configurations_of_file(path)
    if all(one.method is not None for one in found):
        return found
    return [replace(one, method=one.method or method_of_study(path)) for one in found]


def centre_of(options: SearchOptions) -> Configuration | None:
    """The configuration that `--around` names; None for none.

    Raises:
        UserError: it is none, or several; or there is a width without it.
    """
    if options.around is None:
        if options.width is not None:
            raise UserError("--width says how wide ranges around a configuration are; add --around best.yaml")
        return None
    found = configurations(options.around, options.results, "around")
    if len(found) != 1:
        raise UserError(f"--around names {len(found)} configurations; give one, and others by --start")
    return found[0]


def around_note(space: Space, centre: Configuration) -> str:
    """What is searched around a configuration."""
    ranges = ", ".join(f"{axis.name} {axis.range_text}" for axis in space.axes)
    return f"ranges around {centre.where}, which is tried, too: {ranges}"


def _place(name: str, results: Path) -> Path:
    """A path, or the folder of the study that has the name.

    Raises:
        UserError: it is a study of which no configuration has won yet, or neither a file nor a study, by a name that
            might be a study's.
    """
    if not name:
        raise UserError("an empty name among the files; give for example best.yaml,my.yaml")
    study, path = results / name, Path(name)
    if path.exists() and not path.is_dir():
        return path
    for one in (study, path):
        if (one / "best.yaml").is_file():
            return one
        if _is_study(one):
            raise UserError(
                f"study {name} has no best.yaml yet, since no configuration has won; "
                f"`avtune finish {name}` ends its search"
            )
    if path.is_dir():
        raise UserError(f"{name} is a folder without best.yaml; give {WANTED}")
    there = sorted(one.parent.name for one in results.glob("*/best.yaml"))
    if path.name == name and not path.suffix:
        raise UserError(f"no file and no study is called {shown(name)}{did_you_mean(name, there)}; give {WANTED}")
    return path


def _is_study(path: Path) -> bool:
    return (path / "study.yaml").is_file()


def check_method(given: Configuration, method: str) -> None:
    """Raises:
    UserError: the file is of another method.
    """
    if given.method is not None and given.method != method:
        raise UserError(f"{given.where} holds a configuration of {given.method}; the search is of {method}")
