"""The whole search as the command line runs it: open or make the study, run it, name the winner, write the report.

Long: what may differ when a study is continued, and what is said of it, stands here too.
"""

from __future__ import annotations

import contextlib
import itertools
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from avtune.cli import console
from avtune.core.errors import UserError, choices, did_you_mean
from avtune.core.files import to_yaml, using, write_text
from avtune.core.protocol import VALIDATION, checked
from avtune.data.dataset import Dataset
from avtune.data.findings import examine
from avtune.data.prepare import for_search
from avtune.engine import user_code
from avtune.engine.memory import is_wide
from avtune.finals.checkpoints import Checkpoints, checked_keep
from avtune.finals.finish import Workshop, finish
from avtune.finals.looks import show_count
from avtune.finals.run_record import failed_runs
from avtune.report.board import BoardListener
from avtune.report.page import page
from avtune.report.tensorboard import StudyBoard
from avtune.runners import inline
from avtune.runners import lanes as lanes_runner
from avtune.runners import processes as processes_runner
from avtune.runners._base import Run, Runner, Slots
from avtune.runners.placement import Wish, environment, fast_precision, slots
from avtune.space.space import Space
from avtune.study.folder import StudyFolder
from avtune.study.limits import limits
from avtune.study.results import read_best, read_metrics
from avtune.study.study import Study
from avtune.workflows.open_study import FORMAT, basis_of, horizon_of, open_space

RUNNERS: dict[str, Runner] = {
    "lanes": lanes_runner.opened,
    "processes": processes_runner.opened,
    "inline": inline.opened,
}


@dataclass(frozen=True)
class Request:
    """What the user asked for.

    Attributes:
        dataset: loaded and checked.
        spec: how the user named it.
        space: the checked space, overrides included.
        folder: where the study is or will be.
        wish: how trials are placed.
        runner: a name of `RUNNERS`, None to choose.
        precision: `fp32`, `tf32`, `bf16`, or None to choose; of the search, the retraining is fp32.
        deterministic: the same result however many devices.
        protocol: of the retraining, see `avtune.core.protocol`; None for that of the study, or `validation`.
        keep: the best trials whose weights are kept, None for what the study says, or none.
        retry_failed: train the study's failed trials again, and the failed runs of its finalists.
        overrides: those of the space, as `key=value`; kept for those who continue the study.
        run: of a runner that is open already; None opens one for this search.
        brief: print the trials, but neither the plan nor the result.
    """

    dataset: Dataset
    spec: str
    space: Space
    folder: StudyFolder
    wish: Wish
    runner: str | None = None
    precision: str | None = None
    deterministic: bool = False
    protocol: str | None = None
    keep: int | None = None
    retry_failed: bool = False
    overrides: Sequence[str] = ()
    run: Run | None = None
    brief: bool = False


