"""What things cost, for the runner `simulate`: seconds of a start, a suggestion, an epoch, a validation, a scoring.

Costs are measured (those of a study's files, see `study.recorded_curves`), or computed from the size of what is trained
and from what a named device was measured to do (`DEVICES`, whose sources are `benchmarks/reports/`).
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass

from avtune.core.trial import Trial


@dataclass(frozen=True)
class EpochCost:
    """Seconds of an epoch of L trials that share tensors: `fixed + L * (lane + validation)`."""

    fixed: float
    lane: float
    validation: float

    def seconds(self, lanes: int) -> float:
        """Of all of them together."""
        return self.fixed + lanes * (self.lane + self.validation)


def _one_group(trial: Trial) -> Hashable:
    return trial.method, trial.config.get("batch_size"), trial.config.get("hidden_dim")


@dataclass(frozen=True)
class Costs:
    """Seconds of everything that a search does.

    Attributes:
        epoch_of: of an epoch of trials like this one.
        start: before the first epoch: imports, Ray, engines.
        suggestion: of the driver, for each trial.
        scoring: of one retrained model on the test split.
        finish: report, model card and the like.
        group_of: trials of one value share tensors.
    """

    epoch_of: Callable[[Trial], EpochCost]
    start: float = 0.0
    suggestion: float = 0.0
    scoring: float = 0.0
    finish: float = 0.0
    group_of: Callable[[Trial], Hashable] = _one_group


@dataclass(frozen=True)
class Device:
    """What a device was measured to do.

    Attributes:
        name: for people, with the source.
        epoch, step: seconds that an epoch and each of its steps take, however many lanes there are.
        lane_step: further seconds of a step for each lane.
        weight: further seconds of a step for each lane and weight.
        product: further seconds for each multiplication with its addition.
        key: seconds of validation for each of the 2 N^2 similarities of N validation rows.
        fp32: how much more weights and products take in fp32 than in the precision of a search, bf16.
        start: see `Costs`.
    """

    name: str
    epoch: float
    step: float
    lane_step: float
    weight: float
    product: float
    key: float
    fp32: float
    start: float


DEVICES: Mapping[str, Device] = {
    # Trials an hour of 1 to 256 lanes at two sizes, bf16 and fp32; benchmarks/reports/2026-11-26-gpu.md, "Scaling".
    "gpu": Device(
        name="an H200 in bf16 (benchmarks/reports/2026-11-26-gpu.md)",
        epoch=5e-3,
        step=0.8e-3,
        lane_step=30e-6,
        weight=17e-12,
        product=0.0,
        key=0.13e-9,
        fp32=2.5,
        start=25.0,
    ),
    # Clips a second of 4 lanes of 512 units, bf16 and fp32; `step` from those of 1 and of 8 lanes, in bf16:
    # benchmarks/reports/2026-11-26-lanes.md. `lane_step` and `key` are from the epochs of a search of the demo with 4
    # lanes (128 units, batches of 128; 60 ms a lane, with validation).
    "cpu": Device(
        name="a core of an AMD EPYC (benchmarks/reports/2026-11-26-lanes.md)",
        epoch=2e-3,
        step=3.7e-3,
        lane_step=3.1e-3,
        weight=0.0,
        product=1 / 51e9,
        key=15e-9,
        fp32=1.65,
        start=8.0,
    ),
}


@dataclass(frozen=True)
class Size:
    """What is trained, as far as it decides the cost.

    Attributes:
        rows: training rows.
        validation_rows: 0 for none.
        widths: of the features of both views.
    """

    rows: int
    validation_rows: int
    widths: tuple[int, int]

    def weights(self, config: Mapping[str, object]) -> tuple[int, int]:
        """Weights of the first layers and of the others, of two encoders with two hidden layers each."""
        hidden, embedding = int(str(config.get("hidden_dim", 512))), int(str(config.get("embedding_dim", 64)))
        return sum(self.widths) * hidden, 2 * hidden * (hidden + embedding)

    def epoch(self, device: Device, config: Mapping[str, object], *, fp32: bool = False) -> EpochCost:
        """An epoch of trials of that configuration on a device.

        Args:
            fp32: it is one of a retraining.
        """
        batch = min(int(str(config.get("batch_size", self.rows))), self.rows)
        steps = max(1, self.rows // batch)
        first, others = self.weights(config)
        products = batch * (2 * first + 3 * others)  # no gradient of the features is computed
        factor = device.fp32 if fp32 else 1.0
        arithmetic = device.weight * (first + others) + device.product * products
        keys = 2 * self.validation_rows**2
        forward = device.product * self.validation_rows * (first + others)
        lane = steps * (device.lane_step + factor * arithmetic)
        return EpochCost(device.epoch + steps * device.step, lane, device.key * keys + forward)
