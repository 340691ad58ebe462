"""What of a space cannot be taken as it was given on so many training rows: said before anything is trained."""

from __future__ import annotations

from collections.abc import Mapping

from avtune.core.hyper import Value
from avtune.space.space import Space
from avtune.study.horizon import LEAST_EPOCHS, Horizon

_BATCH = "batch_size"


def batch_note(config: Mapping[str, Value], rows: int) -> list[str]:
    """A line where a configuration's batch is larger than the training set, else none. A training function has its own
    ways with such a value and is not to be asked about here."""
    batch = config.get(_BATCH)
    if not rows or not isinstance(batch, int) or batch <= rows:
        return []
    return [f"batch_size {batch} is more than the {rows} training rows: a step takes all of them, and is an epoch"]


def limits(horizon: Horizon) -> list[str]:
    """What a search of the horizon's space on its rows does otherwise than the space says, a line each."""
    space, rows = horizon.space, horizon.rows
    lines = []
    largest = _largest_searched(space)
    if rows and largest is not None and largest > rows:
        lines.append(
            f"batch_size is searched up to {largest}, and there are {rows} training rows: with a larger one a step "
            "takes all of them, and is an epoch"
        )
    elif largest is None:
        lines += batch_note(space.fixed, rows)
    config, stopping = space.defaults(), space.early_stopping
    least = LEAST_EPOCHS * horizon.steps(config)
    if horizon.open and _BATCH in config and stopping.steps <= least - horizon.steps(config):
        lines.append(
            f"early_stopping.steps is {stopping.steps}, but a trial may train {LEAST_EPOCHS} epochs however many steps "
            f"they take, {least} here; a number of early_stopping.epochs has no such rule"
        )
    return lines


def _largest_searched(space: Space) -> int | None:
    """The largest batch size that is searched, None where it is fixed."""
    axis = next((axis for axis in space.axes if axis.name == _BATCH), None)
    if axis is None:
        return None
    return int(max(map(float, axis.values)) if axis.kind == "choice" else axis.high or 0)
