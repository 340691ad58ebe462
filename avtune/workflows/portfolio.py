"""A portfolio: configurations of a method that together were good on many data sets, tried by new searches of the
method right after its default.

It is a file `portfolios/METHOD.yaml` of this package, a list of configurations with how it was made at its head.
`python -m benchmarks.portfolio METHOD` makes it, and judges it on data sets that it was made without.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from avtune.core.errors import UserError
from avtune.core.hyper import Value
from avtune.space.configuration import configurations_of_file, without_repeats
from avtune.space.space import Space
from avtune.workflows.like import Like, searched_point

FOLDER = Path(__file__).parents[1] / "portfolios"
NAME = "portfolio"
"""What `study.yaml` calls it among the earlier studies."""


def portfolio(space: Space) -> Like:
    """The portfolio of a method, as what an earlier study would give; nothing where there is none. What lies outside
    the searched ranges is left out; what the space does not search is taken from the space.

    Raises:
        UserError: the file is damaged.
    """
    path = FOLDER / f"{space.method}.yaml"
    if not path.is_file():
        return Like()
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
    """How many of a portfolio a search of the space tries, in words; nothing where there is none."""
    count = len(tried.points)
    said = f"portfolio of {space.method}: {count} configuration{'s' * (count != 1)} tried after the default"
    return [said, *tried.notes] if tried.studies else []
