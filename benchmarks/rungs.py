"""Claim: ASHA as shipped stops trials at a better price than the other rules, at the same regret.

Rules are `avtune.study.rungs` policies; those that are not shipped are in `benchmarks/_rung_policies.py`, with their
sources. Each is searched many times on a virtual clock, with curves of a surrogate that is fitted to recorded ones.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from avtune.space.space import Space
from avtune.study.asha import Asha
from avtune.study.rungs import Asynchronous, RungPolicy
from benchmarks import _report, _simulated
from benchmarks._rung_policies import Hyperband, LearningCurve, Median, Pasha, RoundsDown
from benchmarks._simulated import Variant

SHIPPED = "ASHA, rounded up (shipped)"
_OTHERS: dict[str, Callable[[int], RungPolicy]] = {
    "PASHA": Pasha,
    "Hyperband, 2 brackets": partial(Hyperband, brackets=2),
    "Hyperband, 3 brackets": Hyperband,
    "median rule": Median,
    "learning curves, 5 %": LearningCurve,
    "learning curves, 20 %": partial(LearningCurve, chance=0.2),
}


def _policy(make: Callable[[int], RungPolicy], space: Space) -> RungPolicy:
    return make(space.early_stopping.factor)


def _rounded_down(factor: int) -> RungPolicy:
    return Asynchronous(RoundsDown(factor))


def _twice(factor: int) -> RungPolicy:
    """Stops half at every rung: rungs of a factor of 3 with the places of 2."""
    return Asynchronous(Asha(2))


def variants() -> list[Variant]:
    """The shipped rule first."""
    return [
        Variant(SHIPPED, "all"),
        Variant("ASHA, rounded down", "all", rungs=partial(_policy, _rounded_down)),
        Variant("ASHA, 1 in 2 at the same rungs", "all", rungs=partial(_policy, _twice)),
        *(Variant(name, "all", rungs=partial(_policy, make)) for name, make in _OTHERS.items()),
        Variant("no stopping", "all", {"early_stopping.grace": 99_999}),
    ]


def main() -> None:
    parser = _report.arguments("rungs", __doc__)
    _simulated.add_options(parser)
    given = parser.parse_args()
    if given.quick:
        given.searches, given.trials = 2, 8
    sections = [_simulated.READING]
    for name in given.curves.split(","):
        space = _simulated.recorded(name).space
        for trials in [given.trials] if given.trials else [space.search.trials, 2 * space.search.trials]:
            results = _simulated.run(name, variants(), given, trials)
            best = _simulated.best_known(name, results)
            table = _report.table(_simulated.HEAD, _simulated.rows(results, list(results), SHIPPED, best))
            about = _simulated.about(name, given.searches, trials)
            found = _simulated.verdict(results, SHIPPED)
            head = f"## {_simulated.title_of(name)}, {trials} trials"
            sections.append(f"{head}\n\n{about} Best known: {best:.4f}.\n\n{found}\n\n{table}")
            title = "Rules that stop trials, simulated"
            print(_simulated.write("rungs", given.curves, title, sections, given.out), flush=True)


if __name__ == "__main__":
    main()
