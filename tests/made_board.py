"""A TensorBoard folder of four trials, a finalist and the winner, as a search writes it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from toy import toy_results

from avtune.report.tensorboard import StudyBoard
from avtune.report.winner_board import Embedded, FinalistRun, write_finalists, write_winner
from avtune.space.axis import Axis
from avtune.space.space import Space

SPACE = Space(
    "psd",
    axes=(
        Axis("lr", "float", 1e-4, 1e-2, log=True),
        Axis("batch_size", "choice", values=(256, 512)),
        Axis("r_shrink", "float", 0.9, 1.0),
        Axis("r_init", "float", 0.5, 1.0),
        Axis("w_dis", "float", 0.0, 1.0),
        Axis("w_cross", "float", 0.1, 10.0, log=True),
        Axis("margin", "float", 0.05, 1.0),
        Axis("mining", "choice", values=("all", "hard")),
    ),
    fixed={"swap": False, "hidden_dim": 64},
)
CONFIG = {
    "lr": 1e-3,
    "batch_size": 256,
    "r_shrink": 0.95,
    "r_init": 0.9,
    "w_dis": 0.1,
    "w_cross": 1.0,
    "margin": 0.5,
    "mining": "hard",
    **SPACE.fixed,
}
ENDS = {0: "COMPLETE", 1: "PRUNED", 2: "FAIL", 3: None}


def write_board(folder):
    """Four trials, of which one has no margin and another no mining; a finalist; the winner."""
    board = StudyBoard(folder, SPACE)
    for number, end in ENDS.items():
        config = {name: value for name, value in CONFIG.items() if (number, name) not in {(1, "margin"), (2, "mining")}}
        board.start(number, {**config, "lr": 10.0 ** -(number % 2 + 2)})
        for epoch, value in enumerate((0.2, 0.5 - 0.1 * number, 0.1), 1):
            board.epoch(number, epoch, {"map/val": value, "train/loss": 1 / epoch, "usage/seconds": 1.0})
        if end is not None:
            board.end(number, end)
    board.close()
    runs = [FinalistRun("0", seed, CONFIG, {1: 0.1, 2: 0.4 + 0.1 * seed, 3: 0.3}, 2) for seed in range(3)]
    write_finalists(folder, [*runs, FinalistRun("default", 0, CONFIG, {}, 0, failed=True)], {"lr", "w_cross"})
    draw = np.random.default_rng(0)
    embedded = Embedded(draw.normal(size=(12, 3)), draw.normal(size=(12, 3)), np.arange(12) % 3, ("a\tb", "cé", "d"))
    results = replace(toy_results(0.5, seeds=2), default=toy_results(0.25).test)
    write_winner(folder, results, "# the card", embedded)
