"""The average precision of every test query, from a study's `final/query_ap.npz`."""

from __future__ import annotations

import io

import numpy as np
import numpy.typing as npt

from avtune.data.layouts.npz import NPZ_ERRORS

Floats = npt.NDArray[np.float64]


def clip_ap(data: bytes, name: str) -> Floats | None:
    """Average precision of every test clip [N] from the content of a study's `query_ap.npz`: the mean over the seeds
    and both directions.

    Args:
        name: `test`, `default` or `untrained`.

    Returns:
        None when the file has nothing of that name.

    Raises:
        ValueError: the content is damaged.
    """
    try:
        kept = np.load(io.BytesIO(data), allow_pickle=False)
        if not isinstance(kept, np.lib.npyio.NpzFile):
            raise ValueError("it holds a single array")
        with kept:
            ways = [kept[f"{name}_{way}"] for way in ("a2v", "v2a") if f"{name}_{way}" in kept]
    except NPZ_ERRORS as error:
        raise ValueError(f"no npz: {error}") from None
    if not ways:
        return None
    if len(ways) != 2 or ways[0].ndim != 2 or ways[0].shape != ways[1].shape or not np.isfinite(ways).all():
        raise ValueError(f"{name} is not two finite arrays [seeds, clips]")
    return np.asarray(np.mean(ways, axis=(0, 1)), dtype=np.float64)
