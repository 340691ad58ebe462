"""Claim: eight configurations of a method, chosen on other data, find more with the same number of trials.

    python -m benchmarks.portfolio psd

Random configurations, the same ones on every data set of `_portfolio_sets.py`, are trained and kept in
`benchmarks/portfolios/METHOD/`, a file a data set; what is there is not trained again, and more `--trials` add to it.
From them `_portfolio_choice.py` chooses eight, and judges portfolios on data sets that they were made without.
`avtune/portfolios/METHOD.yaml` is written with how it was made. A data set that is not here, and has no recordings, is
left out and named.

    python -m benchmarks.portfolio psd --without yt8m_ave15 --write held_out.yaml

writes a portfolio that knows nothing of a family of data sets, a file for `avtune search --start`.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from avtune.core.errors import UserError
from avtune.core.files import write_bytes
from avtune.methods import METHODS, hypers_of
from avtune.space.files import load as load_space
from avtune.space.space import Space
from avtune.study.recorded_curves import SUFFIX, RecordedCurves, read_recorded
from avtune.study.simulated_curves import Surrogate
from avtune.workflows.portfolio import FOLDER as SHIPPED
from benchmarks import _report, record_curves
from benchmarks._portfolio_choice import DEFAULT, Judged, Table, choose, judge
from benchmarks._portfolio_report import Gains, file_text, point_of, provenance, sections
from benchmarks._portfolio_searches import Gain, gain
from benchmarks._portfolio_sets import SETS

FOLDER = Path(__file__).parent / "portfolios"
SHORT = ("space.hidden_dim=128", "early_stopping.steps=135")
"""Narrow encoders; runs of at most so many steps, or 27 epochs where these are more."""
QUICK = ("space.hidden_dim=8", "early_stopping.epochs=2")
QUICK_SETS = ("cancer_halves", "digits_halves", "digits_rows")
TRIALS = (16, 32, 64)
"""Of simulated searches."""


def main() -> None:
    parser = _report.arguments("portfolio", __doc__)
    parser.add_argument("method", nargs="?", default="psd", choices=sorted(METHODS), help="whose portfolio (psd)")
    parser.add_argument("--trials", type=int, default=64, help="configurations, the default among them (64)")
    parser.add_argument("--lanes", type=int, default=8, help="runs that are trained at a time (8)")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--minutes", type=float, help="no data set is begun after so many; 0: train nothing")
    parser.add_argument("--recordings", type=Path, default=FOLDER, help="their folder (benchmarks/portfolios)")
    parser.add_argument("--without", action="append", default=[], help="a family of data sets that takes no part")
    parser.add_argument("--write", type=Path, help="the file (avtune/portfolios/METHOD.yaml)")
    parser.add_argument("--searches", type=int, default=20, help="simulated searches of each kind (20; 0: none)")
    parser.add_argument("--startup", type=int, help="random trials of those with the portfolio (as those without: 10)")
    given = parser.parse_args()
    if given.without and given.write is None:
        parser.error("--without makes a portfolio that is not to be shipped: say where with --write FILE")
    if given.quick:
        given.trials, given.searches, given.recordings = 3, 1, given.out / "portfolios"
        given.write = given.write or given.out / f"{given.method}.yaml"
    path = given.write or SHIPPED / f"{given.method}.yaml"
    left_out = record(given, space_of(given.method, quick=given.quick))
    recorded = recordings(given.recordings / given.method)
    if given.without:
        recorded = {name: one for name, one in recorded.items() if SETS[name].family not in given.without}
    table = table_of(recorded)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(path, text_of(given, recorded, table).encode(), private=False)
    print(path)
    if not given.without:
        print(report(given, recorded, table, left_out))


def space_of(method: str, *, quick: bool = False) -> Space:
    """What configurations are drawn from: the method's own space, with short runs."""
    return load_space(method, hypers_of=hypers_of, method_names=METHODS, overrides=QUICK if quick else SHORT)


