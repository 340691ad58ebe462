"""What is said of a dataset: its sizes and ranges, and what is wrong with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from avtune.report.text import table


def data_lines(facts: Mapping[str, Any]) -> list[str]:
    """What `data info` prints of `data.info.describe`."""
    ranges = [
        [name.replace("_", " "), *(f"{value[key]:.3f}" for key in ("min", "max", "mean", "std"))]
        for name, value in facts["ranges"].items()
    ]
    first, second = facts["views"]
    several = f" ({facts['labels_per_clip']:.3g} labels a clip)" if "labels_per_clip" in facts else ""
    return [
        f"{facts['name']}: {facts['num_train']} training and {facts['num_test']} test clips, "
        f"{facts['num_classes']} classes{several}, {first} {facts['audio_dim']}-d, {second} {facts['visual_dim']}-d",
        *_parts(facts),
        f"source  {facts['source']}",
        f"digest  {facts['digest']}",
        "",
        *table(
            ["class", "train", "test"], [[row["name"], str(row["train"]), str(row["test"])] for row in facts["classes"]]
        ),
        "",
        *table(["view", "min", "max", "mean", "std"], ranges),
        "",
        *(problem_lines(facts["problems"]) or ["no problems found"]),
        *(f"note: {note}" for note in facts["notes"]),
    ]


def _parts(facts: Mapping[str, Any]) -> list[str]:
    """The validation split that the publisher gives, and groups."""
    held, groups = facts["num_validation"], facts["num_groups"]
    lines = [f"of the training clips, {held} are set aside for validation"] if held else []
    return lines + ([f"the training clips are of {groups} groups"] if groups is not None else [])


def problem_lines(problems: Sequence[str]) -> list[str]:
    """What touches the test score, see `data.findings`."""
    return [f"problem: {problem}" for problem in problems]
