"""Checks what `search --repeat` has written of several searches."""

from __future__ import annotations

import json

from avtune.study.folder import StudyFolder
from avtune.workflows.differences import any_difference
from avtune.workflows.open_study import open_space
from avtune.workflows.repeat import FILE, named_in, repeats_of
from avtune.workflows.verify_model import Check, check, skipped


def check_repeats(folder: StudyFolder) -> list[Check]:
    """Compares `repeated.json` with the results of the searches that it names, which are beside this one; none where
    the study has no such file."""
    path = folder.root / FILE
    if not path.is_file():
        return []
    what = "made again from the results of its searches"
    searches = [StudyFolder(folder.root.with_name(name)) for name in named_in(path)]
    away = [one.root.name for one in searches if not one.exists]
    if away:
        return [skipped(FILE, what, f"{away[0]} is not beside this study")]

    def compare() -> str:
        if not searches:
            return "it cannot be read"
        made = repeats_of(searches, [open_space(one) for one in searches])
        return any_difference(json.loads(path.read_text(encoding="utf-8")), json.loads(json.dumps(made.to_json())))

    return [check(FILE, what, compare)]
