"""A portfolio: configurations of a method that together were good on many data sets, tried by new searches of the
method right after its default.

It is a file `portfolios/METHOD.yaml` of this package, a list of configurations. None is there: one comes with the
measurement that it pays, on data sets that it was made without.
"""

from __future__ import annotations

from pathlib import Path

from avtune.core.errors import UserError
from avtune.core.hyper import Value
from avtune.space.configuration import configurations_of_file, point_in, without_repeats
from avtune.space.space import Space
from avtune.workflows.like import Like

FOLDER = Path(__file__).parents[1] / "portfolios"
NAME = "portfolio"


def portfolio(space: Space) -> Like:
    """The portfolio of a method, as what an earlier study would give; nothing where there is none. What the space does
    not search is left out.

    Raises:
        UserError: the file is damaged.
    """
    path = FOLDER / f"{space.method}.yaml"
    if not path.is_file():
        return Like()
    points: list[dict[str, Value]] = []
    left_out = 0
    for one in configurations_of_file(path):
        try:
            points.append(point_in(space, one))
        except UserError:
            left_out += 1
    notes = [f"portfolio of {space.method}: {left_out} not in the space are left out"] if left_out else []
    return Like([NAME], without_repeats(points), notes)
