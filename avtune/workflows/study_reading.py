"""How a model's own study has read its data: the same where nothing is said, and what follows from another way."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from avtune.core.errors import UserError
from avtune.data import load
from avtune.data.dataset import Dataset
from avtune.data.groups import row_digests
from avtune.data.options import ReadOptions, differences, recorded_options, spelt
from avtune.data.registry import REGISTRY
from avtune.engine.model import Model
from avtune.finals.looks import study_of


class Read(NamedTuple):
    """A dataset that a model is used on.

    Attributes:
        dataset: as it was read.
        note: that it is read as the model's study has read it, or how else; empty where there is nothing to say.
        problem: how many of its test clips the model was trained on; empty where none is known to be.
    """

    dataset: Dataset
    note: str = ""
    problem: str = ""


class _Own(NamedTuple):
    """The data of a model's study: where it is, its digest, and how it was read."""

    root: Path
    spec: str
    digest: str
    options: ReadOptions

    def other(self, reading: ReadOptions) -> list[str]:
        """What options of the user's differ in; nothing where there are none."""
        return differences(self.options, reading) if reading.given() else []


def read_for(models: Sequence[Model], spec: str, reading: ReadOptions, results: Path | None) -> Read:
    """The dataset that `spec` names. Without options, that of a model's own study is read as the study has read it.

    Args:
        models: that are used on it; the first whose study has read these data decides.
        spec: a registered dataset, or a path.
        reading: the options that the user gives.
        results: the folder of studies, where the models' are looked for; None for nowhere.

    Raises:
        UserError: it cannot be read.
    """
    owned = [own for model in models if (own := _own(model, results)) is not None and own.options.given()]
    here = [own for own in owned if _is_same(own.spec, spec)]
    if here and not reading.given():
        found = Read(load(spec, here[0].options), _as(here[0], spec))
    else:
        found = _as_said(spec, reading, owned)
    others = [own for own in here if own.digest != found.dataset.digest]
    if not others:
        return found
    notes = [
        f"read otherwise than by {own.root}: {'; '.join(lines)}" for own in others if (lines := own.other(reading))
    ]
    problems = [line for own in others if (line := _trained_on(found.dataset, own))]
    return Read(found.dataset, "; ".join(filter(None, (found.note, *notes))), "; ".join(problems))


def _as_said(spec: str, reading: ReadOptions, owned: Sequence[_Own]) -> Read:
    try:
        return Read(load(spec, reading))
    except UserError:
        for own in owned if not reading.given() else ():  # perhaps the study's data, elsewhere now
            if (found := _same_data(own, spec)) is not None:
                return Read(found, _as(own, spec))
        raise


def _own(model: Model, results: Path | None) -> _Own | None:
    folder = None if model.folder is None or results is None else study_of(model, model.folder, results)
    if folder is None:
        return None
    facts = folder.settings()["dataset"]
    options = recorded_options(facts, str(folder.study_yaml))
    return _Own(folder.root, str(facts.get("spec", "")), facts["digest"], options)


def _is_same(own: str, spec: str) -> bool:
    if spec in REGISTRY or own in REGISTRY:
        return spec == own
    return bool(own) and os.path.realpath(os.path.expanduser(spec)) == os.path.realpath(own)


def _as(own: _Own, spec: str) -> str:
    return f"{spec} is read as {own.root} has read it: {spelt(own.options)}"


def _same_data(own: _Own, spec: str) -> Dataset | None:
    try:
        found = load(spec, own.options)
    except UserError:
        return None
    return found if found.digest == own.digest else None


def _trained_on(dataset: Dataset, own: _Own) -> str:
    """That clips which a study has trained on are test clips of a dataset; empty where none is known to be."""
    try:
        theirs = load(own.spec, own.options)
    except UserError:
        return ""
    trained = set(row_digests((theirs.train.audio, theirs.train.visual)))
    count = sum(row in trained for row in row_digests((dataset.test.audio, dataset.test.visual)))
    if not count:
        return ""
    verb = "is a training clip" if count == 1 else "are training clips"
    return (
        f"{count} of the {len(dataset.test)} test clips {verb} of {own.root}, so this is no test score of its models; "
        f"it has read the data with {spelt(own.options)}"
    )
