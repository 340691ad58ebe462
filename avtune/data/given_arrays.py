"""Arrays that a program gives, in whatever form its libraries have them, copied as NumPy arrays."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from avtune.core.errors import UserError, choices, did_you_mean
from avtune.core.words import plural
from avtune.data.on_disk import copied


def copy_of(given: npt.ArrayLike, where: str, *, features: bool = False) -> npt.NDArray[Any]:
    """A copy; one of `numpy.load(..., mmap_mode="r")` stays on disk where it is large.

    Args:
        where: what messages call it.
        features: it is a view, whose rows may not be lists; labels may.

    Raises:
        UserError: no array can be made of it, or its values are not those that it shows: it is sparse, has masked
            values, or is a column of arrays.
    """
    if hasattr(given, "toarray") and type(given).__module__.startswith("scipy.sparse"):
        raise UserError(f"{where} is a sparse matrix; give it whole: x.toarray()")
    if isinstance(given, np.ma.MaskedArray) and np.ma.getmaskarray(given).any():
        count = int(np.ma.getmaskarray(given).reshape(len(given), -1).any(axis=1).sum())
        raise UserError(
            f"{where} has masked values in {plural(count, 'row')}; leave these clips out, or fill them: x.filled(0)"
        )
    try:
        made = copied(given) if isinstance(given, np.memmap) else np.array(given, copy=True, order="C")
    except (TypeError, ValueError, RuntimeError) as error:  # rows of different lengths; a tensor that is on a GPU
        raise UserError(f"{where} cannot be made an array: {str(error).splitlines()[0]}") from None
    if (
        features
        and made.dtype.kind == "O"
        and made.ndim == 1
        and len(made)
        and isinstance(made[0], np.ndarray | list | tuple)
    ):
        raise UserError(
            f"{where} is a column of arrays, one a clip; give one array [clips, dims]: numpy.stack(list(x))"
        )
    return made


def given_groups(groups: Mapping[str, npt.ArrayLike] | None, splits: Mapping[str, str]) -> dict[str, npt.NDArray[Any]]:
    """Groups of the clips by the short names of the splits.

    Args:
        splits: by their names, the short names of those that are given.

    Raises:
        UserError: they are no mapping, or name a split that is not given.
    """
    if groups is None:
        return {}
    if not isinstance(groups, Mapping):
        raise UserError(f"groups is a {type(groups).__name__}; give them by split: {{'train': [...], 'test': [...]}}")
    for name in groups:
        if name not in splits:
            raise UserError(f"groups names {name!r}{did_you_mean(str(name), splits)}; the splits are {choices(splits)}")
    return {splits[name]: copy_of(array, f"arrays: groups of {name}") for name, array in groups.items()}
