"""Cross-modal triplets with labels for every clip: `psd` with r fixed at 1 (stated by the papers that compare with
it)."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

from avtune.core.hyper import Hyper
from avtune.methods._base import TRAINING_HYPERS
from avtune.methods.psd import ENCODER_HYPERS, PSD, TRIPLET_HYPERS


class Triplet(PSD):
    """Labelled loss + cross-modal triplets, all or semi-hard + distance of pairs."""

    name: ClassVar[str] = "triplet"
    summary: ClassVar[str] = "labelled loss, cross-modal triplets over all clips, distance of pairs"
    source: ClassVar[str] = "the baseline of Zeng & Ikeda 2025; stated"
    hypers: ClassVar[tuple[Hyper, ...]] = (*TRIPLET_HYPERS, *ENCODER_HYPERS, *TRAINING_HYPERS)
    distils: ClassVar[bool] = False


class HardTriplet(Triplet):
    """Labelled loss + batch-hard cross-modal triplets + distance of pairs."""

    name: ClassVar[str] = "hard_triplet"
    summary: ClassVar[str] = "labelled loss, batch-hard cross-modal triplets, distance of pairs"
    hypers: ClassVar[tuple[Hyper, ...]] = tuple(
        replace(hyper, default="hard", values=("hard",)) if hyper.name == "mining" else hyper
        for hyper in Triplet.hypers
    )