def search(request: Request) -> dict[str, Any]:
    """Runs a search to its end, or continues it; a finished one is shown again.

    A study that is continued keeps its runner, its precision and its mode where the request names none.

    Returns:
        What `final/metrics.json` holds.

    Raises:
        UserError: something the user gave is wrong; a new study leaves no folder behind then.
        StorageError: a file cannot be written; the study stays as it was.
        NoWinner: every trial failed.
    """
    folder = request.folder
    before = folder.settings() if folder.exists else {}
    if before:
        request = replace(request, space=_with_schedule(request.space, open_space(folder)))
    space = request.space
    function = user_code.function(space.method) is not None
    name, runner = runner_named(request.runner or before.get("runner"), function=function)
    protocol = checked(request.protocol or before.get("protocol") or VALIDATION)
    if function:
        user_code.check_function_search(space, protocol, request.precision)
    elif not folder.metrics.is_file():
        user_code.check_method(space, _dims(request.dataset), len(request.dataset.train))
    keep = checked_keep(int(before.get("keep", 0)) if request.keep is None else request.keep, function=function)
    deterministic = request.deterministic or bool(before.get("deterministic"))
    wide = name == "lanes" and _is_wide(request)
    places = slots(request.wish, name, space.search.trials, wide=wide, exact=deterministic)
    validation = space.validation
    precision = "fp32" if function else _precision(request, places)
    settings = _settings(request) | {
        "runner": name,
        "placement": places.text,
        "deterministic": deterministic,
        "precision": precision,
        "protocol": protocol,
        "keep": keep,
    }
    changes = changes_of(folder, settings, space) if folder.exists else []
    size = data_bytes(request.dataset, validation.folds or 1)
    with contextlib.ExitStack() as held, contextlib.ExitStack() as opened:
        if folder.exists:
            held.enter_context(folder.locked())
        run = request.run
        if run is None and not folder.metrics.is_file():  # a finished study is shown again without
            run = opened.enter_context(runner(places, size))
        # While the runner's processes start. Before there is a folder: a dataset that cannot be split leaves none.
        folds = for_search(
            request.dataset,
            fraction=validation.fraction,
            folds=validation.folds,
            seed=space.search.seed,
            settings=not request.brief,
        )
        rows = min(len(fold.train) for fold in folds)
        horizon = horizon_of(space, rows)
        settings["rows"] = rows
        if not folder.exists:
            folder.create(settings, environment())
            held.enter_context(folder.locked())
        folder.clear_torn()
        progress = console.Progress(space.search.trials)
        with using(folder.tensorboard):
            board = StudyBoard(folder.tensorboard, space, objective="val/map")
        checkpoints = Checkpoints(folder, keep)
        study = Study(
            folder,
            space,
            deterministic=deterministic,
            precision=precision,
            checkpoints=keep > 0,
            listeners=[progress, BoardListener(board, folder.tensorboard), checkpoints],
            horizon=horizon,
            basis=basis_of(space, request.dataset),
        )
        changes += _retried(study) if request.retry_failed else []
        checkpoints.known(study)
        had = int(before.get("keep", 0))
        keep_note = _keep_note(study, keep, had) if before else None
        if study.exhausted:
            settings["keep"] = min(keep, had)
        if changes:  # the result of before is not the result of this
            with using(folder.metrics):
                folder.metrics.unlink(missing_ok=True)
            _record(folder, settings, changes)
        try:
            if study.repaired:
                console.say("the last line of a study file was cut off by a kill; it was repaired")
            for change in changes:
                console.say(f"changed: {change}")
            limited = [] if function else limits(horizon)
            if request.brief:
                console.say(*(f"note: {line}" for line in limited))
            else:
                console.say(*console.problem_lines(examine(request.dataset).problems))
                for note in (
                    *space.notes(deterministic=deterministic),
                    *_code_notes(before, space),
                    *([keep_note] if keep_note else []),
                ):
                    console.say(f"note: {note}")
                console.say(
                    *console.plan_lines(
                        horizon,
                        dataset_line(request.dataset),
                        f"runner {name}: {places.text}, {precision}",
                        folder.root,
                        done=len(study.records),
                        protocol=protocol,
                        limited=limited,
                    )
                )
            progress.known(study)
            if study.exhausted and folder.metrics.is_file():
                show_count(folder)  # a kill after a look was noted left it behind
                shutil.rmtree(folder.seeds, ignore_errors=True)  # a kill between the last two steps left it
                if settings["keep"] != had:
                    _record(folder, before | {"keep": settings["keep"]}, [f"keep: {had} -> {settings['keep']}"])
                if not request.brief:
                    console.say("this study is finished; here is its result again", "")
            else:
                _record(folder, settings, _moves(before, settings))
                run = run or opened.enter_context(runner(places, size))
                with progress:
                    if not study.exhausted:
                        run(study, folds)
                    study.close()
                    shop = Workshop(run, progress.stage, again=request.retry_failed)
                    finish(study, request.dataset, folds, shop, protocol)
                opened.close()
            kept = checkpoints.publish(study, request.dataset)
        except BaseException:
            with contextlib.suppress(UserError):  # what it was about is said already
                _put_away(study, board)
            raise
        _put_away(study, board)
        return _result(study, kept, brief=request.brief)


