"""Claim: 100,000 simulated trials on 512 devices take under a minute of one core.

The real study, rungs and dispatcher on the virtual clock of the runner `simulate`; recorded curves of the nearest
configuration, random configurations without Optuna (`study.simulated.UniformSuggestions`), no finals. A second table
has searches with TPE and finals, as `benchmarks.defaults` simulates them. A third has the same searches, seed by seed,
once with a race of the finalists and once with all seeds of every finalist: how often both name one winner, and what
the race saves. Its seeds are those of recorded runs (`study.simulated_curves`).
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from itertools import pairwise
from statistics import mean

from avtune.finals.turns import in_turns
from avtune.runners._base import Placement
from avtune.runners.costs import Costs, EpochCost
from avtune.runners.dispatcher import Dispatcher
from avtune.space.settings import FULL, RACE
from avtune.study.simulated import UniformSuggestions
from avtune.study.simulated_curves import Nearest
from avtune.workflows.open_study import horizon_of
from avtune.workflows.simulated_search import Setting, simulate
from benchmarks import _report, _simulated

GOAL = 60.0
_SHARE = f"{Dispatcher.__module__}.{Dispatcher.__name__}._share"
_ORDER = f"{simulate.__module__}.{in_turns.__name__}"


def main() -> None:
    parser = _report.arguments("simulate", __doc__)
    parser.add_argument("--curves", default="demo", help="a name in benchmarks/curves, or a file (demo)")
    parser.add_argument("--devices", type=int, default=512)
    parser.add_argument("--trials", type=int, default=100_000)
    parser.add_argument("--searches", type=int, default=60, help="simulated searches of each row of finals (60)")
    parser.add_argument("--only", choices=("large", "small", "finals", "shares"), help="one of the four tables")
    given = parser.parse_args()
    sizes = [given.trials // 100, given.trials // 10, given.trials]
    searches = [32, 64, 128]
    if given.quick:
        sizes, searches, given.searches = [given.trials // 1000], [8], 1
    sections = []
    if given.only in (None, "large"):
        sections += _large_section(given, sizes)
    if given.only in (None, "small"):
        small = [_small(given.curves, trials) for trials in searches]
        table = _report.table(["trials", "seconds of a core"], small)
        sections.append(f"## TPE, finals and retraining, two engines of four lanes, a surrogate's curves\n\n{table}")
    if given.only in (None, "finals"):
        sections += _finals_section(given, 8 if given.quick else None)
    if given.only in (None, "shares"):
        sections += _shares_section(given, 8 if given.quick else None)
    title = "Simulated searches"
    claim = "simulate" if given.only is None else f"simulate-{given.only}"
    print(_simulated.write(claim, given.curves, title, sections, given.out))


def _large_section(given: argparse.Namespace, sizes: Sequence[int]) -> list[str]:
    large = [_large(given.curves, trials, given.devices) for trials in sizes]
    head = ["trials", "stopped", "epochs", "simulated seconds", "seconds of a core", "microseconds an epoch"]
    held = "holds" if float(large[-1][4]) < GOAL else "does NOT hold"
    return [
        f"Claim: {sizes[-1]:,} trials on {given.devices} devices in under {GOAL:g} s of a core: {large[-1][4]} s, "
        f"{held}.",
        f"## Random configurations on {given.devices} devices, one trial at a time on each\n\n"
        + _report.table(head, large),
    ]


def _large(name: str, trials: int, devices: int) -> list[str]:
    known = _simulated.recorded(name)
    space = _simulated.changed(known.space, {"search.trials": trials})
    costs = Costs(lambda trial: EpochCost(0.01, 0.05, 0.01), suggestion=1e-4)
    setting = Setting(
        horizon_of(space, known.rows),
        Nearest(known),
        costs,
        costs,
        Placement(devices, devices, 1),
        suggestions=partial(UniformSuggestions, space, 0),
        choose=None,
    )
    start = time.process_time()
    found = simulate(setting)
    seconds = time.process_time() - start
    assert found.trials == trials
    each = 1e6 * seconds / found.search.epochs
    print(f"{trials} trials: {seconds:.1f} s", flush=True)
    figures = [f"{trials:,}", f"{found.stopped:,}", f"{found.search.epochs:,}", f"{found.seconds:.0f}"]
    return [*figures, f"{seconds:.1f}", f"{each:.0f}"]


def _small(name: str, trials: int) -> list[str]:
    variant = _simulated.Variant("shipped", "")
    _simulated.one_search(name, variant, 2, 0)  # fits the surrogate
    start = time.process_time()
    for seed in range(3):
        _simulated.one_search(name, variant, trials, seed)
    return [str(trials), f"{(time.process_time() - start) / 3:.2f}"]


def _finals_section(given: argparse.Namespace, trials: int | None) -> list[str]:
    spread, rows = _simulated.spread_of(given.curves), []
    for seeds in (3, 5):
        found = {
            policy: [
                _simulated.one_search(given.curves, _variant(seeds, policy), trials, seed)
                for seed in range(given.searches)
            ]
            for policy in (FULL, RACE)
        }
        rows.append(_finals_row(seeds, found[FULL], found[RACE], spread))
        print(f"finals of {seeds} seeds: {rows[-1]}", flush=True)
    head = ["seeds", "same winner", "validation MAP lost", "in the seeds' spread", "epochs of the finals", "s, full"]
    name = _simulated.title_of(given.curves)
    about = (
        f"{given.searches} searches a row, seed by seed the same up to their finals; {name}, whose runs differ over "
        f"seeds by {spread:.4f} (standard deviation). Lost: the mean curve's highest value of full finals' winner less "
        "that of the race's, with its 95 % bootstrap interval. Epochs: the race's as a share of the full finals'. s: "
        "simulated seconds of the whole command. `benchmarks/finals_race.py` has the same of finals that were run."
    )
    return [f"## Finals that race\n\n{about}\n\n{_report.table([*head, 's, race'], rows)}"]


def _variant(seeds: int, policy: str) -> _simulated.Variant:
    return _simulated.Variant(policy, "", {"final.seeds": seeds, "final.policy": policy})


def _finals_row(
    seeds: int, full: Sequence[_simulated.Outcome], race: Sequence[_simulated.Outcome], spread: float
) -> list[str]:
    pairs = list(zip(full, race, strict=True))
    assert all(one.search == other.search for one, other in pairs), "they are one search up to the finals"
    same = mean(one.worth == other.worth for one, other in pairs)
    lost = _simulated.interval([one.worth - other.worth for one, other in pairs])
    share = sum(one.finals for one in race) / sum(one.finals for one in full)
    return [
        str(seeds),
        f"{same:.1%}",
        "{:+.4f} ({:+.4f} to {:+.4f})".format(*lost),
        f"{lost[0] / spread:+.2f}" if spread else "–",
        f"{share:.0%}",
        f"{mean(one.seconds for one in full):.0f}",
        f"{mean(one.seconds for one in race):.0f}",
    ]


def _shares_section(given: argparse.Namespace, trials: int | None) -> list[str]:
    rows = []
    for seeds in (3, 5):
        for policy in (RACE, FULL):
            shared = _variant(seeds, policy)
            listed = replace(shared, name="as listed", patch=((_ORDER, _as_listed),))
            greedy = replace(listed, name="as each has room", patch=((_SHARE, _all), (_ORDER, _as_listed)))
            taken = [
                [_simulated.one_search(given.curves, variant, trials, seed).seconds for seed in range(given.searches)]
                for variant in (greedy, listed, shared)
            ]
            saved = [
                _simulated.interval([one - other for one, other in zip(before, after, strict=True)])
                for before, after in pairwise(taken)
            ]
            rows.append(
                [
                    str(seeds),
                    policy,
                    *(f"{mean(one):.1f}" for one in taken),
                    *("{:+.1f} ({:+.1f} to {:+.1f})".format(*one) for one in saved),
                ]
            )
            print(f"shares, {seeds} seeds: {rows[-1]}", flush=True)
    head = ["seeds", "finals", "s, as each has room", "s, shared out", "s, in turns", "s saved", "s saved by turns"]
    about = (
        f"{given.searches} searches a row, {_simulated.title_of(given.curves)}, two engines of four lanes. As each has "
        "room: an engine takes what fits; shared out: as much of what is left for every engine, configuration by "
        "configuration; in turns: so, and the first seeds of all configurations first (`avtune.finals.turns`). Seconds "
        "of the whole command on the virtual clock, with the 95 % bootstrap interval of what is saved. The reference "
        "row is not simulated."
    )
    return [f"## Runs of the finals shared out among engines\n\n{about}\n\n{_report.table(head, rows)}"]


def _as_listed(trials: Sequence[object], group_of: object) -> Sequence[int]:
    """In the place of `in_turns`: configuration by configuration."""
    return range(len(trials))


def _all(dispatcher: Dispatcher, mine: object) -> int:
    """In the place of `Dispatcher._share`: no limit."""
    return sys.maxsize


if __name__ == "__main__":
    main()
