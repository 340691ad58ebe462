"""Which recorded curves a search is planned by, and what is said of them.

Those that are given; else those that come with avtune: the dataset's own where there are some, and those of all others
for a dataset that none were recorded of. How fast a new dataset learns is not known before it is trained on, and may
lie anywhere between those that were recorded: searches are simulated on each of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from avtune.core.errors import UserError
from avtune.core.hyper import Value
from avtune.methods import hypers_of
from avtune.space.space import Space
from avtune.study.folder import StudyFolder
from avtune.study.recorded_curves import RecordedCurves, curves_of_study, read_recorded, shipped


def curves_for(
    given: Sequence[StudyFolder | Path], dataset: str, space: Space
) -> tuple[list[RecordedCurves], list[str]]:
    """The curves to go by, and what to say of them, a sentence each.

    Args:
        given: studies, and files of recorded curves; none for those that come with avtune.
        dataset: the name of that which is planned for.
        space: what would be searched.

    Raises:
        UserError: they cannot be read.
    """
    found = [(_called(one), _read(one)) for one in given] or _shipped(dataset)
    return [one for _, one in found], [*_of_whom(found, dataset, shipped=not given), *_not_in(found, space)]


def _called(one: StudyFolder | Path) -> str:
    return f"the study {one.root.name}" if isinstance(one, StudyFolder) else one.name


def _read(one: StudyFolder | Path) -> RecordedCurves:
    return curves_of_study(one, _defaults_of) if isinstance(one, StudyFolder) else read_recorded(one)


def _defaults_of(method: str) -> dict[str, Value]:
    return {name: hyper.default for name, hyper in hypers_of(method).items()}


def _shipped(dataset: str) -> list[tuple[str, RecordedCurves]]:
    files = shipped()
    if not files:
        raise UserError("no recorded curves come with this avtune; give a study or a file as --curves")
    names = [dataset] if dataset in files else sorted(files)
    return [(name, read_recorded(files[name])) for name in names]


def _of_whom(found: Sequence[tuple[str, RecordedCurves]], dataset: str, *, shipped: bool) -> list[str]:
    first, *others = [(len(one.by_configuration), called) for called, one in found]
    said = f"curves: of {first[0]} configurations of {first[1]}" + "".join(f", {many} of {one}" for many, one in others)
    said += ", recorded with avtune" if shipped else ""
    if any(one.about.get("dataset") != dataset for _, one in found):
        said += f", at the same number of steps; {dataset} may learn faster or slower"
    return [said]


def _not_in(found: Sequence[tuple[str, RecordedCurves]], space: Space) -> list[str]:
    """What those curves say nothing of: the method, and searched axes."""
    lines = []
    methods = sorted({one.space.method for _, one in found} - {space.method})
    if methods:
        lines.append(f"there are curves of {', '.join(methods)}, which stand for those of {space.method}")
    lacking: dict[str, list[str]] = {}
    for called, one in found:
        missing = {axis.name for axis in space.axes} - {axis.name for axis in one.space.axes}
        if missing:
            names = ", ".join(axis.name for axis in space.axes if axis.name in missing)
            lacking.setdefault(names, []).append(called)
    for names, those in lacking.items():
        whose = "the curves" if len(those) == len(found) else f"the curves of {', '.join(those)}"
        lines.append(f"searched, and not in {whose}, so that it changes nothing there: {names}")
    return lines
