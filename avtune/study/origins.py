"""Where the configurations of trials come from: drawn at random to begin with, known beforehand, or suggested."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from avtune.core.hyper import Value
from avtune.space.space import Space
from avtune.study.grid import Key, key_of
from avtune.study.record import Record


class Origins:
    """Tells the trials whose configurations a sampler has suggested from others.

    Args:
        space: what is searched.
        known: configurations that the user named, and those of earlier studies; values of the axes each.
        default: the method's default one, which is known beforehand, too; None where the space does not hold it. Where
            the method is not known, the number of the trial that it has in a search that was not continued.
        records: those of the study, which grow with it.
    """

    def __init__(
        self,
        space: Space,
        known: Sequence[Mapping[str, Value]],
        default: Mapping[str, Value] | int | None,
        records: Sequence[Record],
    ) -> None:
        self._space = space
        self._records = records
        self._default_at = default if isinstance(default, int) else -1
        points = [*known, *([] if default is None or isinstance(default, int) else [default])]
        self._known = {key_of(space.fitted(point)) for point in points}
        self._waiting = set(self._known)
        self._seen = 0

    def is_suggested(self, record: Record) -> bool:
        """Whether a trial is none of the random start-up trials and none whose configuration is known beforehand."""
        if record.number < self._space.search.startup_trials or record.number == self._default_at:
            return False
        return self._key(record) not in self._known

    @property
    def waits(self) -> bool:
        """Whether a configuration that is known beforehand has not been tried."""
        for record in self._records[self._seen :]:
            self._waiting.discard(self._key(record))
        self._seen = len(self._records)
        return bool(self._waiting) or self._default_at >= self._seen

    def _key(self, record: Record) -> Key:
        config, axes = record.trial.config, self._space.axes
        return key_of(self._space.fitted({axis.name: config[axis.name] for axis in axes if axis.name in config}))
