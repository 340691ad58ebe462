"""Ends a search now: the verb `finish`. One that is interrupted gets its finals; one that runs is asked to end."""

from __future__ import annotations

from dataclasses import dataclass

from avtune.core.errors import UserError
from avtune.data.dataset import Dataset
from avtune.study.curves import EpochLine, read_curves
from avtune.study.folder import StudyFolder
from avtune.study.watch import StudyWatch
from avtune.workflows.choose_runner import placement_request
from avtune.workflows.continuing import check_method_of
from avtune.workflows.end_early import ask_to_end
from avtune.workflows.open_study import open_space
from avtune.workflows.options import DeviceOptions
from avtune.workflows.search_plan import Request


@dataclass(frozen=True)
class Asked:
    """A search that runs in another process was asked to end.

    Attributes:
        owner: the process.
        deterministic: trials that are running train to their ends.
        over: its last trial had ended before.
        finished: so had its finals.
    """

    owner: str
    deterministic: bool
    over: bool = False
    finished: bool = False

    @property
    def text(self) -> str:
        """What happens now, in words."""
        if self.finished:
            return f"the study is finished, {self.owner} is about to end: there is nothing to end"
        if self.over:
            return f"the search of {self.owner} is over, and its finals are under way: there is nothing to end"
        running = (
            "trials that are running train to their ends, as the study is deterministic"
            if self.deterministic
            else "trials that are running end with their next epoch"
        )
        return f"asked {self.owner} to end its search: no further trial is suggested, {running}, and the finals follow"


def ask(folder: StudyFolder) -> Asked | None:
    """Asks the process that works on a study to end its search; None where none does.

    Raises:
        UserError: the study is part of a bench, or a process does something else with it, e.g. retrains a trial.
    """
    _check_alone(folder)
    while (owner := _searching(folder)) is not None:
        watch = StudyWatch(folder, lambda method: None)
        ended = sum(record.state != "RUNNING" for record in watch.records)
        deterministic = bool(watch.settings["deterministic"])
        if watch.records and ended == watch.trials:
            return Asked(owner, deterministic, over=True, finished=folder.metrics.is_file())
        if ask_to_end(folder, owner):
            return Asked(owner, deterministic)
    return None


def _searching(folder: StudyFolder) -> str | None:
    """The process that searches; None where nobody works on the study.

    Raises:
        UserError: somebody does, who does not search, or who does so elsewhere and would not see the request.
    """
    holder = folder.holder()
    if holder is not None and not holder.searches:
        raise UserError(
            f"{folder.root} has no search to end: {holder.text}\nwhen that has ended, the same command ends the search"
        )
    if holder is None and (owner := folder.owner()) is not None:
        raise UserError(
            f"{folder.root} is a copy of a study that another avtune works on ({owner}); end its search there"
        )
    return None if holder is None else holder.owner


def request_for(
    folder: StudyFolder, dataset: Dataset, options: DeviceOptions, code: str | None, runner: str | None
) -> Request:
    """The request to continue a study with its finals.

    Args:
        dataset: of the study.
        code: the method or training function of the user's own that the study is of, registered already.

    Raises:
        UserError: no trial of the study has trained an epoch, or it is of code that is not named.
    """
    _check_alone(folder)
    check_method_of(folder, code)
    settings = folder.settings()
    lines, _ = read_curves(folder.curves, repair=False)
    if not any(isinstance(line, EpochLine) for line in lines):
        raise UserError(f"no trial of {folder.root} has trained an epoch: there is nothing to finish; search goes on")
    return Request(
        dataset=dataset,
        spec=str(settings["dataset"].get("spec", dataset.name)),
        space=open_space(folder, method=code),
        folder=folder,
        placement=placement_request(options.at(folder.root.absolute().parent)),
        runner=runner,
        overrides=list(settings.get("overrides", [])),
        finish=True,
    )


def _check_alone(folder: StudyFolder) -> None:
    if (folder.root.resolve().parent / "bench.yaml").is_file():
        raise UserError(f"{folder.root} is part of a bench, which gives every method the same number of trials")
