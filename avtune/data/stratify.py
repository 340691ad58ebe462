"""Iterative stratification: a split of multi-label clips in which each part has its share of every label.

Sechidis, Tsoumakas, Vlahavas 2011, "On the Stratification of Multi-Label Data" (ECML PKDD): labels are dealt out one
after the other, the one with the fewest clips left first, and each clip goes to the part that lacks most of that label.
Here what is dealt out are groups of clips that stay together, the largest first; a clip alone is a group of one. The
libraries that have this know no groups, and leave a rare label out of a part.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from avtune.core.errors import UserError

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


def multi_label_parts(
    labels: Bools, groups: Ints | None, *, fraction: float | None, folds: int | None, seed: int
) -> list[Ints]:
    """The validation rows of each fold, sorted; every label has a row on both sides of each.

    Args:
        labels: bool [N, C], a label in every row.
        groups: int64 [N], rows that stay together; None for none.
        fraction: about the share of the validation rows.
        folds: number of folds. Exactly one of the two is given.

    Raises:
        UserError: a number out of range, a label in fewer groups than folds, or no such split is found.
    """
    unit = np.arange(len(labels)) if groups is None else np.unique(groups, return_inverse=True)[1]
    counts_UC = np.zeros((int(unit.max()) + 1, labels.shape[1]), np.int64)
    np.add.at(counts_UC, unit, labels)
    _check(counts_UC > 0, fraction, folds, grouped=len(counts_UC) < len(labels))
    shares = [1 - fraction, fraction] if fraction is not None else [1 / (folds or 1)] * (folds or 1)
    part_U = iterative_stratification(counts_UC, np.bincount(unit), shares, np.random.default_rng(seed))
    chosen = [1] if fraction is not None else range(len(shares))
    inside = [_with_every_label(counts_UC > 0, np.bincount(unit), part_U == part) for part in chosen]
    return [np.flatnonzero(one[unit]) for one in inside]


def iterative_stratification(counts_UC: Ints, sizes_U: Ints, shares: Sequence[float], rng: np.random.Generator) -> Ints:
    """The part of each unit [U].

    Args:
        counts_UC: clips of each unit that have each label.
        sizes_U: clips of each unit.
        shares: of the parts, which sum to 1.
        rng: decides where units, labels or parts are alike.
    """
    lacks_P = np.array(shares) * sizes_U.sum()
    left_C = counts_UC.sum(axis=0)
    lacks_PC = np.outer(shares, left_C)
    part_U = np.full(len(counts_UC), -1)
    order_U, order_P = rng.permutation(len(counts_UC)), rng.permutation(len(shares))
    order_U = order_U[np.argsort(-sizes_U[order_U], kind="stable")]
    while left_C.any():
        label = int(np.where(left_C > 0, left_C, left_C.max() + 1).argmin())
        for unit in order_U[(part_U[order_U] < 0) & (counts_UC[order_U, label] > 0)]:
            part = order_P[np.lexsort((-lacks_P[order_P], -lacks_PC[order_P, label]))[0]]
            part_U[unit] = part
            lacks_P[part] -= sizes_U[unit]
            lacks_PC[part] -= counts_UC[unit]
            left_C -= counts_UC[unit]
    return part_U


def _check(has_UC: Bools, fraction: float | None, folds: int | None, *, grouped: bool) -> None:
    """Raises:
    UserError: a number out of range, or a label in fewer units than folds.
    """
    units_C = has_UC.sum(axis=0)
    rarest, least = int(units_C.argmin()), int(units_C.min())
    if fraction is not None and not 0 < fraction < 1:
        raise UserError(f"a split fraction of {fraction:g}; allowed: above 0 and below 1")
    if folds is not None and folds < 2:
        raise UserError(f"{folds} folds; allowed: 2 to {least} for this dataset")
    if (folds or 2) > least:
        what = "groups of clips that stay together" if grouped else "training clips"
        needs = "a split needs 2" if folds is None else f"{folds} folds need {folds}"
        raise UserError(
            f"label {rarest} (from 0) is in {least} {what}; {needs} of every label\n"
            "what helps: add clips, or remove the label"
        )


def _with_every_label(has_UC: Bools, sizes_U: Ints, inside_U: Bools) -> Bools:
    """Which units are inside, with units moved so that every label is on both sides: each time the smallest one whose
    move takes no label away.

    Raises:
        UserError: there is none.
    """
    inside_U = inside_U.copy()
    for side in (True, False):
        for label in np.flatnonzero(~has_UC[inside_U == side].any(axis=0)):
            if has_UC[inside_U == side, label].any():
                continue  # an earlier move has brought it
            other_C = has_UC[inside_U != side].sum(axis=0)
            may_U = (inside_U != side) & has_UC[:, label] & ~(has_UC & (other_C == 1)).any(axis=1)
            if not may_U.any():
                raise UserError(
                    f"no split was found with every label on both sides: label {label} (from 0) is rare, and its clips "
                    "have other rare labels\nwhat helps: another seed (--set search.seed=1), or remove the label"
                )
            candidates = np.flatnonzero(may_U)
            inside_U[candidates[sizes_U[candidates].argmin()]] = side
    return inside_U
