"""What a tie contributes to average precision: the mean over all orders of its items, in closed form.

A tie of n items, r of them relevant, follows `a` items of which `h` are relevant; 0 < r < n, else every order is the
same. All orders are equally likely, so of its first j items x are relevant, x hypergeometric, and given x their order
is again any. With A = sum 1 / (a + i) and B = sum (i - 1) / (a + i) over i = 1..j:

    E[sum of hits / rank over the relevant of the first j | x] = x / j ((h + 1) A + (x - 1) / (j - 1) B)

For j = n, x = r this is the tie's share of standard AP (McSherry and Najork, "Computing information retrieval
performance measures efficiently in the presence of tied scores", ECIR 2008). AP@k normalised by the hits so far is the
sum S of the ranks before plus this, over h + x. Its mean needs the means of 1 / (h + x), x / (h + x) and
x (x - 1) / (h + x), and all three follow from psi_j = E[h / (h + x)], read as P(x = 0) where h = 0:

    E[AP@(a + j)] = S / h psi_j + (h + 1) (1 - psi_j) (A / j - C) + C j r / n    with C = B / (j (j - 1))

psi obeys a recurrence of first order (ours: drawing one item more, and taking one away, relate it to its neighbours in
j and h; eliminating h leaves j), from psi_0 = 1 to psi_n = h / (h + r):

    (j + h) (n - j + 1) psi_j = h (n + 1) + j (n - r - h - j + 1) psi_(j - 1)
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

PLACES = 1 << 16
"""Places of ties worked on at a time, so that memory is bounded."""
FEW_PLACES = 1 << 12
"""So many places are worked out sooner than equal ties among them are found."""


@dataclass(frozen=True)
class Ties:
    """T ties of several queries, each of relevant and irrelevant items. Ordered by query.

    Attributes:
        query: which of the queries [T], as an index.
        before: items ranked before the tie, `a` [T].
        hits: relevant ones among these, `h` [T].
        size: items of the tie, `n` [T].
        relevant: relevant ones among these, `r` [T].
    """

    query: Ints
    before: Ints
    hits: Ints
    size: Ints
    relevant: Ints

    def __len__(self) -> int:
        return len(self.query)

    def places(self) -> tuple[Ints, Ints]:
        """Which relevant items of which queries are in ties: indices of a matrix [Q, R] of these items."""
        query = np.repeat(self.query, self.relevant)
        first = np.cumsum(self.relevant) - self.relevant - self.hits
        return query, np.arange(len(query)) - np.repeat(first, self.relevant)


@dataclass(frozen=True)
class TieMeans:
    """Means over the orders of T ties.

    Attributes:
        total: sum of hits / rank over the relevant items of each tie [T].
        kept: AP@k summed over the ranks of the tie is `kept` times AP at the last rank before it, plus `gained`. [T]
        gained: see `kept` [T].
    """

    total: Floats
    kept: Floats
    gained: Floats


def tie_means(ties: Ties) -> TieMeans:
    """The means over the orders of each tie, in O(n log n) for one of n items; of many, equal ones are done once."""
    if ties.size.sum() <= FEW_PLACES:
        return TieMeans(*_means(ties.before, ties.hits, ties.size, ties.relevant))
    every = np.stack([ties.before, ties.hits, ties.size, ties.relevant], axis=1)
    kinds, kind_T = np.unique(every, axis=0, return_inverse=True)
    means = np.empty((3, len(kinds)))
    ends = np.cumsum(kinds[:, 2])
    first = 0
    while first < len(kinds):
        start = ends[first] - kinds[first, 2]
        last = max(first + 1, int(np.searchsorted(ends, start + PLACES, side="right")))
        means[:, first:last] = _means(*kinds[first:last].T)
        first = last
    return TieMeans(*means[:, kind_T.reshape(-1)])


def _means(before: Ints, hits: Ints, size: Ints, relevant: Ints) -> tuple[Floats, Floats, Floats]:
    """`TieMeans` by arrays of all places of all ties, one tie after the other."""
    starts, longest = np.cumsum(size) - size, int(size.max())
    a, h, n, r = (np.repeat(each, size) for each in (before, hits, size, relevant))
    j = np.arange(1, len(n) + 1) - np.repeat(starts, size)
    harmonic = _scan((j > 1).astype(np.float64), 1 / (a + j), longest)
    pairs = (j - (a + 1) * harmonic) / (j * np.maximum(j - 1, 1))
    pairs[starts] = 0
    psi = _psi(j, h, n, r, longest)
    gained = (h + 1) * (1 - psi) * (harmonic / j - pairs) + pairs * j * r / n
    ends = starts + size - 1
    total = relevant / size * ((hits + 1) * harmonic[ends] + (relevant - 1) * size * pairs[ends])
    return total, np.add.reduceat(psi, starts), np.add.reduceat(gained, starts)


def _psi(j: Ints, h: Ints, n: Ints, r: Ints, longest: int) -> Floats:
    """psi at every place: up from psi_0 while the recurrence shrinks errors, and down from psi_n beyond.

    Its factor lies in [0, 1) at first, then falls through 0; where it is below -1 the way down has its reciprocal."""
    divisor = (j + h) * (n - j + 1)
    factor = j * (n - r - h - j + 1) / divisor
    offset = h * (n + 1) / divisor
    upward, first = factor >= -1, j == 1
    up = _scan(np.where(upward & ~first, factor, 0), np.where(first, factor + offset, offset), longest)
    if upward.all():
        return up
    last = j == n
    # The place after each one; what follows a tie's last place is not used.
    next_factor, next_offset = (np.append(each[1:], 0) for each in (factor, offset))
    inner = ~(upward | last)
    back = np.divide(1, next_factor, where=inner, out=np.zeros_like(factor))
    value = np.where(last, h / (h + r), -next_offset * back)
    down = _scan(back[::-1].copy(), value[::-1].copy(), longest)[::-1]
    return np.where(upward, up, down)


def _scan(factor: Floats, value: Floats, longest: int) -> Floats:
    """x_i = factor_i x_(i - 1) + value_i in log2(longest) passes (Hillis and Steele, CACM 29(12), 1986).

    Args:
        factor: 0 at least once in `longest` places; overwritten.
        value: overwritten with the result.
    """
    step = 1
    while step < longest:
        value[step:] += factor[step:] * value[:-step]
        factor[step:] *= factor[:-step]
        step *= 2
    return value
