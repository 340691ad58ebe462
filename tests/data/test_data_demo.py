from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from avtune.data import Dataset, Scaler, demo

Matrix = NDArray[np.float64]


def test_demo_has_the_shape_of_ave() -> None:
    dataset = demo()
    assert (dataset.num_classes, len(dataset.train), len(dataset.test)) == (15, 1766, 189)
    assert (dataset.audio_dim, dataset.visual_dim) == (128, 1024)
    counts = np.bincount(dataset.train.labels)
    assert counts.max() > 2 * counts.min() > 40


def test_demo_is_the_same_everywhere() -> None:
    # Results on the demo are compared between machines: a change of these bytes is a change of every such result.
    assert demo().digest.startswith("8b5f758a7bf053ba")
    assert demo(1).digest.startswith("19440148")
    assert demo(0).digest != demo(2).digest


def mean_average_precision(a: Matrix, v: Matrix, labels: NDArray[np.int64]) -> float:
    similarity = (a / np.linalg.norm(a, axis=1)[:, None]) @ (v / np.linalg.norm(v, axis=1)[:, None]).T
    total = 0.0
    for i, row in enumerate(similarity):
        relevant = labels[np.argsort(-row, kind="stable")] == labels[i]
        ranks = np.flatnonzero(relevant) + 1
        total += float((np.arange(1, len(ranks) + 1) / ranks).mean())
    return total / len(labels)


def scaled(dataset: Dataset, view: str) -> tuple[Matrix, Matrix]:
    train, test = getattr(dataset.train, view), getattr(dataset.test, view)
    scaler = Scaler.fit(train)
    return scaler.transform(train).astype(np.float64), scaler.transform(test).astype(np.float64)


def whitening(x: Matrix, ridge: float = 0.1) -> Matrix:
    return np.linalg.inv(np.linalg.cholesky(x.T @ x / len(x) + ridge * np.eye(x.shape[1]))).T


def test_linear_alignment_does_not_solve_it_and_the_classes_are_there() -> None:
    dataset = demo()
    (audio, audio_test), (visual, visual_test) = scaled(dataset, "audio"), scaled(dataset, "visual")
    white_a, white_v = whitening(audio), whitening(visual)
    left, _, right = np.linalg.svd(white_a.T @ (audio.T @ visual / len(audio)) @ white_v, full_matrices=False)
    labels = dataset.test.labels
    rng = np.random.default_rng(0)
    floor = mean_average_precision(
        audio_test @ rng.normal(size=(128, 64)), visual_test @ rng.normal(size=(1024, 64)), labels
    )
    cca = mean_average_precision(audio_test @ white_a @ left[:, :10], visual_test @ white_v @ right[:10].T, labels)
    assert 0.06 < floor < 0.14
    assert 0.25 < cca < 0.42
