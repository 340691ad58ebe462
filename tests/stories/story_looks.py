"""The story's own count of the configurations that have been scored on the test split."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from story_files import lines_of, settings_of
from story_known import Known, look

from avtune.engine.model import Model
from avtune.study.folder import StudyFolder
from avtune.workflows.open_study import open_space


def after_search(known: Known) -> Iterator[str]:
    """What is wrong with the count after a search, however it ended."""
    if not known.exists:
        return
    best_yaml = known.root / "best.yaml"
    count = len(lines_of(known.root / "scored.jsonl"))
    shown_again = known.old and known.metrics == known.result
    if best_yaml.is_file() and not shown_again and (known.finished or count > len(known.looks)):
        best, settings = yaml.safe_load(best_yaml.read_text()), settings_of(known.root)
        protocol = settings.get("protocol", "validation")
        this = look(best["config"], best["retrain_epochs"], settings["space"]["final"]["seeds"], protocol)
        yield from _of_reference(known, settings)
        yield from _of_default(known, settings, protocol)
        alone = not known.finished and count == len(
            known.looks
        )  # a kill came between the reference's look and this one
        if not alone:
            if count > len(known.looks) and this in known.looks:
                yield f"scored.jsonl counts trial {best['trial']} again"
            known.looks.add(this)
    yield from counted(known)
    yield from _told(known, now=known.current)


def _of_reference(known: Known, settings: Mapping[str, Any]) -> Iterator[str]:
    """Counts the looks by the reference row, whose number of epochs only the study knows before it is finished."""
    name = settings["space"]["final"].get("reference", "classifiers")
    there = [line["what"] for line in lines_of(known.root / "scored.jsonl") if name in line["what"]]
    known.looks |= {json.dumps(["reference", what]) for what in there}
    if known.finished and name not in ("none", settings["space"]["method"]):
        metrics = json.loads((known.root / "final" / "metrics.json").read_text())
        wanted = metrics["reference"]["epochs"], len(metrics["seeds"])
        if settings.get("protocol") != "published" and wanted not in [(what[1], len(what[-1])) for what in there]:
            yield f"scored.jsonl does not count the reference {name}"


def _of_default(known: Known, settings: Mapping[str, Any], protocol: str) -> Iterator[str]:
    """Counts the looks by the default configuration, which the finals retrain beside a winner that is another."""
    seeds, extra = settings["space"]["final"]["seeds"], 3 if protocol == "validation" else 4
    config = [list(item) for item in sorted(open_space(StudyFolder(known.root)).defaults().items())]
    lines = [line["what"] for line in lines_of(known.root / "scored.jsonl")]
    there = [what for what in lines if what[0] == config and len(what) == extra and len(what[-1]) == seeds]
    known.looks |= {look(dict(what[0]), what[1], seeds, protocol) for what in there}
    if known.finished:
        metrics = json.loads((known.root / "final" / "metrics.json").read_text())
        if "default" in metrics and metrics["default"].get("epochs") not in (None, *(what[1] for what in there)):
            yield "scored.jsonl does not count the default configuration"


def after_retrain(known: Known, config: Mapping[str, Any], epochs: int, seeds: int, out: Path) -> Iterator[str]:
    """What is wrong with the count after a trial was retrained by hand, or was about to be."""
    count = len(lines_of(known.root / "scored.jsonl"))
    this = look(config, epochs, seeds, "validation")
    if out.exists() or count > len(known.looks):
        if count > len(known.looks) and this in known.looks:
            yield "scored.jsonl counts a retrained trial again"
        known.looks.add(this)
    yield from counted(known)


def after_evaluate(known: Known, checkpoint: Model | None, *, in_order: bool) -> Iterator[str]:
    """What is wrong with the count after a model of a study was scored on its test split.

    Args:
        checkpoint: the model where it is one of a trial; those of `final/` and of retrained trials have been counted.
        in_order: the command ended with exit code 0.
    """
    count = len(lines_of(known.root / "scored.jsonl"))
    if checkpoint is not None and (in_order or count > len(known.looks)):
        about = checkpoint.about
        known.looks.add(look(checkpoint.config, checkpoint.trained.epochs, about["seed"], "as the search left it"))
    yield from counted(known)
    yield from _told(known, now=in_order)


def _told(known: Known, *, now: bool) -> Iterator[str]:
    """Whether `metrics.json` and the card tell the count. `now`: a command that brings them up to it ended in order."""
    if not known.finished:
        return
    count = len(lines_of(known.root / "scored.jsonl"))
    told = json.loads((known.root / "final" / "metrics.json").read_text())["times_test_was_scored"]
    if told > count or (now and told != count):
        yield f"metrics.json counts {told} looks, scored.jsonl {count}"
    card = (known.root / "final" / "MODEL_CARD.md").read_text()
    if now and f"| scored on the test split so far | {count} " not in card:
        yield f"the model card does not tell of {count} looks"


def counted(known: Known) -> Iterator[str]:
    """Whether `scored.jsonl` has as many lines as the story has counted looks."""
    count = len(lines_of(known.root / "scored.jsonl"))
    if count != len(known.looks):
        yield f"scored.jsonl counts {count} configurations, {len(known.looks)} have been scored on the test split"
