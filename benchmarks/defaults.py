"""Claim: no other value of a default that decides cost or quality is clearly better than the shipped one.

Every such default is a line, with other values below it: grace and factor of the rungs, their rounding, the share of
trials that TPE counts as good, random trials before TPE, trials at a time, finalists, and seeds. Each is searched many
times on a virtual clock, with curves of a surrogate that is fitted to recorded ones (`benchmarks/curves`).
"""

from __future__ import annotations

import argparse
from math import ceil
from pathlib import Path
from typing import Any

from avtune.space.settings import FULL
from avtune.study import optuna_private
from avtune.study.rungs import Asynchronous
from avtune.study.window import BEST
from benchmarks import _report, _simulated
from benchmarks._rung_policies import RoundsDown
from benchmarks._simulated import Variant

SHIPPED = "shipped"


def _share(part: int) -> tuple[tuple[str, Any], ...]:
    """One trial in so many counts as good."""
    return ((f"{optuna_private.__name__}.{optuna_private.good_trials.__name__}", _Good(part)),)


class _Good:
    """How many of the best trials count as good; a class, so that it travels to other processes."""

    def __init__(self, part: int) -> None:
        self._part = part

    def __call__(self, ended: int) -> int:
        return min(ceil(ended / self._part), BEST)


def _rounded_down(space: Any) -> Asynchronous:
    return Asynchronous(RoundsDown(space.early_stopping.factor))


def variants(space: Any) -> list[Variant]:
    """All of them, the shipped one first."""
    grace, factor = space.early_stopping.grace, space.early_stopping.factor
    startup, finalists, seeds = space.search.startup_trials, space.final.finalists, space.final.seeds
    made = [Variant(SHIPPED, "")]
    for value in (1, 2, 3, 5, 8):
        made += [Variant(f"grace {value}", "rungs", {"early_stopping.grace": value})] * (value != grace)
    for value in (2, 3, 4, 6):
        made += [Variant(f"factor {value}", "rungs", {"early_stopping.factor": value})] * (value != factor)
    made.append(Variant("no stopping", "rungs", {"early_stopping.grace": 99_999}))
    made.append(Variant("rounds down, at least 1", "rounding", rungs=_rounded_down))
    for part in (5, 10, 40):
        made.append(Variant(f"1 in {part} good", "TPE's good trials (shipped: 1 in 20)", patch=_share(part)))
    for value in (3, 5, 10, 20):
        name = "random trials before TPE"
        made += [Variant(f"startup {value}", name, {"search.startup_trials": value})] * (value != startup)
    made.append(Variant("random search", "random trials before TPE", {"search.sampler": "random"}))
    for lanes in (1, 2, 8, 16):
        made.append(Variant(f"{2 * lanes} at a time", "trials at a time (here: 2 engines of 4 lanes)", lanes=lanes))
    for value in (1, 2, 3, 5, 8):
        made += [Variant(f"{value} finalists", "finalists", {"final.finalists": value})] * (value != finalists)
    for value in (1, 2, 3, 5, 8):
        made += [Variant(f"{value} seeds", "seeds of the finals", {"final.seeds": value})] * (value != seeds)
    made.append(Variant("every finalist has all seeds", "seeds of the finals", {"final.policy": FULL}))
    made.append(Variant("no finals", "seeds of the finals", finals=False))
    return made


def main() -> None:
    parser = _report.arguments("defaults", __doc__)
    _simulated.add_options(parser)
    given = parser.parse_args()
    if given.quick:
        given.searches, given.trials = 2, 8
    sections: list[str] = [_simulated.READING]
    for name in given.curves.split(","):
        sections = _of(name, given, sections)
    print(_write(given, sections))


def _of(name: str, given: argparse.Namespace, before: list[str]) -> list[str]:
    """The sections of a dataset's curves, after those before. The report is written after every group of variants, so
    that it may be interrupted."""
    space = _simulated.recorded(name).space
    every = variants(space)
    results = _simulated.run(name, every[:1], given, given.trials)
    groups = list(dict.fromkeys(one.group for one in every if one.group))
    sections: list[str] = []
    for number, group in enumerate(groups, 1):
        results |= _simulated.run(name, [one for one in every if one.group == group], given, given.trials)
        best = _simulated.best_known(name, results)
        about = _simulated.about(name, given.searches, given.trials or space.search.trials)
        facts = f"{about} Best known: {best:.4f}. {_defaults(space)}"
        found = _simulated.verdict(results, SHIPPED)
        sections = [*before, f"## {_simulated.title_of(name)}\n\n{facts}\n\n{found}"]
        for done in groups[:number]:
            names = [SHIPPED, *(one.name for one in every if one.group == done)]
            table = _report.table(_simulated.HEAD, _simulated.rows(results, names, SHIPPED, best))
            sections.append(f"### {done}\n\n{table}")
        _write(given, sections)
    return sections


def _write(given: argparse.Namespace, sections: list[str]) -> Path:
    return _simulated.write("defaults", given.curves, "The defaults of a search, simulated", sections, given.out)


def _defaults(space: Any) -> str:
    stop, final = space.early_stopping, space.final
    return (
        f"Shipped: grace {stop.grace}, factor {stop.factor}, {space.search.startup_trials} random trials, "
        f"{final.finalists} finalists and the default configuration, {final.seeds} seeds in a race."
    )


if __name__ == "__main__":
    main()
