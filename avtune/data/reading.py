"""Reads what a layout has declared. Features that are large (`data.on_disk`) are mapped where the file holds them as
plain values, and else brought to a scratch file some rows at a time."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping

from avtune.core.system import size
from avtune.data.arrays import Array, Declared, check_memory
from avtune.data.dataset import Dataset
from avtune.data.on_disk import SHARE, filled, is_large, is_on_disk


def readers(
    declared: Mapping[str, Declared], features: Collection[str], others: Iterable[Declared] = ()
) -> dict[str, Callable[[], Array]]:
    """What reads each array. Nothing is read yet.

    Args:
        declared: by role.
        features: the roles of features; the others are labels, groups and the like.
        others: what is read besides.

    Raises:
        UserError: they do not fit the memory.
    """
    large = {role: declared[role] for role in features}
    if not is_large(sum(one.needed_bytes for one in large.values())):
        check_memory([*declared.values(), *others])
        return {role: one.read for role, one in declared.items()}
    on_disk = {role: read for role, one in large.items() if (read := _on_disk(one)) is not None}
    check_memory([*(one for role, one in declared.items() if role not in on_disk), *others])
    return {role: on_disk.get(role, one.read) for role, one in declared.items()}


def _on_disk(declared: Declared) -> Callable[[], Array] | None:
    """What gives features on disk; None where the file can only be read as a whole."""
    found = declared.mapped()
    if found is not None:
        return lambda: found
    if blocks := declared.blocks:
        return lambda: filled(declared.shape, blocks())
    if columns := declared.columns:
        return lambda: filled(declared.shape[::-1], columns()).T
    return None


def on_disk_notes(dataset: Dataset) -> list[str]:
    """What a user should know of features that stay on disk; nothing where all are in memory."""
    views = [view for split in (dataset.train, dataset.test) for view in (split.audio, split.visual)]
    held = sum(view.nbytes for view in views if is_on_disk(view))
    if not held:
        return []
    return [
        f"features of {size(held)} stay on disk: they are more than 1/{SHARE} of the memory; leave the file as it is "
        "until this has ended"
    ]
