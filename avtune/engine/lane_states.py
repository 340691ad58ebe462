"""Saves the lanes of running trials, and finds what a trial goes on from."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Protocol

from avtune.core.trial import Trial
from avtune.engine.checksum import verified, with_checksum
from avtune.engine.group import Group
from avtune.lanes.modules import Tensors


class LaneFiles(Protocol):
    """Keeps the states of lanes for another engine."""

    def save(self, trial: Trial, values: Sequence[float], folds: Sequence[Tensors]) -> None:
        """Keeps the state of a trial's lanes, one for each fold, in place of an earlier one.

        Args:
            trial: whose lanes they are; names the file.
            values: its `val_map` after every epoch so far.
            folds: the state of its lane in each fold.
        """

    def load(self, trial: Trial) -> tuple[Sequence[float], Sequence[Tensors]] | None:
        """What was kept last for this very trial, (values, folds); None for nothing usable."""


def found_state(files: LaneFiles | None, trial: Trial) -> tuple[Sequence[float], Sequence[Tensors]] | None:
    """The (values, states) from which a trial goes on; None where it starts: it has no file, or one that is damaged or
    of a later epoch than those whose results are on record."""
    if files is None or trial.lane_file is None:
        return None
    with contextlib.suppress(Exception):  # a damaged file may raise anything
        found = files.load(trial)
        if found is not None and len(found[0]) <= trial.known:
            return found[0], verified(*found)
    return None


def save_states(files: LaneFiles, group: Group, *, every: bool = False) -> None:
    """Saves the trials that have just passed an epoch at which they are to be saved.

    Args:
        every: those at another epoch, too.
    """
    for trial in group.trials:
        values = group.values(trial.number)
        if trial.lane_file is not None and values and (every or len(values) in trial.save_at):
            files.save(trial, values, with_checksum(values, group.states(trial.number)))
