"""Datasets that avtune knows by name: what each should contain and where a user gets it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from avtune.core.errors import UserError, choices, did_you_mean
from avtune.data.dataset import Dataset
from avtune.data.demo import demo
from avtune.data.formats import read
from avtune.data.options import ReadOptions

ENVIRONMENT_VARIABLE = "AVTUNE_DATA"
DEFAULT_FOLDER = "data"
PUBLIC_FEATURES = "https://github.com/zhangjiwei-japan/cross-modal-visual-audio-retrieval"


@dataclass(frozen=True)
class Entry:
    """A registered dataset.

    Attributes:
        name, title: what the user types, and what the user reads.
        num_classes, num_train, num_test, audio_dim, visual_dim: what it should contain.
        space: name of the space file that `search` takes by default.
        file: the file's name in the data folder; None when the dataset is generated.
        origin: where a user gets it.
        command: what to type once they have it.
    """

    name: str
    title: str
    num_classes: int
    num_train: int
    num_test: int
    audio_dim: int
    visual_dim: int
    space: str
    file: str | None
    origin: str
    command: str


# Sizes: the papers' tables; AVE is its 15-class subset, official train and validation clips together as train.
REGISTRY: dict[str, Entry] = {
    entry.name: entry
    for entry in (
        Entry(
            name="vegas",
            title="VEGAS, 10 classes",
            num_classes=10,
            num_train=22482,
            num_test=5621,
            audio_dim=128,
            visual_dim=1024,
            space="vegas",
            file="vegas_feature_norm.h5",
            origin=f"the VEGAS link in the README of {PUBLIC_FEATURES}",
            command="avtune search vegas",
        ),
        Entry(
            name="ave",
            title="AVE, 15 classes",
            num_classes=15,
            num_train=1766,
            num_test=189,
            audio_dim=128,
            visual_dim=1024,
            space="ave",
            file="ave_feature_norm.h5",
            origin=f"the AVE link in the README of {PUBLIC_FEATURES}",
            command="avtune search ave",
        ),
        Entry(
            name="demo",
            title="generated features of AVE's shape",
            num_classes=15,
            num_train=1766,
            num_test=189,
            audio_dim=128,
            visual_dim=1024,
            space="demo",
            file=None,
            origin="generated on the spot",
            command="avtune search demo",
        ),
    )
}


def load(spec: str, options: ReadOptions | None = None) -> Dataset:
    """The dataset of a registered name, or at a path.

    Args:
        options: what the user says of the file.

    Raises:
        UserError: a name that is neither registered nor a path, a registered file that is not there (says where to get
            it and where to put it), or anything that `formats.read` raises.
    """
    entry = REGISTRY.get(spec)
    if entry is None:
        path = Path(os.path.expanduser(spec))
        if not os.path.exists(path) and not path.suffix and os.sep not in spec:
            raise UserError(
                f"'{spec}' is no dataset{did_you_mean(spec, REGISTRY) or '.'}\n"
                f"allowed: {choices(REGISTRY)}, or a path to a file or folder of features (docs/data.md)"
            )
        return read(path, options)
    if options is not None and options.given():
        what = next(iter(options.given())).replace("_", "-")
        raise UserError(f"'{spec}' is a data set that avtune knows; --{what} goes with the path of a file")
    if entry.file is None:
        return demo()
    found = locate(entry)
    if found is None:
        folders = data_folders()
        raise UserError(
            f"{entry.name}: there is no {entry.file} in {' or '.join(str(folder) for folder in folders)}; get it from "
            f"{entry.origin}\nput it in {folders[0]}{os.sep} and type: {entry.command}"
        )
    return read(found, name=entry.name)


def data_folders() -> list[Path]:
    """Where registered files are looked for: `$AVTUNE_DATA` if it is set, then `./data`."""
    given = os.environ.get(ENVIRONMENT_VARIABLE)
    return [*([Path(os.path.expanduser(given))] if given else []), Path(DEFAULT_FOLDER)]


def locate(entry: Entry) -> Path | None:
    """The file of a registered dataset, or None when it is in no data folder (or generated)."""
    if entry.file is None:
        return None
    return next((path for folder in data_folders() if os.path.isfile(path := folder / entry.file)), None)


def problems(dataset: Dataset) -> list[str]:
    """What differs between a dataset of a registered name and what the registry says of it."""
    entry = REGISTRY.get(dataset.name)
    if entry is None or entry.file is None:  # a file of one's own may be called as what is generated
        return []
    compared = (
        ("classes", dataset.num_classes, entry.num_classes),
        ("training clips", len(dataset.train), entry.num_train),
        ("test clips", len(dataset.test), entry.num_test),
        ("audio dims", dataset.audio_dim, entry.audio_dim),
        ("visual dims", dataset.visual_dim, entry.visual_dim),
    )
    return [
        f"{found} {what}, where {entry.title.split(',')[0]} has {expected}: not the public feature file"
        for what, found, expected in compared
        if found != expected
    ]
