"""A study that is simulated: the real one, with its rungs and records, whose lines nobody will read again."""

from __future__ import annotations

import random
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from avtune.core.hyper import Value
from avtune.core.log import Level
from avtune.core.seeds import mix
from avtune.space.drawing import legal_point
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
    configurations = None

    def __init__(self, space: Space, seed: int) -> None:
        self._space, self._seed = space, seed
        self.known: list[dict[str, Value]] = []
        self.waiting: list[int] = []

    def enqueued(self) -> list[Enqueued]:
        return []

    def past(self) -> list[dict[str, Value]]:
        return []

    def times(self) -> dict[int, tuple[float, float | None]]:
        return {}

    def ask(self, number: int) -> dict[str, Value]:
        if number == 0 and self._space.default_point() is not None:
            return self._space.defaults()
        draw = random.Random(mix(self._seed, "suggest", number))
        return {**legal_point(self._space, draw), **self._space.fixed}

    def tell(
        self,
        number: int,
        state: str,
        value: float | None,
        rungs: Mapping[int, float],
        facts: Mapping[str, Value] | None = None,
    ) -> None:
        pass
