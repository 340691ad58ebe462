"""How far a study is, read without disturbing a search that is running."""

from __future__ import annotations

import re
import shlex
from array import array
from typing import NotRequired, TypedDict

from avtune.core.object_store import is_url
from avtune.core.objective import MAP
from avtune.study.curve import Curve
from avtune.study.curves import AgainLine, EpochLine, read_curves
from avtune.study.folder import StudyFolder
from avtune.study.horizon import Horizon

_CLUSTER = re.compile(r" of the cluster at (\S+?)(?:: |, |$)")  # in `Placement.text`


def command_to_continue(folder: StudyFolder, *more: str, name: str | None = None) -> str:
    """The command line that continues a study, from wherever it was given.

    Args:
        more: further words.
        name: of another study, which it begins; None for this one.
    """
    settings = folder.settings()
    words = ["avtune", "search", str(settings["dataset"].get("spec", "DATASET"))]
    words += ["--name", name or folder.root.name, "--results", folder.results]
    if code := settings.get("code"):
        words += [code["option"], settings["space"]["method"]]
    return shlex.join([*words, *more])


def way_to_continue(folder: StudyFolder, *more: str) -> str:
    """The command that continues a study where it ran: of one that was a job of SLURM, the submission of its script. Of
    a copy from a bucket it is not known which of both it was.

    Args:
        more: further words, which the script of a job does not have: it is submitted anew; REQUEST stands for what is
            asked for.
    """
    script = folder.root.parent.absolute() / "slurm" / f"{folder.root.name}.sh"
    cluster = _CLUSTER.search(folder.settings().get("placement", ""))
    if cluster is None or is_url(folder.results):
        return command_to_continue(folder, *more)
    if script.is_file() and more:
        return command_to_continue(folder, *more, "--slurm", "REQUEST")
    if script.is_file():
        return shlex.join(["sbatch", str(script)])
    return command_to_continue(folder, "--cluster", cluster[1], *more)


def longer_command(folder: StudyFolder, horizon: Horizon) -> str:
    """The command line that continues a study with three times the epochs, or the steps, that its trials had. A
    training function, whose schedule is its own, is searched anew; FILE stands for its space."""
    stopping = horizon.space.early_stopping
    if isinstance(stopping.epochs, int):
        epochs = str(3 * stopping.epochs)
        if folder.settings().get("code", {}).get("option") == "--train":
            return command_to_continue(
                folder, "--space", "FILE", "--epochs", epochs, name=f"{folder.root.name}-{epochs}"
            )
        return command_to_continue(folder, "--epochs", epochs)
    return command_to_continue(folder, "--set", f"early_stopping.steps={3 * stopping.steps}")


class BestSoFar(TypedDict):
    """The trial with the highest validation MAP, and its best epoch; `val_objective` where the study maximises another
    score."""

    trial: int
    epoch: int | None
    val_map: NotRequired[float]
    val_objective: NotRequired[float]


class Status(TypedDict):
    """How far a study is, as `--status --json` prints it.

    Attributes:
        study, dataset, method: names.
        trials: how many are asked for.
        states: how many there are of each state.
        epochs, seconds: that count, the latter on devices: as the table, the report and `trials.csv` have them.
        epochs_trained, seconds_trained: with those that were taken back: of trials that failed and were trained again,
            and past the rungs that stopped a trial in deterministic mode.
        best: None before the first epoch.
        objective: what is maximised, where that is not MAP.
    """

    study: str
    dataset: str
    method: str
    trials: int
    states: dict[str, int]
    epochs: int
    seconds: float
    epochs_trained: int
    seconds_trained: float
    best: BestSoFar | None
    objective: NotRequired[str]


def read_status(folder: StudyFolder) -> Status:
    """What the study's files say.

    Raises:
        UserError: a file is damaged.
    """
    settings = folder.settings()
    lines, _ = read_curves(folder.curves, repair=False)
    states: dict[int, str] = {}
    values: dict[int, Curve] = {}
    seconds: dict[int, array[float]] = {}  # of each epoch
    trained = array("d")
    for line in lines:
        trial = line.trial
        curve, spent = values.setdefault(trial, Curve()), seconds.setdefault(trial, array("d"))
        if isinstance(line, EpochLine):
            states[trial] = "RUNNING"
            curve.add(line.epoch, line.value)
            spent.append(line.seconds)
            trained.append(line.seconds)
        else:
            states[trial], kept = ("RUNNING", 0) if isinstance(line, AgainLine) else (line.state, line.epochs)
            curve.cut(kept)
            del spent[kept:]
    counted = [(curve.best_until(curve.last), -trial) for trial, curve in values.items() if states[trial] != "FAIL"]
    best = max(((value, trial) for value, trial in counted if value is not None), default=None)
    objective = settings["space"]["search"].get("objective", MAP.text)
    status: Status = {
        "study": folder.root.name,
        "dataset": settings["dataset"]["name"],
        "method": settings["space"]["method"],
        "trials": settings["space"]["search"]["trials"],
        "states": {state: list(states.values()).count(state) for state in ("COMPLETE", "PRUNED", "FAIL", "RUNNING")},
        "epochs": sum(curve.last for curve in values.values()),
        "seconds": round(sum(map(sum, seconds.values())), 3),
        "epochs_trained": len(trained),
        "seconds_trained": round(sum(trained), 3),
        "best": best and _best(-best[1], values[-best[1]].best_epoch, best[0], objective),
    }
    return status if objective == MAP.text else {**status, "objective": objective}


def _best(trial: int, epoch: int | None, value: float, objective: str) -> BestSoFar:
    if objective == MAP.text:
        return {"trial": trial, "epoch": epoch, "val_map": value}
    return {"trial": trial, "epoch": epoch, "val_objective": value}
