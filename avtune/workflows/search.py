"""The whole search: resolve what was asked for, run the trials, conclude with finals and report."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Any

from avtune.core.environment import environment
from avtune.core.errors import UserError
from avtune.core.files import using
from avtune.core.objective import objective
from avtune.core.words import plural
from avtune.data.findings import examine
from avtune.data.prepare import Prepared, for_search
from avtune.data.reading import on_disk_notes
from avtune.finals.checkpoints import Checkpoints
from avtune.finals.finish import FinalsRun, finish
from avtune.finals.looks import show_count
from avtune.finals.run_record import failed_runs
from avtune.report.board import BoardListener
from avtune.report.card import model_card
from avtune.report.tensorboard import StudyBoard
from avtune.report.winner_board import clear_finals, is_written
from avtune.runners._base import Run
from avtune.space.space import Space
from avtune.study.ending import Stopped
from avtune.study.folder import StudyFolder, like_of
from avtune.study.limits import limits
from avtune.study.results import Results, read_results
from avtune.study.study import Study
from avtune.workflows.choose_runner import data_bytes
from avtune.workflows.continuing import code_notes, keep_note, moves, record_changes, size_note, start_notes
from avtune.workflows.end_early import EndEarly, clear_request, drop_request, record_end
from avtune.workflows.listening import Concluded, Planned, SearchListener, Silent
from avtune.workflows.open_study import basis_of, horizon_of
from avtune.workflows.portfolio import uses_portfolio
from avtune.workflows.repeat import forget_repeats
from avtune.workflows.search_plan import Plan, Request, resolve
from avtune.workflows.tracking import Trackers
from avtune.workflows.validation_rows import check_rows, many_rows_notes
from avtune.workflows.winner_board import write_finals
from avtune.workflows.write_report import ReportListener, write_report


def search(request: Request, listener: SearchListener) -> Results:
    """Runs a search to its end, or continues it; a finished one is shown again.

    A study that is continued keeps its runner, its precision and its mode where the request names none.

    Returns:
        What `final/metrics.json` holds.

    Raises:
        UserError: something the user gave is wrong; a new study leaves no folder behind then.
        StorageError: a file cannot be written; the study stays as it was.
        NoWinner: every trial failed.
    """
    if request.time is not None:
        request.time.begin()
    plan = resolve(request)
    listener.begins(plan.space)
    trackers = Trackers(request.track, plan.folder, listener.tracking)
    with _Lock(plan.folder) as lock, trackers, _Runner(plan) as runner:
        if not plan.folder.metrics.is_file():  # a finished study is shown again without
            runner.start()
        # While the runner's processes start; before there is a folder, which a bad split leaves not.
        folds = _split(plan, plan.space)
        settings = {**plan.settings, "rows": min(fold.rows for fold in folds)}
        check_rows(plan.folder.root, plan.before, settings["rows"])
        if not plan.folder.exists:
            plan.folder.create(settings, environment())
            lock.take()
        trackers.start()
        opened = _Opened(plan, settings, listener)
        with _closed(opened):
            opened.tell_plan()
            if opened.is_finished:
                opened.tidy()
            else:
                record_changes(plan.folder, opened.settings, moves(plan.before, opened.settings))
                run(opened, runner.run, folds)
                runner.close()
            kept = opened.checkpoints.publish(opened.study, request.dataset)
        budget = request.time
        return conclude(opened.study, kept, listener, "" if budget is None else budget.report(opened.study))


def mend(request: Request) -> bool:
    """Brings the files of a finished study to what `search` leaves of it, where a kill near its end left something
    undone: the report, the count of looks, files of `--keep`, what was half written. Trains and scores nothing.

    A study that another process works on, or whose folder may not be written to, is left as it is.

    Args:
        request: asks for the study as it is, without changes.

    Returns:
        Whether the study is finished. If not, `search` goes on with it.

    Raises:
        UserError: a file of the study is damaged.
    """
    folder = request.folder
    if not (folder.exists and folder.metrics.is_file()):
        return False
    if folder.owner() is not None or not folder.may_be_written:
        return True
    plan = resolve(request)
    if plan.changes:
        return False
    with folder.locked("putting its files in order"):
        opened = _Opened(plan, {**plan.settings, "rows": plan.before.get("rows", 0)}, Silent())
        finished = opened.is_finished
        with _closed(opened):
            if finished:
                opened.tidy()
                opened.checkpoints.publish(opened.study, request.dataset)
        return finished


def run(opened: _Opened, call: Run, folds: Sequence[Prepared]) -> None:
    """Trains the trials that have not ended, then the finals."""
    plan, study = opened.plan, opened.study
    for line in plan.placement.nodes:
        study.note(" ".join(line.split()))
    with opened.listener.training():
        if not study.exhausted:
            study.look_for_end()
        if not study.exhausted:
            call(study, folds)
        study.close()
        if plan.request.time is not None:
            plan.request.time.search_is_over(study, plan.places, str(plan.settings["protocol"]))
        if study.ended_early:
            opened.listener.ended_early(study.ended_early)
        finals = FinalsRun(call, opened.listener.stage, model_card, again=plan.request.retry_failed)
        of_finals = plan.space.of_finals()
        if of_finals != plan.space:
            folds = _split(plan, of_finals)
        finish(study, plan.request.dataset, folds, finals, str(plan.settings["protocol"]))
        write_finals(study, plan.request.dataset)
    clear_request(plan.folder)  # it came during the finals


def conclude(study: Study, kept: Sequence[int], listener: SearchListener, time: str = "") -> Results:
    """Tells what a finished study found, and returns what its `metrics.json` holds.

    Args:
        kept: trials whose weights are there, best first.
        time: what came of `--time`, in words.
    """
    results = read_results(study.folder)
    assert results is not None
    listener.concluded(Concluded(study, results, kept, time))
    return results


def _split(plan: Plan, space: Space) -> tuple[Prepared, ...]:
    """What the trials train and validate on.

    Args:
        space: of the search, or of the finals.

    Raises:
        UserError: the training set cannot be split as the space says.
    """
    validation = space.validation
    return for_search(
        plan.request.dataset,
        fraction=validation.fraction,
        folds=validation.folds,
        given=validation.split is not None,
        equal_rows=validation.equal_rows is not None,
        reshuffle=validation.reshuffle,
        seed=space.search.seed,
        objective=objective(space.search.objective, plan.request.dataset.views),
        settings=plan.request.run is None,  # a bench's rules say how its searches split
    )


class _Lock:
    """Holds a study's folder for this process: at once where it exists, else when it is made."""

    def __init__(self, folder: StudyFolder) -> None:
        self._folder = folder
        self._held = contextlib.ExitStack()

    def take(self) -> None:
        self._held.enter_context(self._folder.locked())

    def __enter__(self) -> _Lock:
        if self._folder.exists:
            self.take()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._held.close()


