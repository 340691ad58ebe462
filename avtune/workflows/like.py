"""`--like STUDY`: what was best in earlier studies of the same method is tried early in a new one."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from avtune.core.errors import UserError, shown
from avtune.core.hyper import Value
from avtune.core.words import plural
from avtune.space.configuration import Configuration, point_in, without_repeats
from avtune.space.space import Space
from avtune.space.yaml_lines import Entry
from avtune.study.best import read_best
from avtune.study.folder import StudyFolder
from avtune.study.spread import spread
from avtune.study.watch import StudyWatch
from avtune.workflows.study_view import StudyView, existing

MOST = 8
"""Configurations that come from earlier studies, of all of them together."""
_AMONG = 4
"""Of so many times as many best trials those are taken that differ most."""


@dataclass(frozen=True)
class Like:
    """What earlier studies give to a search.

    Attributes:
        studies: their names.
        points: values of the axes each, in the order in which they are tried.
        notes: what is left out, or was otherwise there.
    """

    studies: Sequence[str] = ()
    points: Sequence[Mapping[str, Value]] = ()
    notes: Sequence[str] = ()

    def then(self, more: Like) -> Like:
        """These, and then others."""
        points = without_repeats([*self.points, *more.points])
        return Like([*self.studies, *more.studies], points, [*self.notes, *more.notes])

    def after(self, before: Mapping[str, Any]) -> Like:
        """With what a study that is continued has on record: that stays as it is, and only studies that it does not
        name add something."""
        known = before.get("like", {"studies": [], "points": []})
        new = () if set(self.studies) <= set(known["studies"]) else self.studies
        points = without_repeats([*known["points"], *(self.points if new else ())])
        studies = list(dict.fromkeys([*known["studies"], *new]))
        return Like(studies, points, self.notes if new else ())

    def left_out(self, before: Mapping[str, Any]) -> list[str]:
        """That nothing of them is added to a study that is continued, where they would give configurations that it
        does not have on record: a study of a name that is on record may be another one, or have gone on."""
        known = before.get("like", {"studies": [], "points": []})
        more = sum(dict(point) not in known["points"] for point in self.points)
        if not more or not set(self.studies) <= set(known["studies"]):
            return []
        return [
            f"--like {', '.join(self.studies)}: nothing is added, since configurations of a study of that name are on "
            f"record; {plural(more, 'other')} would come from a copy of it under another name"
        ]

    def to_json(self) -> dict[str, Any]:
        """As `study.yaml` has it."""
        return {"studies": list(self.studies), "points": [dict(point) for point in self.points]}


def like(given: object, space: Space, results: Path) -> Like:
    """The best configurations of studies.

    Args:
        given: names or folders with commas between them, a study, or a list of these; None for none.
        space: of the search.
        results: the folder of studies.

    Raises:
        UserError: there is no such study, or it is of another method, or has no trial with a result.
    """
    folders = _folders(given, results)
    each = -(-MOST // len(folders)) if folders else 0
    names, points, notes = [], [], []
    for folder in folders:
        found, said = _points_of(folder, space, each)
        names.append(folder.root.resolve().name)
        points.append(found)
        notes += said
    turns = [found[place] for place in range(each) for found in points if place < len(found)]
    return Like(names, without_repeats(turns)[:MOST], notes)


def _folders(given: object, results: Path) -> list[StudyFolder]:
    if given is None:
        return []
    if isinstance(given, StudyView):
        return [StudyFolder(given.path)]
    if isinstance(given, list | tuple):
        return [folder for one in given for folder in _folders(one, results)]
    if not isinstance(given, str | os.PathLike):
        raise UserError(f"--like is {shown(given)}; give a study by its name or folder, or a list of these")
    names = given.split(",") if isinstance(given, str) else [os.fspath(given)]
    return [StudyFolder(existing(name.strip(), results)) for name in names]


def _points_of(folder: StudyFolder, space: Space, most: int) -> tuple[list[dict[str, Value]], list[str]]:
    """Of one study, its winner or its best trial first, and what is to be said."""
    watch = StudyWatch(folder, lambda method: None)
    name = folder.root.resolve().name
    if watch.space.method != space.method:
        raise UserError(f"--like {name}: it is a study of {watch.space.method}, the search is of {space.method}")
    best = read_best(folder)
    winner = -1 if best is None else best.trial
    ended = [record for record in watch.records if record.state not in ("FAIL", "RUNNING") and record.values]
    ended.sort(key=lambda one: (one.number != winner, -(one.best_value or 0.0), one.number))
    if not ended:
        raise UserError(f"--like {name}: no trial of it has ended with a result")
    points: list[dict[str, Value]] = []
    problems: list[str] = []
    others: set[str] = set()
    for record in ended[: _AMONG * most]:
        point, problem = searched_point(space, record.trial.config, f"{name}, trial {record.number}", others)
        if problem:
            problems.append(problem)
        else:
            points.append(point)
    notes = [f"--like {name}: {', '.join(sorted(others))}"] if others else []
    if problems:
        notes.append(f"--like {name}: {len(problems)} of its best configurations are left out: {problems[0]}")
    return spread(space, without_repeats(points), most), notes


def searched_point(
    space: Space, config: Mapping[str, Value], where: str, others: set[str]
) -> tuple[dict[str, Value], str]:
    """The point of the space that a configuration is, or why it is none. What the space has fixed otherwise is taken
    from the space, and noted in `others`.

    Args:
        where: what messages call it.
    """
    axes, unsearched = {axis.name for axis in space.axes}, {**space.off, **space.fixed}
    for name, value in config.items():
        if name not in axes and unsearched.get(name, value) != value:
            others.add(f"{name} is {value} there and {unsearched[name]} here")
    values = {name: Entry(value, where) for name, value in config.items() if name in axes}
    try:
        return point_in(space, Configuration(where, values)), ""
    except UserError as error:
        return {}, str(error)
