"""Whether two systems differ over new queries and new seeds: Welch's t-test with both variances.

The paired randomisation test swaps systems on queries whose scores are means over the seeds, so it is of the models
that were trained: two methods that are alike differ for it whenever their seeds fell apart. Here the difference of the
means is set against the queries' scatter and that of the seeds together (Welch, Biometrika 34, 1947; degrees of freedom
by Satterthwaite, Biometrics Bulletin 2, 1946). What a seed adds on single queries is in both variances, which errs
towards finding less.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from avtune.metrics.significance import detectable_difference, finite


@dataclass(frozen=True)
class Variances:
    """Of the difference of two systems' mean scores.

    Attributes:
        total: over queries and seeds.
        seeds: the part of the seeds.
        freedom: degrees of freedom of `total`, infinite where nothing scatters.
    """

    total: float
    seeds: float
    freedom: float


def variances(differences: npt.ArrayLike, first: npt.ArrayLike, second: npt.ArrayLike) -> Variances | None:
    """Args:
        differences: score of one system minus that of the other, query by query [N]; means over the seeds.
        first, second: the mean score of each seed of both.

    Returns:
        None where they are not known: a system has one seed, or there is one query.
    """
    parts: list[tuple[float, int]] = []
    for values in (finite(differences), finite(first), finite(second)):
        if len(values) < 2:
            return None
        parts.append((float(values.var(ddof=1)) / len(values), len(values) - 1))
    total, squares = sum(part for part, _ in parts), sum(part**2 / freedom for part, freedom in parts)
    return Variances(total, parts[1][0] + parts[2][0], total**2 / squares if squares > 0 else math.inf)


def welch_test(differences: npt.ArrayLike, first: npt.ArrayLike, second: npt.ArrayLike) -> float | None:
    """Two-sided p-value of the difference of two systems over new queries and new seeds; None where that is not known.

    Args:
        differences, first, second: as `variances` takes them.

    >>> draw = np.random.default_rng(0)
    >>> apart = 0.01 + draw.normal(0, 0.1, 400)
    >>> p_clips = welch_test(apart, [0.60] * 5, [0.59] * 5)
    >>> p_both = welch_test(apart, [0.62, 0.58, 0.60, 0.61, 0.59], [0.59, 0.57, 0.61, 0.60, 0.58])
    >>> p_clips < p_both
    True
    """
    found = variances(differences, first, second)
    if found is None:
        return None
    mean = abs(float(np.mean(finite(differences))))
    if found.total < 1e-24:  # rounding alone
        return 1.0 if mean < 1e-12 else 0.0
    from scipy import special  # here: it takes a third of a second to import, and no engine needs it

    return 2 * float(special.stdtr(found.freedom, -mean / math.sqrt(found.total)))


def with_seeds(p: float, differences: npt.ArrayLike, first: npt.ArrayLike, second: npt.ArrayLike) -> float:
    """The larger one of a p-value over the queries and of that of `welch_test`; the first where the other is not known.

    Args:
        p: of the paired randomisation test.
        differences, first, second: as `variances` takes them.
    """
    over_seeds = welch_test(differences, first, second)
    return p if over_seeds is None else max(p, over_seeds)


def detectable_over_seeds(
    differences: npt.ArrayLike, first: npt.ArrayLike, second: npt.ArrayLike, level: float = 0.05, power: float = 0.8
) -> float:
    """The smallest true difference that both tests would have found, in a share `power` of experiments like this one:
    the larger one of `detectable_difference` and of `(t(1 - level/2) + z(power)) * sqrt(total)`.

    Args:
        differences, first, second: as `variances` takes them. Where a system has one seed, its variance counts as 0,
            and the paired randomisation test is the only one.
        level, power: as `detectable_difference` takes them.
    """
    found = variances(differences, first, second)
    seeds = 0.0 if found is None else found.seeds
    by_swaps = detectable_difference(differences, seeds, level, power)
    if found is None or found.total < 1e-24:
        return by_swaps
    from scipy import special  # as above

    quantiles = -float(special.stdtrit(found.freedom, level / 2)) + float(special.ndtri(power))
    return max(by_swaps, quantiles * math.sqrt(found.total))