class _Runner:
    """The runner of a search, started when it is needed; one that serves several searches is the caller's to close."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._run = plan.request.run
        self._held = contextlib.ExitStack()

    def start(self) -> None:
        """Starts its processes, unless they run."""
        if self._run is None:
            size = data_bytes(self._plan.request.dataset, self._plan.space.validation.folds or 1)
            self._run = self._held.enter_context(self._plan.runner(self._plan.placement, size))

    @property
    def run(self) -> Run:
        self.start()
        assert self._run is not None
        return self._run

    def close(self) -> None:
        """Ends the processes that it has started."""
        self._held.close()

    def __enter__(self) -> _Runner:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._held.__exit__(kind, value, trace)


class _Opened:
    """A study whose folder is there and ours, with all that writes into it.

    Args:
        plan: of the search.
        settings: what `study.yaml` is to hold.
        listener: is told of the trials.
    """

    def __init__(self, plan: Plan, settings: dict[str, Any], listener: SearchListener) -> None:
        self.plan, self.settings, self.listener = plan, settings, listener
        folder, space, keep = plan.folder, plan.space, int(settings["keep"])
        self._had = int(plan.before.get("keep", 0))
        folder.clear_torn()
        dropped = drop_request(folder)
        with using(folder.tensorboard):
            self._board = StudyBoard(folder.tensorboard, space)
        shown = BoardListener(self._board, folder.tensorboard)
        self.checkpoints = Checkpoints(folder, keep)
        report = ReportListener()
        self.study = Study(
            folder,
            space,
            deterministic=bool(settings["deterministic"]),
            precision=str(settings["precision"]),
            checkpoints=keep > 0,
            listeners=[listener, shown, self.checkpoints, report],
            noted=listener.noted,
            horizon=horizon_of(space, settings["rows"]),
            basis=basis_of(space, plan.request.dataset),
            finals_basis=basis_of(space.of_finals(), plan.request.dataset),
            start=settings.get("start", ()),
            like=like_of(settings),
            stopped=Stopped.of(settings),
            until=EndEarly(
                folder,
                now=plan.request.finish,
                budget=plan.request.time,
                places=plan.places,
                protocol=str(settings["protocol"]),
                recorded=self._ended,
            ),
            before_writing=lambda study: self._record(plan.changes, self._had),
        )
        report.study = self.study
        shown.known(folder, self.study.records)
        retried = self._retry_failed() if plan.request.retry_failed else []
        self.checkpoints.known(self.study)
        note = keep_note(self.study, keep, self._had) if plan.before else None
        self._notes = [*([note] if note else []), *([dropped] if dropped and not self.is_finished else [])]
        if self.study.exhausted:
            settings["keep"] = min(keep, self._had)
        self._record(retried, int(settings["keep"]))
        self._changes = [*plan.changes, *retried]

    def _record(self, changes: Sequence[str], keep: int) -> None:
        """Keeps what has changed, before a line is written that holds only with it: e.g. that a rung of more epochs
        stops a trial."""
        folder = self.plan.folder
        if changes:  # the result of before is not the result of this
            with using(folder.metrics):
                folder.metrics.unlink(missing_ok=True)
                clear_finals(folder.tensorboard)
                forget_repeats(folder)
            record_changes(folder, {**self.settings, "keep": keep}, changes)

    def _ended(self, stopped: Stopped) -> None:
        """The search has been ended, which is on record."""
        self.settings["stopped"] = stopped.to_json()

    def _retry_failed(self) -> list[str]:
        """Has what failed done again; returns that as a change of the study, in a line."""
        trials, runs = self.study.count("FAIL"), failed_runs(self.study.folder.repeats)
        if not trials and not runs:
            self.listener.nothing_to_retry()
            return []
        self._spare_failed()
        again = self.study.retry_failed()
        said = [f"trial{'s' * (len(again) > 1)} {', '.join(map(str, again))}"] if again else []
        said += [f"{plural(runs, 'run')} of finalists or retrainings"] if runs else []
        return [f"trained again after failing: {' and '.join(said)}"]

    def _spare_failed(self) -> None:
        """Of a search that was ended, keeps that its failed trials are begun again, before they are: after a kill they
        would be ended with their next epoch."""
        stopped = Stopped.of(self.settings)
        failed = [record.number for record in self.study.records if record.state == "FAIL"]
        if stopped is not None and failed:
            stopped = stopped.sparing(failed)
            record_end(self.plan.folder, stopped)
            self._ended(stopped)

    @property
    def is_finished(self) -> bool:
        """Whether nothing is left to train or to score."""
        return self.study.exhausted and self.plan.folder.metrics.is_file()

    def tell_plan(self) -> None:
        """Tells what will be done, and what is known from before."""
        plan, study = self.plan, self.study
        notes = [*plan.space.notes(deterministic=study.deterministic), *code_notes(plan.before, plan.space)]
        notes += [] if plan.request.time is None else [plan.request.time.plan]
        data = plan.request.dataset
        notes += size_note(study)
        notes += [*on_disk_notes(data), *many_rows_notes(plan.space.validation, data)]
        notes += [*plan.request.notes, *start_notes(study, portfolio=uses_portfolio(plan.settings))]
        self.listener.planned(
            Planned(
                dataset=plan.request.dataset,
                horizon=study.horizon,
                study=plan.folder.root,
                where=plan.where,
                protocol=str(plan.settings["protocol"]),
                done=len(study.records),
                repaired=study.repaired,
                changes=self._changes,
                problems=examine(plan.request.dataset).problems,
                notes=[*notes, *self._notes],
                limited=[] if plan.function else limits(study.horizon),
                nodes=plan.placement.nodes,
            )
        )
        self.listener.known(study)

    def tidy(self) -> None:
        """Of a study that is finished: clears away what a kill near the end left, and keeps what the settings say."""
        folder, keep = self.plan.folder, self.settings["keep"]
        show_count(folder)  # a kill after a look was noted left it behind
        folder.clear_seeds()  # a kill between the last two steps left it
        clear_request(folder)  # it came when there was no further trial to suggest
        if not is_written(folder.tensorboard):  # a kill came before it, or an older avtune wrote none
            write_finals(self.study, self.plan.request.dataset)
        if keep != self._had:
            record_changes(folder, {**self.plan.before, "keep": keep}, [f"keep: {self._had} -> {keep}"])
        self.listener.finished_before()

    def close(self) -> None:
        """Closes the study's files and writes its report."""
        try:
            self.study.close()
        finally:
            with using(self.plan.folder.tensorboard):
                self._board.close()
        write_report(self.study)


@contextlib.contextmanager
def _closed(opened: _Opened) -> Iterator[None]:
    """Closes what the block works with, however it ends."""
    try:
        yield
    except BaseException:
        with contextlib.suppress(UserError):  # what it was about is said already
            opened.close()
        raise
    opened.close()
