"""The validation MAP of one trial by epoch, in eight bytes an epoch: a study keeps that of every trial."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Mapping


class Curve(Mapping[int, float]):
    """Validation MAP by epoch; the epochs are 1 to `last`.

    Args:
        values: of epoch 1, 2, ...
    """

    def __init__(self, values: Iterable[float] = ()) -> None:
        self._values = array("d", values)

    def __getitem__(self, epoch: int) -> float:
        if epoch not in self:
            raise KeyError(epoch)
        return self._values[epoch - 1]

    def __contains__(self, epoch: object) -> bool:
        return isinstance(epoch, int) and 1 <= epoch <= self.last

    def __iter__(self) -> Iterator[int]:
        return iter(range(1, self.last + 1))

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return f"Curve({list(self._values)})"

    @property
    def last(self) -> int:
        """The last epoch, 0 before the first."""
        return len(self._values)

    @property
    def best_epoch(self) -> int | None:
        """The first epoch with the highest value."""
        return self._values.index(max(self._values)) + 1 if self._values else None

    def best_until(self, epoch: int) -> float | None:
        """The highest value up to that epoch."""
        return max(self._values[:epoch], default=None)

    def add(self, epoch: int, value: float) -> None:
        """Adds the epoch after the last one."""
        assert epoch == self.last + 1, (epoch, self.last)
        self._values.append(value)

    def cut(self, epoch: int) -> None:
        """Forgets what comes after that epoch."""
        del self._values[epoch:]
