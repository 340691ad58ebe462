"""A small dataset on disk and a space that trains in a moment."""

import numpy as np

from avtune.data.dataset import Dataset, Split
from avtune.data.formats import write_hdf5
from avtune.data.prepare import Prepared
from avtune.study.results import Results, ScoredDataset
from avtune.study.scores import HEADLINE, Score, Scores

SPACE = """
method: triplet
space:
  margin: {type: float, low: 0.1, high: 1.0}
  lr: {type: float, low: 1e-2, high: 1e-1, log: true}
  hidden_dim: 8
  embedding_dim: 4
  batch_size: 16
search: {trials: 5, seed: 1}
early_stopping: {epochs: 6, grace: 1, factor: 2}
validation: {fraction: 0.25}
final: {finalists: 2, seeds: 2, reference: none}
"""


def toy_dataset(seed=0, classes=3, train=60, test=24, dims=(10, 7)):
    """Two views of separated classes, of dimensions that are nobody's default."""
    draw = np.random.default_rng(seed)
    centres = [draw.normal(size=(classes, dim)) * 4 for dim in dims]

    def split(size):
        labels = np.arange(size) % classes
        views = [(centre[labels] + draw.normal(size=(size, centre.shape[1]))).astype(np.float32) for centre in centres]
        return Split(views[0], views[1], labels)

    return Dataset("toy", split(train), split(test), tuple(f"class {c}" for c in range(classes)), "generated")


def write_toy(folder, **more):
    """Writes `toy.h5` and `space.yaml`; returns their paths."""
    write_hdf5(toy_dataset(**more), folder / "toy.h5")
    (folder / "space.yaml").write_text(SPACE)
    return folder / "toy.h5", folder / "space.yaml"


def toy_prepared(seed=0, classes=4, clips=96, dims=(10, 14)):
    """Two views of well separated classes."""
    draw = np.random.default_rng(seed)
    labels = np.arange(clips) % classes
    views = [
        (draw.normal(size=(classes, dim))[labels] * 2 + draw.normal(size=(clips, dim))).astype(np.float32)
        for dim in dims
    ]
    half = clips // 2
    parts = [Split(views[0][at], views[1][at], labels[at]) for at in (slice(0, half), slice(half, clips))]
    return Prepared(parts[0], parts[1], classes)


def write_leaky(folder, names=None):
    """As `write_toy`, with two problems: four of the test clips are training clips, and a class is not tested."""
    whole = toy_dataset()
    test = whole.test.take(np.flatnonzero(whole.test.labels != 2))
    leaked = whole.train.take(np.array([3, 4, 9, 10]))  # of the classes 0 and 1
    views = [np.concatenate([getattr(one, view) for one in (leaked, test)]) for view in ("audio", "visual", "labels")]
    write_hdf5(Dataset("toy", whole.train, Split(*views), names or whole.class_names, "generated"), folder / "toy.h5")
    (folder / "space.yaml").write_text(SPACE)
    return folder / "toy.h5", folder / "space.yaml"


def toy_results(score=0.5, seeds=1, **more):
    """Results of a trial whose every score is this one, for every seed."""
    one = Score(score, (score,) * seeds, None if seeds == 1 else (score, score), (score, score))
    given = {
        "dataset": ScoredDataset("toy", "0" * 64, 24),
        "method": "triplet",
        "trial": 0,
        "epochs": 4,
        "seeds": tuple(range(seeds)),
        "precision": "fp32",
        "selected_on": "validation",
        "times_test_was_scored": 1,
        "test": Scores(**dict.fromkeys(HEADLINE, one)),
    }
    return Results(**(given | more))
