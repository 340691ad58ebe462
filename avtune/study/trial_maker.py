"""From a configuration to the trial that a search trains."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from avtune.core.hyper import Value
from avtune.core.seeds import mix
from avtune.core.trial import Trial
from avtune.study.folder import StudyFolder
from avtune.study.horizon import Horizon


@dataclass(frozen=True)
class TrialMaker:
    """What the trials of a study have in common.

    Attributes:
        folder: of the study, where they leave their files.
        horizon: how long they train.
        precision, basis: see `Trial`.
        checkpoints: they leave their weights, see `finals.checkpoints`.
    """

    folder: StudyFolder
    horizon: Horizon
    precision: str
    basis: str
    checkpoints: bool

    def make(self, number: int, config: Mapping[str, Value]) -> Trial:
        """The trial with that number; its seed comes from the study's seed and the number alone."""
        space = self.horizon.space
        seed = mix(space.search.seed, "trial", number)
        # What a trial ends with may be worse than its best: that is kept. A lane file does not hold it.
        keep_best = self.checkpoints and self.horizon.open
        return replace(
            self.horizon.trial(number, config, seed, self.precision, self.basis),
            save_to=str(self.folder.checkpoint(number).absolute()) if self.checkpoints else None,
            # for processes whose current folder is another
            lane_file=None if keep_best else str(self.folder.lane(number).absolute()),
            save_at=self.horizon.rungs(config),
            keep_best=keep_best,
            output=self.folder.output_of(space.method, f"trial_{number}"),
        )