def _is_wide(request: Request) -> bool:
    """Whether the lanes are wide; with a runner that serves many searches they are not asked."""
    space = request.space
    if request.run is not None:
        return False
    try:
        return is_wide(space.method, space.defaults(), _dims(request.dataset))
    except Exception:  # of a method of the user's own: its trials fail and say why
        return False


def _dims(dataset: Dataset) -> tuple[int, int, int]:
    return dataset.audio_dim, dataset.visual_dim, dataset.num_classes


def _retried(study: Study) -> list[str]:
    """Has what failed in a study done again; returns that as a change of it, in a line."""
    trials, runs = study.count("FAIL"), failed_runs(study.folder.repeats)
    if not trials and not runs:
        console.say("nothing to retry: no trial and no finalist of this study has failed")
        return []
    again = study.retry_failed()
    said = [f"trial{'s' * (len(again) > 1)} {', '.join(map(str, again))}"] if again else []
    said += [f"{runs} run{'s' * (runs > 1)} of finalists or retrainings"] if runs else []
    return [f"trained again after failing: {' and '.join(said)}"]


def _record(folder: StudyFolder, settings: Mapping[str, Any], changes: Sequence[str]) -> None:
    """Keeps the settings of a study in which something has changed, and what has."""
    if changes:
        old = folder.settings().get("changes", [])
        write_text(folder.study_yaml, to_yaml({**settings, "changes": [*old, *changes]}))


def _moves(before: Mapping[str, Any], settings: Mapping[str, Any]) -> list[str]:
    """Where a study that is continued runs otherwise than before."""
    keys = [key for key in ("runner", "placement", "keep") if key in before and before[key] != settings[key]]
    return [f"{key}: {before[key]} -> {settings[key]}" for key in keys]


def _keep_note(study: Study, keep: int, had: int) -> str | None:
    """What --keep cannot do any more in a study that has trained trials without it, or with a smaller one."""
    without = study.count("COMPLETE") - had
    if keep <= had or without <= 0:
        return None
    way = f"avtune retrain {study.folder.root} --trial N makes a model of any trial"
    if study.exhausted:
        return (
            f"--keep {keep} adds nothing here: the weights of trials are kept while they train, and all have ended; "
            f"{way}, and more --trials together with --keep keep those of the best new ones"
        )
    return f"--keep {keep} begins here: the weights of trials that have ended are gone; {way}"


def _put_away(study: Study, board: StudyBoard) -> None:
    try:
        study.close()
    finally:
        with using(study.folder.tensorboard):
            board.close()
    write_report(study)


def runner_named(name: str | None, *, function: bool = False) -> tuple[str, Runner]:
    """The runner that the user named, or the usual one.

    Args:
        function: it is to run a user's training function, which has no lanes.

    Raises:
        UserError: no runner has that name, or it cannot.
    """
    if function and name == "lanes":
        raise UserError("--runner lanes trains methods; a training function goes with processes (default) or inline")
    name = name or ("processes" if function else "lanes")
    if name not in RUNNERS:
        raise UserError(f"--runner is {name!r}; allowed: {choices(RUNNERS)}{did_you_mean(name, RUNNERS)}")
    return name, RUNNERS[name]


def data_bytes(dataset: Dataset, folds: int) -> int:
    """What the training rows take in memory, once for every fold and once for retraining."""
    train = dataset.train
    return (folds + 1) * (train.audio.nbytes + train.visual.nbytes + train.labels.nbytes)


