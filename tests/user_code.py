"""Code of a user's own for tests: training functions and methods, written into the current folder."""

from pathlib import Path

from toy import write_toy

SPACE = """
space:
  x: {type: float, low: 0.0, high: 1.0}
search: {trials: 4, seed: 0}
early_stopping: {epochs: 3, grace: 3, factor: 3}
final: {finalists: 1, seeds: 1, reference: none}
"""
FUNCTION = """
import asyncio, logging, sys, warnings

log = logging.getLogger("mine")
log.handlers[:] = [logging.StreamHandler()]  # it holds on to the terminal's stderr, as `basicConfig` does

def embed(audio, visual):
    return audio[:, :4], visual[:, :4]

class Skipped(BaseException):
    pass

def train(config, data, report):
    TRAIN
    for epoch in range(1, data.epochs + 1):
        if not report(epoch, data.scores(embed)):
            break
    return embed
"""
METHOD = """
import sys
from own_method import CrossContrast

class Mine(CrossContrast):
    name = "mine"

    def loss(self, params, buffers, batch, hyper, progress):
        LOSS
        return super().loss(params, buffers, batch, hyper, progress)
"""
SIZES = ("hidden_dim=8", "embedding_dim=4", "batch_size=16")
SEARCH = (
    "search.trials=4",
    "early_stopping.epochs=3",
    "early_stopping.grace=3",
    "final.finalists=1",
    "final.seeds=1",
    "final.reference=none",
)


def function_search(line, *words, runner="inline"):
    """Writes a training function that begins with `line`; returns the words of a search over it."""
    if not Path("toy.h5").exists():
        write_toy(Path())
    Path("mine.py").write_text(FUNCTION.replace("TRAIN", line))
    Path("mine.yaml").write_text(SPACE)
    start = ["search", "toy.h5", "--train", "mine:train", "--space", "mine.yaml", "--name", "one", "--gpus", "0"]
    return [*start, "--runner", runner, *words]


def method_search(line, *words, runner="inline"):
    """The same for a method whose `loss` begins with `line`."""
    if not Path("toy.h5").exists():
        write_toy(Path())
    Path("my_method.py").write_text(METHOD.replace("LOSS", line))
    sets = [f"space.{size}" for size in SIZES] + list(SEARCH)
    start = ["search", "toy.h5", "--method", "my_method:Mine", "--name", "one", "--gpus", "0"]
    return [*start, *(word for one in sets for word in ("--set", one)), "--runner", runner, *words]
