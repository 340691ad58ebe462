"""Recognises arrays of single clips, a file or a group for each clip, which no layout has, by their names."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from avtune.data.split_words import SPLIT_WORDS

_LEAST_CLIPS = 4
_MOST_VIEWS = 6
_MOST_NAMES = 10_000
_NO_CLIPS = {word for words in SPLIT_WORDS.values() for word in words}


def single_clips(names: Sequence[str]) -> tuple[str, ...]:
    """The views, where most of the names are a clip and a view (`clip7_audio`, `audio-clip7`, `clip7/audio`,
    `audio/clip7`), with every view for at least four clips; none where they are not.

    >>> single_clips([f"clip{i}_{view}" for i in range(4) for view in ("audio", "visual")])
    ('audio', 'visual')
    >>> single_clips([f"{view}_{split}" for view in ("audio", "visual", "lab", "x") for split in ("train", "test")])
    ()
    """
    for mark in ("/", "_", "-"):
        pairs = [one.rpartition(mark) for one in names[:_MOST_NAMES] if mark in one.strip(mark)]
        for parts in ([(p[0], p[2]) for p in pairs], [(p[2], p[0]) for p in (one.partition(mark) for one in names)]):
            clips: dict[str, set[str]] = {}
            for clip, view in parts:
                if clip and re.fullmatch(r"[A-Za-z]+", view):
                    clips.setdefault(view, set()).add(clip)
            first = next(iter(clips.values()), set())
            same = all(one == first for one in clips.values()) and not {*clips, *first} & _NO_CLIPS
            if 2 <= len(clips) <= _MOST_VIEWS and len(first) >= _LEAST_CLIPS and same:
                covered = len(clips) * len(first)
                if 2 * covered > len(names):
                    return tuple(clips)
    return ()


def how_to_stack(where: object, views: Iterable[str], example: str) -> str:
    """The message on them.

    Args:
        where: the file or folder.
        example: the name of one array.
    """
    saved = "; ".join(f"numpy.save('{view}.npy', numpy.stack([...]))" for view in [*views][:2])
    return (
        f"{where} holds arrays of single clips, e.g. {example}; an array for each view is read, with a row for each "
        f"clip\nstack them: {saved}; row i of each, and line i of a CSV of labels, must be the same clip"
    )


def in_folders(folder: Path) -> list[str]:
    """`FOLDER/NAME` of the .npy files in the folders of a folder."""
    try:
        return sorted(f"{file.parent.name}/{file.stem}" for file in folder.glob("*/*.npy"))[:_MOST_NAMES]
    except OSError:
        return []