def _code_notes(before: Mapping[str, Any], space: Space) -> list[str]:
    """Whether the user's own code is another than when the study began."""
    if not before or before.get("code", {}) == user_code.facts(space.method):
        return []
    return [f"the file of {space.method} has changed since this study began; its earlier trials ran the old code"]


def overrides_of(folder: StudyFolder, more: Sequence[str]) -> list[str]:
    """The overrides that a study has, and then those of a request to continue it; the last of a key counts."""
    by_key: dict[str, str] = {}
    for one in (*folder.settings().get("overrides", []), *more):
        key = str(one).partition("=")[0].strip()
        by_key.pop(key, None)  # its place is that of the last
        by_key[key] = str(one)
    return list(by_key.values())


def another_name(root: Path, method: str | None = None) -> str:
    """A name for a study beside this one: after its method, or a number that is free."""
    name = root.name[:80]
    if method is not None:
        return f"{name}-{re.sub(r'[^A-Za-z0-9._-]+', '-', method.rpartition(':')[2])[:19]}"
    return next(f"{name}-{n}" for n in itertools.count(2) if not (root.parent / f"{name}-{n}").exists())


def _of_another_method(folder: StudyFolder, theirs: str, method: str) -> UserError:
    return UserError(
        f"{folder.root} is a study of {theirs}, not of {method}\n"
        f"add --name {another_name(folder.root, method)} to the command for a study of {method}"
    )


def check_method_of(folder: StudyFolder, method: str | None) -> None:
    """Raises:
    UserError: the command line names another method than that of the study which it would continue, or none where the
        study's is code of the user's own.
    """
    settings = folder.settings()
    theirs = settings["space"]["method"]
    if method is not None and method != theirs:
        raise _of_another_method(folder, theirs, method)
    if method is None and theirs not in user_code.names() and ":" in theirs:
        option = settings.get("code", {}).get("option", user_code.METHOD)
        raise UserError(
            f"{folder.root} is a study of {theirs}, code of your own, which only the command line may name\n"
            f"add {option} {theirs} to continue it, or --name {another_name(folder.root)} for a new study"
        )


def changes_of(folder: StudyFolder, settings: Mapping[str, Any], space: Space) -> list[str]:
    """What differs between a study and a request to continue it, one line each; only what may change.

    More trials, more epochs, other finals, another runner and other devices may; the data, the space and the seed may
    not.

    Raises:
        UserError: something differs that may not.
    """
    old = folder.settings()
    before = open_space(folder)
    if before.method != space.method:
        raise _of_another_method(folder, before.method, space.method)
    grown = {key for key, grows in _growth(before, space).items() if grows}
    allowed: list[str] = []
    refused: list[str] = []
    stopping = replace(before.early_stopping, schedule=space.early_stopping.schedule)
    for line in replace(before, early_stopping=stopping).difference(space):
        key = line.partition(":")[0]
        (allowed if key in grown or key.startswith("final.") else refused).append(line)
    digests = old["dataset"]["digest"], settings["dataset"]["digest"]
    if digests[0] != digests[1]:
        refused.append(f"dataset content: {digests[0][:12]} -> {digests[1][:12]} ({old['dataset']['name']})")
    if old["deterministic"] != settings["deterministic"]:
        refused.append(f"deterministic: {old['deterministic']} -> {settings['deterministic']}")
    if old["precision"] != settings["precision"]:
        refused.append(f"precision: {old['precision']} -> {settings['precision']}")
    if old.get("protocol", VALIDATION) != settings["protocol"]:
        refused.append(f"protocol: {old.get('protocol', VALIDATION)} -> {settings['protocol']}")
    if refused:
        shown = "; ".join(refused[:4]) + (f"; and {len(refused) - 4} more" if len(refused) > 4 else "")
        raise UserError(
            f"{folder.root} was made with other settings: {shown}\n"
            f"add --name {another_name(folder.root)} for a new study, or give the old settings to continue this one"
        )
    return allowed


