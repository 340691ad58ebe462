"""What is trained: one configuration with its seed. No torch, no Ray: the study and every runner share it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from avtune.core.hyper import Value
from avtune.core.patience import is_flat


@dataclass(frozen=True)
class Trial:
    """What decides the result of a training run.

    Attributes:
        number: of the trial in its study, from 0.
        method: name of a method.
        config: values of its hyper-parameters; what is missing takes its default.
        seed: decides initialisation, data order and dropout.
        epochs: epochs to train at most.
        precision: of the large matrix products, `fp32`, `tf32` or `bf16`; weights, losses and optimiser are fp32.
        save_to: file for the trained weights, or None to forget them.
        lane_file: file for the state of its lanes while it trains, so that another engine can go on; None for none.
        save_at: the epochs after which that state is saved, if the trial is still wanted then.
        known: epochs whose results have been taken already. State of a later epoch is not continued from: the results
            up to it are not on record.
        keep_best: the weights saved are those of the epoch with the highest `val_map`, not those of the last.
        horizon: epochs over which schedules are laid out, 0 for `epochs`. A retraining that ends earlier than the
            search's trials goes through the same schedules as they did, as far as it gets. Beyond, schedules keep their
            last value.
        patience: the trial ends by itself when its `val_map` has not become better for so many epochs, see
            `avtune.core.patience`; 0 for one that trains all its `epochs`.
        least: epochs before it may end so.
        output: file for what code of the user's own prints while this trial trains; None where nothing is kept.
        basis: what else decides the result, the rows that are trained on and the user's own code, as `run_key` names
            them; empty where no file of the run is read again.
        rows_seed: of its validation rows, where each trial has rows of its own (`data.own_rows`); None for `seed`.
    """

    number: int
    method: str
    config: Mapping[str, Value]
    seed: int
    epochs: int
    precision: str = "fp32"
    save_to: str | None = None
    lane_file: str | None = None
    save_at: Sequence[int] = ()
    known: int = 0
    keep_best: bool = False
    horizon: int = 0
    patience: int = 0
    least: int = 0
    output: str | None = None
    basis: str = ""
    rows_seed: int | None = None

    def ends(self, values: Sequence[float]) -> bool:
        """Whether training is over after these values of `val_map`, one an epoch from the first."""
        if len(values) >= self.epochs:
            return True
        return self.patience > 0 and len(values) >= self.least and is_flat(values, self.patience)


class TrialFailed(Exception):
    """A configuration cannot be trained further, e.g. its loss is not finite. Ends the trial, never the study."""
