"""A folder of NumPy arrays of all clips: one .npy a view (`audio.npy visual.npy`, or two of any name), `labels.npy`,
and perhaps `split.npy` (train, val, test; or 1 and 0) and `groups.npy`."""

from __future__ import annotations

from pathlib import Path

from avtune.core.errors import UserError
from avtune.core.words import plural
from avtune.data.arrays import Container
from avtune.data.build import Found, build
from avtune.data.dataset import VIEWS, Dataset
from avtune.data.opening import files_of, open_arrays
from avtune.data.options import ReadOptions
from avtune.data.single_clips import how_to_stack, single_clips

TITLE = "folder of .npy arrays"
KEYS = ("audio", "visual", "labels")
TAKES = frozenset({"views", "pool", "test_fraction"})
LABELS = ("labels", "label", "lab", "y")
OTHERS = {"split": "split", "groups": "group", "group": "group", "class_names": ""}


def recognise(path: Path) -> bool:
    """Whether it is a folder with labels and two more arrays."""
    if not path.is_dir():
        return False
    stems = {file.stem for file in files_of(path) if file.suffix == ".npy"}
    return any(name in stems for name in LABELS) and len(stems - {*LABELS, *OTHERS}) >= 2


def read(path: Path, options: ReadOptions) -> Dataset:
    """The dataset of two of the arrays."""
    with open_arrays(path, ()) as container:
        first, second = view_stems(container, path, options, LABELS)
        roles = {"audio": first, "visual": second, **roles_beside(container)}
        declared = {role: container.declare(key) for role, key in roles.items()}
        names = container.declare("class_names") if "class_names" in container.keys else None
        tables = [file.name for file in files_of(path) if file.suffix == ".csv"]
        return build(Found(str(path), declared, (first, second), names, [*container.keys, *tables]), options)


def roles_beside(container: Container) -> dict[str, str]:
    """The arrays beside the views, by role: of labels, and perhaps of split and groups."""
    found = {role: name for name, role in OTHERS.items() if role and name in container.keys}
    labels = next((name for name in LABELS if name in container.keys), None)
    return found if labels is None else {**found, "lab": labels}


def view_stems(container: Container, path: Path, options: ReadOptions, taken: tuple[str, ...]) -> tuple[str, str]:
    """The arrays of the two views: those that `--views` names, else the only two.

    Raises:
        UserError: there are more and none are chosen, or one is not there.
    """
    there = [key for key in container.keys if key not in taken and key not in OTHERS]
    if not options.views and (views := single_clips(there)):
        raise UserError(how_to_stack(path, views, f"{there[0]}.npy"))
    if len(there) > 2 and not options.views:  # such as ids.npy beside them
        there = [key for key in there if _may_be_features(container, key)]
    if options.views:
        for view in options.views:
            if view not in there:
                raise UserError(f"{path} has no {view}.npy for --views; it has {', '.join(there)}")
        return options.views[0], options.views[1]
    if set(VIEWS) <= set(there) and len(there) == 2:
        return VIEWS
    if len(there) != 2:
        said = f"{path} has {plural(len(there), 'array')} of features{', ' * bool(there)}{', '.join(there[:8])}"
        if len(there) < 2:
            raise UserError(f"{said}; two are needed, of numbers [clips, dims], e.g. audio.npy and visual.npy")
        raise UserError(f"{said}; choose two: --views {','.join(there[:2])}")
    return there[0], there[1]


def _may_be_features(container: Container, key: str) -> bool:
    declared = container.declare(key)
    return declared.dtype.kind in "biuf" and len(declared.shape) > 1
