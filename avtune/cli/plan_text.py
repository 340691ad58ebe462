"""What a search says before it trains: what it is about to do, and the table of its rungs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from avtune.cli import console
from avtune.core.objective import MAP
from avtune.core.protocol import PUBLISHED, SELECTED_ON_TEST, VALIDATION
from avtune.study.asha import expected_epochs, rung_table
from avtune.study.horizon import FEW_STEPS, Horizon


def plan_lines(
    horizon: Horizon,
    dataset: str,
    where: str,
    study: Path,
    *,
    done: int,
    protocol: str = VALIDATION,
    limited: Sequence[str] = (),
    nodes: Sequence[str] = (),
) -> list[str]:
    """What is about to happen, with the rung table.

    Args:
        done: trials known from before.
        protocol: of the retraining.
        limited: what cannot be taken as it was given, see `study.limits`.
        nodes: of the cluster, a line each.
    """
    space, trials = horizon.space, horizon.space.search.trials
    axes = ", ".join(axis.name for axis in space.axes) or "nothing"
    return [
        f"study      {study}" + (f" (continues, {done} of {trials} trials known)" if done else ""),
        f"dataset    {dataset}",
        f"method     {space.method}; searches {axes}",
        f"trials     {trials}, {where}",
        *nodes,
        f"validation {space.validation_rows}",
        *(
            []
            if space.search.objective == MAP.text
            else [f"maximises  {space.search.objective} on the validation rows"]
        ),
        *(
            [f"protocol   published: the epoch of every retrained model is {SELECTED_ON_TEST}"]
            * (protocol == PUBLISHED)
        ),
        *(f"note       {line}" for line in limited),
        *_few_steps(horizon),
        "",
        *(_open_plan(horizon) if horizon.open else _fixed_plan(horizon)),
        "",
    ]


def _few_steps(horizon: Horizon) -> list[str]:
    config = horizon.space.defaults()
    if not horizon.rows or "batch_size" not in config:
        return []
    steps = horizon.steps(config)
    if steps >= FEW_STEPS or int(config["batch_size"]) > horizon.rows:  # which is said by itself
        return []
    return [
        f"note       {horizon.rows} training rows in batches of {config['batch_size']} are {steps} "
        f"step{'s' * (steps > 1)} an epoch; smaller batches learn more in an epoch"
    ]


def _rungs(horizon: Horizon) -> list[tuple[int, float]]:
    space, config = horizon.space, horizon.space.defaults()
    return rung_table(space.search.trials, horizon.epochs(config), horizon.rungs(config), space.early_stopping.factor)


def _fixed_plan(horizon: Horizon) -> list[str]:
    rows = _rungs(horizon)
    expected, whole = expected_epochs(rows), horizon.space.search.trials * rows[-1][0]
    return [
        *console.fitting(
            ["rung (epoch)", "trials expected"],
            [[f"{epoch}", f"{count:.0f}"] for epoch, count in rows[:-1]]
            + [[f"{rows[-1][0]} (end)", f"{rows[-1][1]:.0f}"]],
        ),
        f"about {expected:.0f} of {whole} epochs, if good and bad trials come in random order",
    ]


def _open_plan(horizon: Horizon) -> list[str]:
    config = horizon.space.defaults()
    rows, steps, patience = _rungs(horizon), horizon.steps(config), horizon.patience(config)
    if not patience:
        return ["every trial is solved at once"]
    cells = [[str(epoch), str(epoch * steps), f"{count:.0f}"] for epoch, count in rows]
    cells[-1][0] += " (end)"
    return [
        *console.fitting(["rung (epoch)", "steps", "trials at most"], cells),
        f"a trial ends when nothing better has come for {patience} epochs, and for a third of those that it "
        "took to get there",
    ]
