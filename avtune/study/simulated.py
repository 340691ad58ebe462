"""A study that is simulated: the real one, with its rungs and records, whose lines nobody will read again."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from avtune.core.hyper import Value
from avtune.core.log import Level
from avtune.core.seeds import mix
from avtune.space.axis import Axis
from avtune.space.space import Space
from avtune.study.folder import StudyFolder

if TYPE_CHECKING:
    from avtune.study.enqueued import Enqueued


class SimulatedFolder(StudyFolder):
    """A study folder whose curves and notes are not kept. Trials leave no lane files, so none are deleted.

    Args:
        root: a temporary folder; the journal is written there, and `trials.csv`.
    """

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.notes: list[str] = []

    def add_curve_line(self, line: dict[str, Any], *, sync: bool = False) -> None:
        pass

    def drop_lane(self, number: int) -> None:
        pass

    def note(self, text: str, level: Level = "INFO") -> None:
        self.notes.append(text)


class UniformSuggestions:
    """Random configurations, the default one first where the space holds it, as `search.sampler: random` suggests them,
    without Optuna and without a journal: a tenth of a millisecond each.

    Args:
        space: what is searched; an axis with steps is drawn from its values.
        seed: of the configurations.
    """

    repaired = False
    used_up = False
    first_suggested = 1
    waiting = 0

    def __init__(self, space: Space, seed: int) -> None:
        self._space, self._seed = space, seed
        self.known: list[dict[str, Value]] = []

    def enqueued(self) -> list[Enqueued]:
        return []

    def past(self) -> list[dict[str, Value]]:
        return []

    def times(self) -> dict[int, tuple[float, float | None]]:
        return {}

    def ask(self, number: int) -> dict[str, Value]:
        axes = self._space.axes
        if number == 0 and all(axis.contains(axis.default) for axis in axes):
            return self._space.defaults()
        draw = random.Random(mix(self._seed, "suggest", number))
        return {**{axis.name: _drawn(axis, draw) for axis in axes}, **self._space.fixed}

    def tell(
        self,
        number: int,
        state: str,
        value: float | None,
        rungs: Mapping[int, float],
        facts: Mapping[str, Value] | None = None,
    ) -> None:
        pass


def _drawn(axis: Axis, draw: random.Random) -> Value:
    if axis.kind == "choice":
        return draw.choice(axis.values)
    assert axis.low is not None
    assert axis.high is not None
    if axis.kind == "float" and axis.step is None:
        if axis.log:
            return min(max(math.exp(draw.uniform(math.log(axis.low), math.log(axis.high))), axis.low), axis.high)
        return draw.uniform(axis.low, axis.high)
    step = axis.step or 1
    if axis.log:  # whole numbers, each as likely as its share of the logarithm
        value = math.exp(draw.uniform(math.log(axis.low - 0.5), math.log(axis.high + 0.5)))
        return int(min(max(round(value), axis.low), axis.high))
    value = axis.low + draw.randrange(round((axis.high - axis.low) / step) + 1) * step
    return int(value) if axis.kind == "int" else min(value, axis.high)
