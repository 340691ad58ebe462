"""A set on which training takes many epochs: few clips, an epoch of three steps, and classes that are not separable."""

from __future__ import annotations

from avtune.data import Dataset
from avtune.data.demo import generated

CLASSES, TRAIN, TEST = 8, 1155, 288


def small(seed: int = 0) -> Dataset:
    """1,155 training and 288 test clips of the demo's kind in eight classes. The curve of the default `psd` is flat
    around epoch 27 and then rises for another hundred epochs, by a fifth."""
    return generated("small", _shares(TRAIN), _shares(TEST), seed)


def _shares(clips: int) -> list[int]:
    """So many clips spread over the classes."""
    return [clips // CLASSES + (place < clips % CLASSES) for place in range(CLASSES)]
