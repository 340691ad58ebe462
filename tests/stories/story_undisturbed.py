"""What a deterministic study comes to when nothing happens to it, and where another one differs from that."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from story_files import settings_of, trials_of
from story_known import Known
from story_tell import Story


def compare(story: Story, known: Known) -> None:
    """Runs a study with the final settings of this one from its beginning, and compares both."""
    settings, folder = settings_of(known.root), story.world.folder
    count = sum(story.commands.values())
    (folder / f"final-{count}.yaml").write_text(yaml.safe_dump(settings["space"], sort_keys=False))
    words = ["search", known.data.name, "--space", f"final-{count}.yaml", "--name", f"calm-{count}"]
    words += ["--results", "undisturbed", "--runner", "inline", "--gpus", "0", "--deterministic"]
    words += ["--precision", settings["precision"], "--protocol", settings["protocol"]]
    if "policy" not in settings["space"]["final"]:  # begun with too few seeds for a race, which it keeps to
        words += ["--finals", "full"]
    if story.command(words).code == 0:
        story.actions["compared with an undisturbed study"] += 1
        for text in _differences(known.root, folder / "undisturbed" / f"calm-{count}"):
            story.problem(f"{known.root.name}: not the undisturbed study: {text}")


def _differences(root: Path, calm: Path) -> Iterator[str]:
    """Trials and finalists must be the same. A study that had finalists before it was extended keeps them: where that
    made no difference, the winner and its scores are the same too."""
    mine, theirs = trials_of(root), trials_of(calm)
    for one, other in zip(mine, theirs, strict=False):
        facts = [(trial.config, trial.values, trial.state) for trial in (one, other)]
        if facts[0] != facts[1]:
            yield f"trial {one.number} is {facts[0]}, there {facts[1]}"
    if len(mine) != len(theirs):
        yield f"{len(mine)} trials, there {len(theirs)}"
        return
    best, calm_best = (yaml.safe_load((place / "best.yaml").read_text()) for place in (root, calm))
    rows, calm_rows = (_finalists(one) for one in (best, calm_best))
    for name, row in calm_rows.items():
        if name not in rows:
            yield f"{name} is no finalist"
        elif rows[name] != row:
            yield f"finalist {name} is {rows[name]}, there {row}"
    if rows.keys() == calm_rows.keys() and best != calm_best:
        yield f"best.yaml is {best}, there {calm_best}"
    if best["trial"] == calm_best["trial"]:
        scores, calm_scores = (_scores(place) for place in (root, calm))
        for key, value in calm_scores.items():
            if scores.get(key) != value:
                yield f"metrics.json: {key} is {scores.get(key)}, there {value}"


def _finalists(best: dict[str, Any]) -> dict[Any, Any]:
    return {row["trial"]: row for row in best["finalists"]}


def _scores(root: Path) -> dict[str, Any]:
    metrics = json.loads((root / "final" / "metrics.json").read_text())
    kept = ("epochs", "seeds", "test", "untrained", "validation", "default", "default_is_winner")
    return {key: metrics[key] for key in kept if key in metrics}
