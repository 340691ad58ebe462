"""What may differ when a study is continued, and what is said of it."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from avtune.core.errors import UserError
from avtune.core.files import to_yaml, write_text
from avtune.core.hyper import Value
from avtune.core.protocol import VALIDATION
from avtune.core.words import plural
from avtune.data.options import differences, recorded_options
from avtune.engine import user_code
from avtune.methods import get
from avtune.space.settings import FULL
from avtune.space.space import Space
from avtune.study.folder import StudyFolder
from avtune.study.sampler import first_turn
from avtune.study.study import Study
from avtune.workflows.open_study import open_space


def overrides_of(folder: StudyFolder, more: Sequence[str]) -> list[str]:
    """The overrides that a study has, and then those of a request to continue it; the last of a key counts."""
    by_key: dict[str, str] = {}
    for one in (*folder.settings().get("overrides", []), *more):
        key = str(one).partition("=")[0].strip()
        by_key.pop(key, None)  # its place is that of the last
        by_key[key] = str(one)
    return list(by_key.values())


def space_of_study(
    folder: StudyFolder, method: str | None, overrides: Sequence[str], chosen: Callable[[Sequence[str]], Space] | None
) -> tuple[Space, list[str]]:
    """The space of a study that is continued: as it was recorded, but for what the user says now.

    Args:
        method: the method or training function that the user names, None for none.
        overrides: those that the user gives now.
        chosen: makes the space that the user names from all overrides; None where none is named.

    Returns:
        The space, and all overrides that are in it.

    Raises:
        UserError: the study is one of another method, or an override is not legal.
    """
    if chosen is None or method is not None:
        check_method_of(folder, method)
    known = overrides_of(folder, overrides)
    return (open_space(folder, overrides, method) if chosen is None else chosen(known)), known


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
        if ":" not in method:
            get(method)  # a name that is none is no reason for another study
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
    before = open_space(folder)
    if before.method != space.method:
        raise _of_another_method(folder, before.method, space.method)
    grown = {key for key, grows in _growth(before, space).items() if grows}
    allowed: list[str] = []
    refused: list[str] = []
    stopping = replace(before.early_stopping, schedule=space.early_stopping.schedule)
    final = before.final
    if space.final.policy is not None and final.policy is None:  # made where every finalist had all seeds
        final = replace(final, policy=FULL)
    if "reference" not in folder.settings()["space"].get("final", {}):  # of before there was one: nothing has changed
        final = replace(final, reference=space.final.reference)
    for line in replace(before, early_stopping=stopping, final=final).difference(space):
        key = line.partition(":")[0]
        (allowed if key in grown or key.startswith("final.") else refused).append(line)
    refused += _refused(folder.settings(), settings)
    if refused:
        shown = "; ".join(refused[:4]) + (f"; and {len(refused) - 4} more" if len(refused) > 4 else "")
        raise UserError(
            f"{folder.root} was made with other settings: {shown}\n"
            f"add --name {another_name(folder.root)} for a new study, or give the old settings to continue this one"
        )
    return allowed


def _refused(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """What differs outside the space; none of it may."""
    found = []
    digests = old["dataset"]["digest"], new["dataset"]["digest"]
    if digests[0] != digests[1]:
        ways = [recorded_options(one["dataset"], "study.yaml") for one in (old, new)]
        found += differences(*ways) or [
            f"dataset content: {digests[0][:12]} -> {digests[1][:12]} ({old['dataset']['name']})"
        ]
    before = {"protocol": VALIDATION} | dict(old)
    keys = ("deterministic", "precision", "protocol")
    return found + [f"{key}: {before[key]} -> {new[key]}" for key in keys if before[key] != new[key]]


def _growth(before: Space, after: Space) -> dict[str, bool]:
    """The settings that may change, and whether they change so that they may: most only to more."""
    old, new = before.early_stopping, after.early_stopping
    longer = isinstance(old.epochs, int) and isinstance(new.epochs, int) and new.epochs > old.epochs
    if user_code.function(after.method) is not None:  # its schedule is its own: what is known would not stay true
        longer = False
    return {
        "search.trials": after.search.trials > before.search.trials,
        "search.stop_when_flat": True,
        "early_stopping.epochs": longer,
        "early_stopping.steps": old.open and new.open and new.steps > old.steps,
    }


def grows(before: Space, after: Space) -> bool:
    """Whether a study is given more trials, epochs or steps."""
    found = _growth(before, after)
    return any(found[key] for key in ("search.trials", "early_stopping.epochs", "early_stopping.steps"))


def with_schedule(space: Space, before: Space) -> Space:
    """The space of a study that is continued. Given more epochs, its trials keep the schedules that they had, so that
    what is known of them stays true."""
    old, new = before.early_stopping, space.early_stopping
    if not isinstance(old.epochs, int) or not isinstance(new.epochs, int) or new.schedule is not None:
        return space
    schedule = old.schedule or (old.epochs if new.epochs != old.epochs else None)
    return replace(space, early_stopping=replace(new, schedule=schedule))


def start_of(
    before: Mapping[str, Any], start: Sequence[Mapping[str, Value]], space: Space
) -> tuple[list[Mapping[str, Value]], list[str]]:
    """The configurations that a study is told to try: those that it has on record, and then those that are new.

    Returns:
        These, and what has changed, in a line.

    Raises:
        UserError: there are more new ones than trials.
    """
    known = list(before.get("start", []))
    added = [dict(point) for point in start if dict(point) not in known]
    if len(added) > space.search.trials:
        raise UserError(
            f"--start names {len(added)} configurations, more than the {space.search.trials} trials of the search; "
            f"add --trials {len(added)} or more"
        )
    said = f"start: {plural(len(added), 'configuration')} of the user's to try next"
    return [*known, *added], [said] if added else []


def start_notes(study: Study, *, portfolio: bool) -> list[str]:
    """When the configurations come that the user named or enqueued and that have not been tried yet.

    Args:
        portfolio: a portfolio is among them.
    """
    found = study.left_out
    if study.enqueued:
        come = "wait for more --trials" if study.is_suggested else "come next"
        found.append(f"configurations enqueued in {study.folder.journal.name} {come}: {study.enqueued}")
    return [*found, *_start_note(study, portfolio=portfolio)]


def not_tried(study: Study) -> list[str]:
    """What the user named or enqueued and the search, which is over, has not tried."""
    found = []
    if study.waiting:
        count = plural(study.waiting, "configuration")
        found.append(
            f"{count} of --start, --like or --portfolio not tried; --trials {study.trials_for_all} tries "
            f"{'it' if study.waiting == 1 else 'them'}"
        )
    if study.enqueued:
        found.append(
            f"{plural(study.enqueued, 'configuration')} enqueued in {study.folder.journal.name} not tried; more "
            "--trials try them"
        )
    return found


def _start_note(study: Study, *, portfolio: bool) -> list[str]:
    if not study.waiting:
        return []
    sources = "--start, --like or --portfolio" if portfolio else "--start or --like"
    said = f"{plural(study.waiting, 'configuration')} of {sources}"
    known, turn, trials = len(study.records), first_turn(study.space), study.space.search.trials
    if study.is_suggested:
        ended = f"all {trials} trials have been suggested" if known >= trials else "the search has been ended"
        return [f"{said} wait: {ended}; --trials {study.trials_for_all} tries them"]
    if study.fitting < study.waiting:
        said = (
            f"only {study.fitting} of {said} fit into the {trials} trials; add --trials {study.trials_for_all} for "
            "all; they"
        )
    if known >= turn:
        return [f"{said} come first" if not known else f"{said} come next"]
    return [f"{said} come after the {turn} random trials (search.startup_trials), as the default configuration does"]


def size_note(study: Study) -> list[str]:
    """That the space has fewer configurations than trials are asked for, where it has."""
    size, trials = study.configurations, study.space.search.trials
    if size is None or size >= trials or not study.space.axes:
        return []
    return [f"the space has {plural(size, 'configuration')}: the search ends after these, before {trials} trials"]


def record_changes(folder: StudyFolder, settings: Mapping[str, Any], changes: Sequence[str]) -> None:
    """Keeps the settings of a study in which something has changed, and what has."""
    if changes:
        old = folder.settings().get("changes", [])
        write_text(folder.study_yaml, to_yaml({**settings, "changes": [*old, *changes]}))


def moves(before: Mapping[str, Any], settings: Mapping[str, Any]) -> list[str]:
    """Where a study that is continued runs otherwise than before."""
    keys = [key for key in ("runner", "placement", "keep") if key in before and before[key] != settings[key]]
    return [f"{key}: {before[key]} -> {settings[key]}" for key in keys]


def keep_note(study: Study, keep: int, had: int) -> str | None:
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


def code_notes(before: Mapping[str, Any], space: Space) -> list[str]:
    """Whether the user's own code is another than when the study began."""
    if not before or before.get("code", {}) == user_code.facts(space.method):
        return []
    return [f"the file of {space.method} has changed since this study began; its earlier trials ran the old code"]
