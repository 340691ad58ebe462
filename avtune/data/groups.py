"""Rows that belong on one side of a split: those of one group (the clips of a video), and equal rows."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from avtune.core.errors import UserError
from avtune.core.words import plural
from avtune.data.labels import read_whole

BLOCK_ROWS = 4096
MOST_PARTS = 20
"""Of which some are taken for a fraction; more for a fraction below one part."""
GROUP_KEYS = ("group_train", "group_val", "group_test")
"""Beside the six keys: what each clip is a part of, e.g. its video."""
Labels = npt.NDArray[np.int64]


def read_groups(
    given: Mapping[str, npt.NDArray[Any]], where: Mapping[str, str], rows: int
) -> tuple[Labels | None, Labels | None]:
    """The groups of the training clips, those of a given validation split included, and of the test clips; None where
    they are not given.

    Args:
        given: arrays of a dataset by their keys, see `dataset.from_arrays`.
        where: what messages call each of these keys.
        rows: training clips.

    Raises:
        UserError: they are no groups of these clips.
    """
    kept = [key for key in GROUP_KEYS if key in given]
    if not kept:
        return None, None
    wanted = ["group_train", *(["group_val"] if "lab_val" in given else [])]
    for key in wanted:
        if key not in given:
            raise UserError(f"{where[key]} is missing, where {where[kept[0]]} is there; give the groups of all clips")
    read = dict(zip(kept, _numbered([given[key] for key in kept], [where[key] for key in kept]), strict=True))
    groups = np.concatenate([read[key] for key in wanted])
    if len(groups) != rows:
        raise UserError(f"{where['group_train']} has {plural(len(groups), 'row')} for {plural(rows, 'training clip')}")
    return groups, read.get("group_test")


def _numbered(arrays: Sequence[npt.NDArray[Any]], where: Sequence[str]) -> list[Labels]:
    """Groups of several splits in one numbering."""
    for array, name in zip(arrays, where, strict=True):
        if array.size != len(array.reshape(-1)) or array.ndim > 2 or (array.ndim == 2 and 1 not in array.shape):
            raise UserError(f"{name} has shape {array.shape}; groups are [clips]")
    ends = np.cumsum([array.size for array in arrays])[:-1]
    together = np.concatenate([array.reshape(-1) for array in arrays])
    return list(np.split(read_whole(together, where[0]), ends))


def row_digests(views: Sequence[npt.NDArray[Any]]) -> list[bytes]:
    """A digest of all views of every row; equal for equal numbers."""
    digests = []
    for start in range(0, len(views[0]), BLOCK_ROWS):
        blocks = [np.asarray(one[start : start + BLOCK_ROWS], np.float32) for one in views]
        both = np.ascontiguousarray(np.concatenate(blocks, axis=1))
        with np.errstate(invalid="ignore"):  # of a signalling NaN; it is said where features are checked
            both += np.float32(0)  # -0.0 becomes 0.0, which it equals
        digests += [hashlib.blake2b(row, digest_size=16).digest() for row in both]
    return digests


def together(views: Sequence[npt.NDArray[Any]], groups: Labels | None = None) -> Labels | None:
    """Groups of rows that stay together, numbered by their first row: those of one group, equal rows, and whatever
    hangs together by these. None where every row stands alone.

    Args:
        views: features [N, D] each.
        groups: int64 [N]; None for none.
    """
    from scipy.sparse import coo_array  # here: half a second to import
    from scipy.sparse.csgraph import connected_components

    first: dict[bytes, int] = {}
    equal = np.array([first.setdefault(digest, row) for row, digest in enumerate(row_digests(views))])
    rows = np.arange(len(equal))
    pairs = [(rows, equal)]
    if groups is not None:
        _, firsts, of = np.unique(groups, return_index=True, return_inverse=True)
        pairs.append((rows, firsts[of]))
    if all((one == rows).all() for _, one in pairs):
        return None
    start, end = (np.concatenate(side) for side in zip(*pairs, strict=True))
    links = coo_array((np.ones(len(start), bool), (start, end)), shape=(len(rows), len(rows)))
    return np.asarray(connected_components(links, directed=False)[1], np.int64)


def divided(
    labels: Labels, groups: Labels, *, fraction: float | None, folds: int | None, seed: int
) -> list[npt.NDArray[np.int64]]:
    """The validation rows of each fold, sorted: stratified by class as far as whole groups allow.

    Args:
        labels, groups: int64 [N].
        fraction: share of the validation rows, met to about one part in `MOST_PARTS`, or to the size of a group.
        folds: number of folds. Exactly one of the two is given.

    Raises:
        UserError: a number out of range, a class whose rows are in fewer groups than folds, or no split in which both
            sides have every class is found.
    """
    from sklearn.model_selection import StratifiedGroupKFold  # here: it takes two seconds to import

    classes = np.unique(labels)
    in_groups = {int(one): len(np.unique(groups[labels == one])) for one in classes}
    rarest = min(in_groups, key=in_groups.__getitem__)
    least = in_groups[rarest]
    if fraction is not None and not 0 < fraction < 1:
        raise UserError(f"a split fraction of {fraction:g}; allowed: above 0 and below 1")
    if folds is not None and folds < 2:
        raise UserError(f"{folds} folds; allowed: 2 to {least} for this dataset")
    if (folds or 2) > least:
        raise UserError(
            f"the clips of class {rarest} (from 0) are in {plural(least, 'group')}, which stay together; "
            f"{'a split' if folds is None else f'{folds} folds'} need {folds or 2} groups of every class\n"
            "groups are those of the file, and equal clips; what helps: other groups, or remove the class"
        )
    most = min(len(np.unique(groups)), int(np.bincount(labels).max()))  # more parts are refused by scikit-learn
    parts, taken = (folds, 1) if folds is not None else _closest(fraction or 0.0, most)
    divider = StratifiedGroupKFold(parts, shuffle=True, random_state=seed)
    with warnings.catch_warnings():  # that a class has fewer rows than there are parts; each side gets one below
        warnings.filterwarnings("ignore", "The least populated class", UserWarning)
        made = [part for _, part in divider.split(labels, labels, groups)]
    chosen = made if folds is not None else [np.sort(np.concatenate(made[:taken]))]
    return [_with_every_class(labels, groups, part, classes) for part in chosen]


def _closest(fraction: float, most: int) -> tuple[int, int]:
    """(parts, how many of them are taken) whose ratio is closest to a fraction."""
    pairs = [(parts, taken) for parts in range(2, min(most, MOST_PARTS) + 1) for taken in range(1, parts)]
    pairs += [(min(most, round(1 / fraction)), 1)] if most > MOST_PARTS and 1 / fraction > MOST_PARTS else []
    return min(pairs, key=lambda pair: (round(abs(pair[1] / pair[0] - fraction), 9), pair[0]))


def _with_every_class(
    labels: Labels, groups: Labels, part: npt.NDArray[np.int64], classes: npt.NDArray[np.int64]
) -> npt.NDArray[np.int64]:
    """The part, with a group moved to or from it for each class that one side lacks.

    Raises:
        UserError: that takes another class away from a side.
    """
    inside = np.zeros(len(labels), bool)
    inside[part] = True
    for side in (True, False):
        for lacking in np.setdiff1d(classes, labels[inside == side]):
            candidates = np.unique(groups[(labels == lacking) & (inside != side)])
            sizes = [int((groups == one).sum()) for one in candidates]
            inside[groups == candidates[int(np.argmin(sizes))]] = side
    for side, name in ((True, "validation"), (False, "training")):
        lost = np.setdiff1d(classes, labels[inside == side])
        if len(lost):
            raise UserError(
                f"no split keeps the groups whole and every class on both sides: class {lost[0]} (from 0) has no clip "
                f"for {name}\nwhat helps: smaller groups, or another seed (--set search.seed=1)"
            )
    return np.flatnonzero(inside)
