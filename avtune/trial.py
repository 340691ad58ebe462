"""What is trained: one configuration with its seed. No torch, no Ray: the study and every runner share it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from avtune.hyper import Value


@dataclass(frozen=True)
class Trial:
    """What decides the result of a training run, together with the data.

    Attributes:
        number: of the trial in its study, from 0.
        method: name of a method.
        config: values of its hyper-parameters; what is missing takes its default.
        seed: decides initialisation, data order and dropout.
        epochs: epochs to train at most.
        precision: of the large matrix products, `fp32` or `bf16`; weights, losses and optimiser are fp32 in both.
        save_to: file for the trained weights, or None to forget them.
    """

    number: int
    method: str
    config: Mapping[str, Value]
    seed: int
    epochs: int
    precision: str = "fp32"
    save_to: str | None = None


class TrialFailed(Exception):
    """A configuration cannot be trained further, e.g. its loss is not finite. Ends the trial, never the study."""
