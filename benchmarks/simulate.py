"""Claim: 100,000 simulated trials on 512 devices take under a minute of one core.

The real study, rungs and dispatcher on the virtual clock of the runner `simulate`; recorded curves of the nearest
configuration, random configurations without Optuna (`study.simulated.UniformSuggestions`), no finals. A second table
has searches with TPE and finals, as `benchmarks.defaults` simulates them.
"""

from __future__ import annotations

import time
from functools import partial

from avtune.runners._base import Placement
from avtune.runners.costs import Costs, EpochCost
from avtune.study.simulated import UniformSuggestions
from avtune.study.simulated_curves import Nearest
from avtune.workflows.open_study import horizon_of
from avtune.workflows.simulated_search import Setting, simulate
from benchmarks import _report, _simulated

GOAL = 60.0


def main() -> None:
    parser = _report.arguments("simulate", __doc__)
    parser.add_argument("--curves", default="demo", help="a name in benchmarks/curves, or a file (demo)")
    parser.add_argument("--devices", type=int, default=512)
    parser.add_argument("--trials", type=int, default=100_000)
    given = parser.parse_args()
    sizes = [given.trials // 100, given.trials // 10, given.trials]
    searches = [32, 64, 128]
    if given.quick:
        sizes, searches = [given.trials // 1000], [8]
    large = [_large(given.curves, trials, given.devices) for trials in sizes]
    small = [_small(given.curves, trials) for trials in searches]
    head = ["trials", "stopped", "epochs", "simulated seconds", "seconds of a core", "microseconds an epoch"]
    held = "holds" if float(large[-1][4]) < GOAL else "does NOT hold"
    sections = [
        f"Claim: {sizes[-1]:,} trials on {given.devices} devices in under {GOAL:g} s of a core: {large[-1][4]} s, "
        f"{held}.",
        f"## Random configurations on {given.devices} devices, one trial at a time on each\n\n"
        + _report.table(head, large),
        "## TPE, finals and retraining, two engines of four lanes, a surrogate's curves\n\n"
        + _report.table(["trials", "seconds of a core"], small),
    ]
    title = "Simulated searches"
    print(_simulated.write("simulate", given.curves, title, sections, given.out))


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


if __name__ == "__main__":
    main()
