"""`--portfolio`: configurations of a method that together were good on many data sets are tried after its default.

A portfolio is a file `portfolios/METHOD.yaml` of this package, a list of configurations with how it was made at its
head. `python -m benchmarks.portfolio METHOD` makes it, and judges it on data sets that it was made without: that of
psd did not pay there, so that a search tries one only where the user says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from avtune.core.errors import UserError, choices
from avtune.core.hyper import Value
from avtune.core.words import plural
from avtune.space.configuration import configurations_of_file, without_repeats
from avtune.space.space import Space
from avtune.workflows.like import Like, searched_point

FOLDER = Path(__file__).parents[1] / "portfolios"
NAME = "portfolio"
"""What `study.yaml` calls it among the earlier studies."""


def portfolio(space: Space) -> Like:
    """The portfolio of a method, as what an earlier study would give. What lies outside the searched ranges is left
    out; what the space does not search is taken from the space.

    Raises:
        UserError: the method has none, or the file is damaged.
    """
    path = FOLDER / f"{space.method}.yaml"
    there = sorted(one.stem for one in FOLDER.glob("*.yaml"))
    if space.method not in there:
        raise UserError(f"--portfolio: {space.method} has none; there is one of: {choices(there) or 'no method'}")
    found = configurations_of_file(path)
    axes = {axis.name for axis in space.axes}
    points: list[dict[str, Value]] = []
    problems: list[str] = []
    fixed: set[str] = set()
    for number, one in enumerate(found, 1):
        values = {name: entry.value for name, entry in one.values.items() if isinstance(entry.value, Value)}
        if len(values) < len(one.values):
            raise UserError(f"{path} is damaged: configuration {number} has values that are none; restore it")
        point, problem = searched_point(space, values, f"portfolio, configuration {number}", set())
        fixed |= {name for name in values if name not in axes}
        if problem:
            problems.append(problem)
        else:
            points.append(point)
    return Like([NAME], without_repeats(points), _notes(space, len(found), problems, fixed))


def _notes(space: Space, count: int, problems: list[str], fixed: set[str]) -> list[str]:
    """What is left out of a portfolio, and what it has otherwise."""
    name = f"portfolio of {space.method}"
    notes = [f"{name}: {', '.join(sorted(fixed))} as this space has it, not as there"] if fixed else []
    if problems:
        notes.append(f"{name}: {len(problems)} of {count} configurations are left out: {problems[0]}")
    return notes


def uses_portfolio(settings: Mapping[str, Any]) -> bool:
    """Whether a study tries a portfolio, by its `study.yaml`."""
    return NAME in settings.get("like", {}).get("studies", ())


def tried_text(space: Space, tried: Like) -> list[str]:
    """How many of a portfolio a search of the space tries, in words; nothing where it tries none."""
    count = len(tried.points)
    said = f"portfolio of {space.method}: {plural(count, 'configuration')} tried after the default"
    return [said, *tried.notes] if tried.studies else []
