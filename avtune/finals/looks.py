"""Looks at a study's test split: every configuration that was scored on it counts once, whichever command did it."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from avtune.core.files import append_line, read_lines, read_yaml, write_text
from avtune.core.schema import fitting
from avtune.engine.model import CONFIG, Model
from avtune.study.folder import StudyFolder
from avtune.study.results import read_results, write_times_scored

_CARD_ROW = re.compile(r"^\| scored on the test split so far \| \d+ ", re.MULTILINE)


def study_mark(folder: StudyFolder) -> str:
    """What the models of a study name it by, wherever it is moved to: a digest of how it began and of its dataset."""
    began = folder.environment_json.read_bytes() if folder.environment_json.is_file() else b""
    return hashlib.sha256(began + str(folder.settings()["dataset"]["digest"]).encode()).hexdigest()[:16]


def count_configuration(
    folder: StudyFolder, trial: int | None, config: Mapping[str, Any], way: Sequence[Any], seeds: Sequence[int]
) -> int:
    """Notes in `scored.jsonl` that a configuration is scored on the test split. The same one trained the same way again
    gives the same score and does not count again.

    Args:
        folder: of the study.
        trial: the number of the configuration's trial; None for a default configuration that was no trial.
        config: its hyper-parameters, complete.
        way: how it was trained: the epochs, and what else is not usual.
        seeds: that it was trained with.

    Returns:
        How many configurations of the study have been scored on its test split.
    """
    facts = json.loads(json.dumps([sorted(config.items()), *way, list(seeds)]))
    if facts not in _known(folder):
        append_line(folder.scored, {"trial": trial, "what": facts}, sync=True)
    return len(_known(folder))


def _known(folder: StudyFolder, *, repair: bool = True) -> list[Any]:
    lines, _ = read_lines(folder.scored, repair=repair)
    return [fitting(line, {"what": []}, folder.scored)["what"] for line in lines]


def study_of(model: Model, place: Path, results: Path) -> StudyFolder | None:
    """The study that a model comes from.

    Args:
        model: as it was loaded.
        place: its folder. A study in whose folder this lies is looked at first.
        results: the folder of studies and benches, which are searched for the study that the model names.

    Returns:
        None where there is no such study.
    """
    mark = model.about.get("study")
    above = [place.resolve(), *place.resolve().parents]
    below = sorted(results.iterdir()) if results.is_dir() else []
    nested = [path for one in below if (one / "bench.yaml").is_file() for path in sorted(one.iterdir())]
    for path in (*above, *below, *nested):
        folder = StudyFolder(path)
        if folder.exists and (path in above if mark is None else study_mark(folder) == mark):
            return folder
    return None


def is_new_look(folder: StudyFolder, model: Model) -> bool:
    """Whether a model of a study has not been scored on its test split: neither as the winner nor by another look."""
    about, config = model.about, folder.final / CONFIG
    winner = read_yaml(config) if config.is_file() else {}
    if about.get("run") is not None and winner.get("about", {}).get("run") == about["run"]:
        return False
    wanted = json.loads(json.dumps([sorted(model.config.items()), *_way(model)]))
    # Of a retraining over several seeds, the first of which left this model.
    return not any(what[:-1] == wanted and about.get("seed") in what[-1] for what in _known(folder, repair=False))


def count_look(folder: StudyFolder, model: Model) -> int:
    """Counts a new look at the test split by a model of a study, which the caller holds; how many there have been."""
    about = model.about
    return count_configuration(folder, about.get("trial"), model.config, _way(model), [about.get("seed", -1)])


def _way(model: Model) -> list[Any]:
    return [model.trained.epochs, *([model.about["trained_on"]] if "trained_on" in model.about else [])]


def is_behind(folder: StudyFolder) -> bool:
    """Whether the study's `metrics.json` tells fewer looks than `scored.jsonl` holds: a command was killed after it had
    noted one."""
    results = read_results(folder)
    return results is not None and results.times_test_was_scored < len(_known(folder, repair=False))


def show_count(folder: StudyFolder) -> bool:
    """Brings the study's `metrics.json` and model card up to what `scored.jsonl` says; whether there was a need. The
    report is the caller's, and so is the lock."""
    results, count = read_results(folder), len(_known(folder))
    if results is None or results.times_test_was_scored == count:
        return False
    if folder.model_card.is_file():
        card = folder.model_card.read_text(encoding="utf-8")
        write_text(folder.model_card, _CARD_ROW.sub(f"| scored on the test split so far | {count} ", card))
    write_times_scored(folder, count)
    return True


def lost(model: Model, results: Path) -> str:
    """What to say where the study of a model is not found."""
    name = f"study {model.about['study']}" if "study" in model.about else "no study"
    return (
        f"this look at the test split could not be counted: the model names {name}, and none in {results} or around it "
        "fits; say so when you publish"
    )
