"""What a bench found: its rows by mean test MAP, and which of them differ significantly.

The test is paired over the test clips. A clip's value is the mean, over the seeds and both directions, of its average
precision; the mean of these values is the row's MAP. Two rows differ when the randomisation test says so at `LEVEL`
after Holm's correction over all pairs of rows. Whether a row's tuned configuration differs from its default one is a
family of tests of its own.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt

from avtune.data.npz import NPZ_ERRORS
from avtune.metrics import holm, randomisation_test
from avtune.metrics.letters import letters
from avtune.seeds import mix

Floats = npt.NDArray[np.float64]

LEVEL = 0.05
ROUNDS = 10_000


@dataclass(frozen=True, eq=False)
class Row:
    """A finished method.

    Attributes:
        method: its name.
        metrics: what its `final/metrics.json` holds.
        config: the winning configuration.
        environment: what its `environment.json` holds.
        seconds: device seconds of the search's epochs.
        ap: average precision of every test clip [N], of the retrained winner.
        default_ap: of the default configuration; None when that is the winner, or failed.
    """

    method: str
    metrics: Mapping[str, Any]
    config: Mapping[str, Any]
    environment: Mapping[str, Any]
    seconds: float
    ap: Floats
    default_ap: Floats | None

    @property
    def map(self) -> float:
        return float(self.metrics["test"]["map"]["mean"])

    @property
    def gain(self) -> float | None:
        """MAP of the tuned configuration minus that of the default one; 0 when that won, None when it failed."""
        return self.map - self.metrics["default"]["map"]["mean"] if "default" in self.metrics else None


@dataclass(frozen=True, eq=False)
class Board:
    """A leaderboard.

    Attributes:
        about: what `bench.yaml` holds.
        rows: best mean test MAP first.
        letters: of each row: two rows that share one do not differ.
        p_values: Holm-adjusted, of every pair of rows [n, n]; 1 on the diagonal.
        gain_p: Holm-adjusted, of each row's tuned against its default configuration; None where they are one.
        failures: why a method has no row, by its name.
        pending: methods that have not finished.
    """

    about: Mapping[str, Any]
    rows: tuple[Row, ...]
    letters: tuple[str, ...]
    p_values: Floats
    gain_p: tuple[float | None, ...]
    failures: Mapping[str, str]
    pending: tuple[str, ...]


def clip_ap(data: bytes, name: str) -> Floats | None:
    """Average precision of every test clip [N] from the content of a study's `query_ap.npz`.

    Args:
        name: `test` or `default`.

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


def board(
    about: Mapping[str, Any],
    rows: Sequence[Row],
    failures: Mapping[str, str],
    pending: Sequence[str],
    known: MutableMapping[tuple[str, str], float],
) -> Board:
    """Orders and compares rows.

    Args:
        known: p-values of pairs compared before, by their names in order; new ones are added.
    """
    rows = sorted(rows, key=lambda row: (-row.map, row.method))
    count = len(rows)
    pairs = list(combinations(range(count), 2))
    p_values = np.ones((count, count))
    for (one, other), p in zip(pairs, _adjusted([_pair_p(rows[i], rows[j], known) for i, j in pairs]), strict=True):
        p_values[one, other] = p_values[other, one] = p
    gains: list[float | None] = [None] * count
    tuned = [place for place, row in enumerate(rows) if row.default_ap is not None]
    for place, p in zip(tuned, _adjusted([_gain_p(rows[place], known) for place in tuned]), strict=True):
        gains[place] = p
    return Board(
        about=about,
        rows=tuple(rows),
        letters=tuple(letters(p_values < LEVEL)),
        p_values=p_values,
        gain_p=tuple(gains),
        failures=dict(failures),
        pending=tuple(pending),
    )


def _adjusted(p_values: Sequence[float]) -> list[float]:
    return [float(p) for p in holm(p_values)] if p_values else []


def _pair_p(one: Row, other: Row, known: MutableMapping[tuple[str, str], float]) -> float:
    first, second = sorted((one, other), key=lambda row: row.method)
    return _p((first.method, second.method), first.ap, second.ap, known)


def _gain_p(row: Row, known: MutableMapping[tuple[str, str], float]) -> float:
    assert row.default_ap is not None
    return _p((row.method, f"{row.method} by default"), row.ap, row.default_ap, known)


def _p(names: tuple[str, str], first: Floats, second: Floats, known: MutableMapping[tuple[str, str], float]) -> float:
    if names not in known:
        known[names] = randomisation_test(first, second, seed=mix("leaderboard", *names), rounds=ROUNDS)
    return known[names]
