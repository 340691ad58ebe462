"""What must hold of a study after every command, however it ended: the search, its files and its models."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from story_files import Damaged, Trial, half_written, rows_of, settings_of, trials_of
from story_known import Known
from story_remake import Remake, same_weights
from story_results import result_problems

from avtune.core.errors import UserError
from avtune.core.seeds import mix
from avtune.engine.model import load_model
from avtune.study.horizon import Horizon

APART = 1e-3
"""How far a validation MAP may be from that of the same run alone, where lanes trained it."""


def study_problems(known: Known, maker: Remake, *, in_order: bool) -> list[str]:
    """What is wrong with a study; it is remembered as it is.

    Args:
        in_order: the last command on it ended with exit code 0.
    """
    if not known.exists:
        return ["the study has gone"] if known.appended else []
    if torn_files := list(half_written(known.root)):
        return torn_files
    try:
        trials = trials_of(known.root)
        settings = settings_of(known.root)
    except (Damaged, ValueError) as error:
        return [f"damaged: {error}"]
    horizon = maker.horizon(known.root, settings)
    found = [
        *known.lost(),
        *_trial_problems(known, trials, settings),
        *_remade_problems(known, maker, horizon, trials, settings),
        *_csv_problems(known, horizon, trials, settings),
        *_model_problems(known, maker, horizon, settings),
        *result_problems(known, maker, horizon, trials, settings),
        *(_left_over(known) if in_order else ()),
    ]
    known.remember(trials)
    return found


def config_of(trial: Trial, settings: Mapping[str, Any]) -> dict[str, Any]:
    """A trial's whole configuration."""
    space = settings["space"]["space"]
    return {**trial.config, **{name: value for name, value in space.items() if name not in trial.config}}


def _trial_problems(known: Known, trials: list[Trial], settings: Mapping[str, Any]) -> Iterator[str]:
    grown = "schedule" in settings["space"]["early_stopping"]
    if len(trials) > settings["space"]["search"]["trials"]:
        yield f"{len(trials)} trials of {settings['space']['search']['trials']}"
    for number, before in known.trials.items():
        if number >= len(trials):
            yield f"trial {number} is lost"
            continue
        now = trials[number]
        again = before.state == "FAIL" and now.state != "FAIL"
        longer = grown and before.state == "COMPLETE" and now.values[: len(before.values)] == before.values
        if not (again or longer or (now.state, now.values) == (before.state, before.values)):
            yield f"trial {number} was {before.state} {before.values} and is {now.state} {now.values}"
    for one in trials:
        if one.told not in ("RUNNING", one.state) and not (grown and one.told == "COMPLETE"):
            yield f"trial {one.number} is {one.state}, and the sampler was told {one.told}"


def _remade_problems(
    known: Known, maker: Remake, horizon: Horizon, trials: list[Trial], settings: Mapping[str, Any]
) -> Iterator[str]:
    """Trials whose values are not what their configuration and seed give."""
    for one in trials:
        if not one.values or one.number in known.old:
            continue
        seed = mix(settings["space"]["search"]["seed"], "trial", one.number)
        config = config_of(one, settings)
        again = maker.curve(settings, horizon, config, seed, len(one.values), settings["precision"])
        if not same_values(one.values, again, exact=known.exact):
            yield f"trial {one.number} has {one.values}; trained again it has {again}"


def same_values(some: list[float], others: list[float], *, exact: bool) -> bool:
    if exact or len(some) != len(others):
        return some == others
    return all(math.isclose(a, b, abs_tol=APART) for a, b in zip(some, others, strict=True))


def _csv_problems(known: Known, horizon: Horizon, trials: list[Trial], settings: Mapping[str, Any]) -> Iterator[str]:
    rows = rows_of(known.root)
    if known.current and len(rows) != len(trials):
        yield f"trials.csv has {len(rows)} rows for {len(trials)} trials"
    for place, row in enumerate(rows):
        if row["trial"] != str(place) or place >= len(trials):
            yield f"trials.csv has trial {row['trial']} in row {place}, of {len(trials)} trials"
            return
        one = trials[place]
        said = {"state": one.state, "epochs": str(len(one.values)), "best_epoch": str(one.best_epoch or "")}
        said["val_map"] = "" if one.best is None else f"{one.best:.6f}"
        said |= {name: str(value) for name, value in config_of(one, settings).items()}
        wrong = {name: (row.get(name), value) for name, value in said.items() if row.get(name) != value}
        if one.state == "COMPLETE" and not horizon.open and len(one.values) < horizon.epochs(config_of(one, settings)):
            wrong.pop("state", None)  # it was given more epochs, and has not gone on yet
        if known.current and wrong:
            yield f"trials.csv, trial {place}: {wrong}"
        if known.current and abs(float(row["seconds"]) - sum(one.seconds)) > 2e-3:
            yield f"trials.csv, trial {place}: {row['seconds']} seconds, the curves have {sum(one.seconds):.3f}"


def _model_problems(known: Known, maker: Remake, horizon: Horizon, settings: Mapping[str, Any]) -> Iterator[str]:
    """Folders of models that can be loaded and are not what they say: weights of another run."""
    places = [known.root / "final", *(known.root / "checkpoints").glob("trial_*"), *known.retrained]
    for folder in places:
        if (folder / "config.yaml").is_file() and (folder / "model.safetensors").is_file():
            yield from _of_model(known, folder, maker, horizon, settings)


def _of_model(
    known: Known, folder: Path, maker: Remake, horizon: Horizon, settings: Mapping[str, Any]
) -> Iterator[str]:
    name = folder.relative_to(known.root)
    try:
        model = load_model(folder)
    except UserError:
        if known.finished or name.parts[0] != "final":  # else half of it is new: refused, as it should be
            yield f"{name} cannot be loaded"
        return
    about, epochs = model.about, model.trained.epochs
    if known.old and "run" not in about:
        return  # of the version that made the study
    if name.parts[0] == "checkpoints":
        if about["trial"] in known.old:
            return
        again = maker.checkpoint(settings, horizon, about, model.config, epochs)
    else:
        again = maker.retrained(settings, horizon, model.config, about["seed"], epochs)
        if not maker.scaled_alike(model):
            yield f"{name} has the scalers of other rows"
    if not same_weights(again, model.trained, exact=known.exact):
        yield f"{name} has other weights than its configuration, seed and epochs give"


def _left_over(known: Known) -> Iterator[str]:
    for path in known.root.rglob(".*"):
        yield f"{path.relative_to(known.root)} is left over"
    for name in ("lanes", "final/seeds") if known.finished else ():
        if (known.root / name).exists():
            yield f"{name} is left over"
