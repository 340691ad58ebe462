"""What a story knows of a study, kept beside the study's own files."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from story_files import APPENDED, Trial, whole


@dataclass
class Known:
    """
    Attributes:
        root: its folder, now.
        data: the file of its dataset, now.
        appended: the append-only files as they were after the last command.
        trials: those that had an end then, by number.
        looks: which configurations have been scored on the test split, by the story's own count.
        exact: everything was trained one run at a time, so that it can be made again to the bit.
        old: trials that another version trained.
        current: the last search ended in order, so that `trials.csv` and the report tell of now.
        bench: it is a part of one, which alone may go on with it.
        retrained: folders that `avtune retrain` made.
        result: `metrics.json` as it was after the last command but for its count of looks; empty where there was none.
    """

    root: Path
    data: Path
    appended: dict[str, bytes] = field(default_factory=dict)
    trials: dict[int, Trial] = field(default_factory=dict)
    looks: set[str] = field(default_factory=set)
    exact: bool = True
    old: frozenset[int] = frozenset()
    current: bool = False
    bench: bool = False
    retrained: list[Path] = field(default_factory=list)
    result: str = ""

    @property
    def exists(self) -> bool:
        return (self.root / "study.yaml").is_file()

    @property
    def finished(self) -> bool:
        return (self.root / "final" / "metrics.json").is_file()

    @property
    def metrics(self) -> str:
        """`metrics.json` without its count of looks, which grows; empty where there is none."""
        if not self.finished:
            return ""
        facts = json.loads((self.root / "final" / "metrics.json").read_text())
        return json.dumps([item for item in facts.items() if item[0] not in ("times_test_was_scored", "sha256")])

    def remember(self, trials: list[Trial]) -> None:
        """Takes the state of now for the one that must not be lost."""
        self.appended = {name: whole(self.root / name) for name in APPENDED}
        self.trials = {one.number: one for one in trials if one.state != "RUNNING"}
        self.result = self.metrics

    def lost(self) -> Iterator[str]:
        """What was there after the last command and is not any more."""
        for name, before in self.appended.items():
            if not whole(self.root / name).startswith(before):
                yield f"{name}: lines of before have changed or gone"


def look(config: Mapping[str, Any], epochs: int, seeds: int, protocol: str) -> str:
    """Names a look at the test split: the same configuration, trained the same way."""
    return json.dumps([sorted(config.items()), epochs, seeds, protocol])