def record(given: argparse.Namespace, space: Space) -> list[str]:
    """Trains what is missing. Returns what was left out, a line each."""
    folder = given.recordings / given.method
    begun, left_out = time.monotonic(), []
    options = argparse.Namespace(
        trials=given.trials,
        sought=0,
        seeds=1,
        default_seeds=None,
        lanes=given.lanes,
        device=given.device,
        out=folder,
    )
    for name, one in SETS.items():
        if (given.quick and name not in QUICK_SETS) or _is_recorded(folder / f"{name}{SUFFIX}", given.trials):
            continue
        if given.minutes is not None and time.monotonic() - begun >= 60 * given.minutes:
            left_out.append(f"{name}: not trained to {given.trials} configurations in {given.minutes:g} minutes")
            continue
        try:
            data = one.make()
        except UserError as error:
            left_out.append(f"{name}: {error}")
            continue
        print(f"{name}: {len(data.train)} training clips, {data.classes_text}, {data.dims_text}", flush=True)
        record_curves.record(data, space, options, "portfolio")
    return left_out


def _is_recorded(path: Path, trials: int) -> bool:
    return path.is_file() and max(read_recorded(path).by_configuration) + 1 >= trials


def recordings(folder: Path) -> dict[str, RecordedCurves]:
    """What is recorded of a method, by data set in the order of `SETS`."""
    found = {name: folder / f"{name}{SUFFIX}" for name in SETS}
    return {name: read_recorded(path) for name, path in found.items() if path.is_file()}


def table_of(recorded: Mapping[str, RecordedCurves]) -> Table:
    """The best value of every configuration that all data sets have.

    Raises:
        SystemExit: there is nothing to choose from.
    """
    if not recorded:
        raise SystemExit("nothing is recorded, and no data set is here; AVTUNE_DATA names the folder of the real ones")
    count = min(max(one.by_configuration) + 1 for one in recorded.values())
    values = np.full((len(recorded), count), np.nan)
    for row, one in zip(values, recorded.values(), strict=True):
        for number, runs in one.by_configuration.items():
            if number < count:
                row[number] = max(runs[0].curve)
        row[np.isnan(row)] = np.nanmin(row)  # it failed
    return Table(list(recorded), [SETS[name].family for name in recorded], values)


def text_of(given: argparse.Namespace, recorded: Mapping[str, RecordedCurves], table: Table) -> str:
    """What the file of the portfolio holds."""
    configs = {number: runs[0].config for one in recorded.values() for number, runs in one.by_configuration.items()}
    points = [point_of(configs[column]) for column in choose(table)]
    words = [Path(word).name if "/" in word else word for word in sys.argv[1:]]
    return file_text(given.method, points, provenance(recorded, digest(recorded), words))


def digest(recorded: Mapping[str, RecordedCurves]) -> str:
    """SHA-256 of the runs of all data sets, as their files have them."""
    sha = hashlib.sha256()
    for name, one in recorded.items():
        sha.update(f"{name}\n".encode())
        for run in one.runs:
            sha.update(repr((run.number, run.seed, sorted(run.config.items()), run.curve)).encode())
    return sha.hexdigest()


def report(
    given: argparse.Namespace, recorded: Mapping[str, RecordedCurves], table: Table, left_out: list[str]
) -> Path:
    """Judges, and writes the report.

    Raises:
        SystemExit: all data sets are of one family.
    """
    if len(set(table.families)) < 2:
        raise SystemExit("all data sets are of one family: none is left to judge on")
    judged = judge(table)
    title = f"A portfolio of {given.method}, judged on data that it was made without"
    return _report.write(
        f"portfolio-{given.method}",
        title,
        sections(given.method, recorded, table, judged, _gains(given, recorded, judged), left_out),
        ["torch", "optuna", "scikit-learn", "numpy"],
        given.out,
    )


def _gains(given: argparse.Namespace, recorded: Mapping[str, RecordedCurves], judged: list[Judged]) -> Gains:
    """Simulated searches of every data set with the portfolio that was made without its family."""
    found: dict[int, dict[str, Gain]] = {}
    configs = {number: runs[0].config for one in recorded.values() for number, runs in one.by_configuration.items()}
    assert DEFAULT in configs
    for one in judged if given.searches else ():
        curves, points = Surrogate(recorded[one.name]), [configs[column] for column in one.chosen]
        for trials in TRIALS:
            found.setdefault(trials, {})[one.name] = gain(
                recorded[one.name], curves, points, trials, given.searches, given.startup
            )
        print(f"{one.name}: searches simulated", flush=True)
    return found


if __name__ == "__main__":
    main()
