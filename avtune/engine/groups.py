"""The lane groups of an engine: which trial is where, and how many trials the engine holds at a time.

An engine holds as many trials as it was told, or fewer for as long as it has no memory for so many: until a group has
gone and freed its memory, or, where an epoch ran out of memory, until the half of that group that goes on has gone.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

from avtune.core.trial import Trial
from avtune.data.prepare import Prepared
from avtune.engine.features import Features
from avtune.engine.group import Group
from avtune.engine.lane_trainer import LaneTrainer
from avtune.engine.memory import Need, free_bytes, need
from avtune.methods import get, static_values

_LOG = logging.getLogger(__name__)

Key = tuple[Any, ...]
"""What a group's trials agree on: method, precision and static hyper-parameters."""


class NoRoom(MemoryError):
    """There is no memory for a new group while the engine holds its other trials."""


class Groups:
    """All groups of an engine.

    Args:
        data: the folds that every trial trains on.
        lanes: trials at a time, at most.
        device: where.
        exact: see `LaneTrainer`.
    """

    def __init__(self, data: Sequence[Prepared], *, lanes: int, device: str, exact: bool = False) -> None:
        self._data = list(data)
        self._lanes = lanes
        self._device = device
        self._exact = exact
        self._features: list[Features] = []  # of each fold, made with the first group
        self._groups: list[Group] = []
        self._keys: dict[Group, Key] = {}
        self._needs: dict[Key, Need] = {}
        self._room = lanes
        self._why = ""

    def __iter__(self) -> Iterator[Group]:
        """Over a copy: groups may be made and dropped meanwhile."""
        return iter(list(self._groups))

    @property
    def num_trials(self) -> int:
        """Trials in all groups."""
        return sum(len(group) for group in self._groups)

    @property
    def capacity(self) -> int:
        """Most trials at a time, at present."""
        return min([self._room, *(group.most for group in self._groups if group.most is not None)])

    @property
    def why(self) -> str:
        """Why `capacity` was last lowered."""
        return self._why

    def find(self, number: int) -> Group | None:
        """The group that holds a trial; None where none does."""
        return next((group for group in self._groups if number in group), None)

    def narrow(self, capacity: int, why: str, group: Group | None = None) -> None:
        """No more trials at a time than so many, until a group has gone; where one is named, until that one has."""
        self._why = why
        _LOG.debug("%d trials at a time: %s", capacity, why)
        if group is None:
            self._room = min(self._room, capacity)
        else:
            group.most = capacity

    def drop(self, group: Group) -> None:
        """The group is gone, and gives back its memory."""
        self._groups.remove(group)
        _LOG.debug("a group of %d lanes is dropped, %d groups are left", group.capacity, len(self._groups))
        del self._keys[group]
        self._room = self._lanes

    def drop_empty(self) -> None:
        """Drops the groups without trials."""
        for group in self:
            if not len(group):
                self.drop(group)

    def for_trial(self, lane_trials: Sequence[Trial], precision: str) -> Group:
        """A group with a free lane for a trial, given by its lane's trial in each fold.

        Raises:
            NoRoom: there is no memory for one.
        """
        key = _key(lane_trials[0], precision)
        for group in self._groups:
            if self._keys[group] == key and len(group) < group.capacity:
                _LOG.debug("trial %d: a group of %d trials", lane_trials[0].number, len(group))
                return group
        return self.add(lane_trials, precision, self._fitting(key, lane_trials, precision))

    def add(self, lane_trials: Sequence[Trial], precision: str, lanes: int) -> Group:
        """A new group with so many lanes for such trials."""
        made = [self._make(fold, lane_trials[0], precision, lanes) for fold in range(len(self._data))]
        group = Group(made)
        self._keys[group] = _key(lane_trials[0], precision)
        self._groups.append(group)
        _LOG.debug("trial %d: a new group of %d lanes, %s", lane_trials[0].number, lanes, self._keys[group])
        return group

    def _make(self, fold: int, trial: Trial, precision: str, lanes: int) -> LaneTrainer:
        for data in self._data[len(self._features) :]:
            self._features.append(Features.of(data, self._device))
        static = static_values(get(trial.method), trial.config)
        return LaneTrainer(
            trial.method,
            static,
            self._data[fold],
            capacity=lanes,
            device=self._device,
            precision=precision,
            features=self._features[fold],
            exact=self._exact,
        )

    def _fitting(self, key: Key, lane_trials: Sequence[Trial], precision: str) -> int:
        """Lanes of a new group: as many as the device has memory for, `capacity` at most. Where there are fewer, the
        engine holds fewer trials until a group has gone."""
        lanes = self.capacity
        if lanes == 1:
            return 1
        if key not in self._needs:
            make = partial(self._make, 0, lane_trials[0], precision)
            self._needs[key] = need(make, lane_trials, self._device)
        one, free = self._needs[key], free_bytes(self._device)
        if one.lanes(free) < lanes:
            why = f"{lane_trials[0].method} takes {one.first >> 20} MiB and {one.further >> 20} for each further trial"
            why += f", {max(free, 0) >> 20} MiB are free"
            if one.lanes(free) == 0 and self.num_trials:
                raise NoRoom(why)
            lanes = max(1, one.lanes(free))
            self.narrow(self.num_trials + lanes, why)
        return lanes


def _key(trial: Trial, precision: str) -> Key:
    return (trial.method, precision, *sorted(static_values(get(trial.method), trial.config).items()))
