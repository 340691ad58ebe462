"""What to say of a file or folder that has no known layout: what it holds, the nearest layout, and a `--map` to try."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from avtune.core.errors import did_you_mean
from avtune.data.layouts._base import Layout
from avtune.data.opening import files_of, keys_of, open_arrays
from avtune.data.proposal import proposal
from avtune.data.single_clips import how_to_stack, in_folders, single_clips

_SHOWN = 8


def unknown(path: Path, layouts: Sequence[Layout]) -> str:
    """The message.

    Raises:
        UserError: the file is of another kind than files of arrays, or damaged: what is the matter with it.
    """
    if path.is_dir() and not keys_of(path):
        inner = in_folders(path)
        if views := single_clips(inner):
            return how_to_stack(path, views, f"{inner[0]}.npy")
        names = [file.name for file in files_of(path)]
        inside = next((name for name in names if name.endswith((".h5", ".hdf5", ".npz", ".mat", ".parquet"))), None)
        hint = f"; did you mean '{path / inside}'?" if inside else ""
        held = (", ".join(names[:_SHOWN]) or "nothing") + (" ..." if len(names) > _SHOWN else "")
        return (
            f"{path} holds {held}, which is no dataset{hint}\n"
            "folders of .tfrecord shards, .mat or .npy arrays, AVE's files or Parquet tables are read: docs/data.md"
        )
    with open_arrays(path, layouts[0].KEYS) as container:
        keys = [*container.keys, *container.inner()]
        if views := single_clips([key for key in keys if "/" in key]) or single_clips(container.keys):
            return how_to_stack(path, views, next((key for key in keys if "/" in key), keys[0]))
        nearest = max(layouts, key=lambda one: sum(key in keys for key in one.KEYS))
        there = [key for key in nearest.KEYS if key in keys]
        missing = [key for key in nearest.KEYS if key not in keys]
        others = [key for key in keys if key not in nearest.KEYS]
        said = ", ".join(repr(key)[:40] for key in keys[:_SHOWN]) or "no array"
        more = " ..." if len(keys) > _SHOWN else ""
        if missing and len(there) > len(nearest.KEYS) // 2:
            hint = did_you_mean(missing[0], others)
            first = f"{path} has no key {', '.join(map(repr, missing))}{hint}; the layout {nearest.TITLE} has it"
        else:
            near = f"; the nearest layout is {nearest.TITLE}: {' '.join(nearest.KEYS)}" if len(there) > 1 else ""
            first = f"{path} has {said}{more}, which is no layout that is known{near}"
        proposed = proposal(container, keys)
    return f"{first}\nsay what they are, e.g.: --map {proposed}; docs/data.md lists the layouts"