def _growth(before: Space, after: Space) -> dict[str, bool]:
    """The settings that a study may have more of, and whether it is asked for more."""
    old, new = before.early_stopping, after.early_stopping
    longer = isinstance(old.epochs, int) and isinstance(new.epochs, int) and new.epochs > old.epochs
    if user_code.function(after.method) is not None:  # its schedule is its own: what is known would not stay true
        longer = False
    return {
        "search.trials": after.search.trials > before.search.trials,
        "early_stopping.epochs": longer,
        "early_stopping.steps": old.open and new.open and new.steps > old.steps,
    }


def _with_schedule(space: Space, before: Space) -> Space:
    """The space of a study that is continued. Given more epochs, its trials keep the schedules that they had, so that
    what is known of them stays true."""
    old, new = before.early_stopping, space.early_stopping
    if not isinstance(old.epochs, int) or not isinstance(new.epochs, int) or new.schedule is not None:
        return space
    schedule = old.schedule or (old.epochs if new.epochs != old.epochs else None)
    return replace(space, early_stopping=replace(new, schedule=schedule))


def write_report(study: Study) -> None:
    """Writes `report.html` from what is known."""
    best = read_best(study.folder)
    if best is not None and not 0 <= best["trial"] < len(study.records):
        raise UserError(
            f"{study.folder.best_yaml} names trial {best['trial']}, which there is not; restore it from a copy"
        )
    write_text(study.folder.report_html, page(study, read_metrics(study.folder), best))


def _precision(request: Request, places: Slots) -> str:
    """The search's precision: the one asked for, else that of the study that is continued, else the device's."""
    before = request.folder.settings().get("precision", "fp32") if request.folder.exists else None
    return precision_named(request.precision, before, places)


def precision_named(name: str | None, before: str | None, places: Slots) -> str:
    """The precision that the user named, else the one of before, else the device's.

    Raises:
        UserError: no precision has that name.
    """
    if name not in (None, "fp32", "tf32", "bf16"):
        raise UserError(f"--precision is {name!r}; allowed: bf16, tf32 or fp32")
    if name == "tf32" and not places.gpus:
        raise UserError("--precision tf32 is one of NVIDIA GPUs, and this search uses none; allowed: bf16 or fp32")
    return name or before or fast_precision(places.gpus)


def _settings(request: Request) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "dataset": dataset_facts(request.dataset, request.spec),
        "space": request.space.as_dict(),
        "overrides": list(request.overrides),
        **({"code": code} if (code := user_code.facts(request.space.method)) else {}),
    }


def dataset_facts(data: Dataset, spec: str) -> dict[str, Any]:
    """What a settings file says of a dataset that the user calls `spec`."""
    return {
        "spec": spec,
        "name": data.name,
        "digest": data.digest,
        "train": len(data.train),
        "test": len(data.test),
        "classes": data.num_classes,
        "audio_dim": data.audio_dim,
        "visual_dim": data.visual_dim,
    }


def dataset_line(data: Dataset) -> str:
    """A dataset's name and sizes, as a plan shows them."""
    return (
        f"{data.name}: {len(data.train)} training and {len(data.test)} test clips, {data.num_classes} classes, "
        f"audio {data.audio_dim}-d, visual {data.visual_dim}-d"
    )


def _result(study: Study, kept: Sequence[int], *, brief: bool) -> dict[str, Any]:
    """What a finished study found, shown unless `brief`. `kept`: trials whose weights are there, best first."""
    folder = study.folder
    metrics = read_metrics(folder)
    assert metrics is not None
    if brief:
        return metrics
    console.say(
        "",
        *console.result_lines(metrics, read_best(folder)),
        "",
        f"report       {folder.report_html}",
        f"model        {folder.final}",
        *([f"checkpoints  {folder.checkpoints}: trials {', '.join(map(str, kept))}"] if kept else []),
        f"TensorBoard  avtune tensorboard {folder.root}",
        *console.failed_lines(study),
    )
    return metrics
