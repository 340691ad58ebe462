"""Claim: waiting 80 steps, and a third of the way there, finds the best configuration that longer waiting finds.

Random configurations of a space are trained far beyond the point where their curves are flat, side by side as lanes.
Every rule (`avtune.core.patience` with other numbers) then says where each curve would have ended: what it costs in
epochs, and what the best value up to there lacks of the best of the whole curve. `best found` is the loss of the best
configuration of all, which is what a search loses.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from itertools import product
from math import ceil
from statistics import mean
from unittest import mock

import optuna
import torch

from avtune.core import patience
from avtune.core.trial import Trial
from avtune.data import load
from avtune.data.prepare import Prepared, for_search
from avtune.engine.lane_trainer import LaneTrainer
from avtune.methods import METHODS, check_config, get, hypers_of, static_values
from avtune.space.files import load as load_space
from avtune.study.horizon import PATIENCE_STEPS
from benchmarks import _report
from benchmarks._small import small

STEPS, SHARES = (40, 60, 80, 100, 150), (0.0, 1 / 3, 1.0)


def main() -> None:
    parser = _report.arguments("patience", __doc__)
    parser.add_argument("--data", default="small", help="a dataset, as `avtune search` takes it, or `small`")
    parser.add_argument("--space", default="ave")
    parser.add_argument("--configurations", type=int, default=12)
    parser.add_argument("--epochs", type=int, default=300)
    given = parser.parse_args()
    if given.quick:
        given.configurations, given.epochs = 2, 6
    torch.set_num_threads(1)  # what a step computes is small: threads would mostly wait for each other
    data = for_search(small() if given.data == "small" else load(given.data), fraction=0.2, folds=None, seed=0)[0]
    curves, steps = recorded(given, data)
    name = "small" if given.data == "small" else given.data.rpartition("/")[2].partition(".")[0]
    about = (
        f"{len(curves)} configurations of the space {given.space}, drawn at random, {given.epochs} epochs of {steps} "
        f"steps. In bold the rule in use."
    )
    table = _report.table(
        ["steps", "share", "epochs", "loss of MAP", "largest loss", "best found"], rows(curves, steps)
    )
    title = f"How long to wait for a better value: {name}"
    print(_report.write(f"patience-{name}", title, [about, table], ["torch", "numpy"], given.out))


def recorded(given: argparse.Namespace, data: Prepared) -> tuple[list[list[float]], int]:
    """Validation MAP by epoch of each configuration, and the steps of an epoch."""
    space = load_space(given.space, hypers_of=hypers_of, method_names=METHODS)
    kind = get(space.method)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    drawn = [dict(study.ask(space.distributions()).params) for _ in range(given.configurations)]
    configs = [check_config(kind, space.fixed | one) for one in drawn]
    trials = [Trial(number, space.method, config, number, given.epochs) for number, config in enumerate(configs)]
    lanes = LaneTrainer(space.method, static_values(kind, configs[0]), data, capacity=len(trials))
    for trial in trials:
        lanes.store.admit(trial)
    curves: list[list[float]] = [[] for _ in trials]
    for epoch in range(given.epochs):
        for result in lanes.train_epoch():
            curves[result.trial.number].append(result.metrics.get("val_map", 0.0))
        if epoch % 20 == 0:
            print(f"epoch {epoch + 1} of {given.epochs}", flush=True)
    return curves, max(1, len(data.train) // int(configs[0]["batch_size"]))


def rows(curves: Sequence[Sequence[float]], steps: int) -> list[list[str]]:
    """The table's rows, one a rule."""
    best = max(max(curve) for curve in curves)
    made = []
    for waited, share in product(STEPS, SHARES):
        with mock.patch.object(patience, "SHARE", share):
            ends = [ended(curve, max(3, ceil(waited / steps))) for curve in curves]
        reached = [max(curve[:end]) for curve, end in zip(curves, ends, strict=True)]
        losses = [max(curve) - value for curve, value in zip(curves, reached, strict=True)]
        cells = [str(waited), f"{share:.2f}", f"{mean(ends):.0f}", f"{mean(losses):.4f}", f"{max(losses):.4f}"]
        cells.append(f"{best - max(reached):.4f}")
        used = (waited, share) == (PATIENCE_STEPS, patience.SHARE)
        made.append([f"**{cell}**" if used else cell for cell in cells])
    return made


def ended(curve: Sequence[float], waited: int) -> int:
    """The epoch at which the rule ends a curve, or its last."""
    epochs = range(1, len(curve) + 1)
    return next((epoch for epoch in epochs if patience.is_flat(curve[:epoch], waited)), len(curve))


if __name__ == "__main__":
    main()
