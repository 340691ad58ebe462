"""What the report and the file of a portfolio say."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence

import numpy as np

from avtune.core.hyper import Value
from avtune.metrics.significance import mean_interval
from avtune.space.written import inline
from avtune.study.recorded_curves import RecordedCurves
from benchmarks import _report
from benchmarks._portfolio_choice import SIZE, Judged, Table, by_family, choose
from benchmarks._portfolio_searches import Gain
from benchmarks._portfolio_sets import SETS

DIGITS = 4
"""Significant ones of the values in the file."""
Gains = Mapping[int, Mapping[str, Gain]]
"""Simulated searches, by trials and data set."""


def point_of(config: Mapping[str, Value]) -> dict[str, Value]:
    """A recorded configuration as the file has it."""
    return {name: float(f"{value:.{DIGITS}g}") if isinstance(value, float) else value for name, value in config.items()}


def file_text(method: str, points: Sequence[Mapping[str, Value]], made: Sequence[tuple[str, str]]) -> str:
    """The YAML file: how it was made as comments, then a list of configurations.

    Args:
        made: lines of what it was made with and of.
    """
    head = [
        f"# Configurations of {method} that together were best over several data sets, in the order in which they were",
        "# chosen. `avtune search --portfolio` tries them after the default configuration (docs/budgets.md).",
        *(f"# {name}: {text}" for name, text in made),
    ]
    return "\n".join([*head, *(f"- {inline(dict(point))}" for point in points)]) + "\n"


def provenance(recorded: Mapping[str, RecordedCurves], digest: str, command: Sequence[str]) -> list[tuple[str, str]]:
    """How a portfolio was made, for its file."""
    first = next(iter(recorded.values()))
    days = sorted({one.about.get("date", "")[:10] for one in recorded.values()})
    versions = sorted({re.sub(r" \(.*?commit.*?\)", "", one.about.get("versions", "")) for one in recorded.values()})
    settings = first.space
    return [
        ("made by", shlex.join(["python", "-m", "benchmarks.portfolio", *command])),
        ("recorded", f"{days[0]} to {days[-1]}" if len(days) > 1 else days[0]),
        ("with", "; ".join(versions)),
        ("data sets", ", ".join(recorded)),
        (
            "each of",
            f"{min(len(one.by_configuration) for one in recorded.values())} configurations of the method's space, one "
            f"run each, hidden_dim {settings.fixed.get('hidden_dim')}, at most "
            f"{settings.early_stopping.steps or settings.early_stopping.epochs} "
            f"{'steps or 27 epochs' if settings.early_stopping.open else 'epochs'}",
        ),
        ("chosen", "greedily: least mean regret of the best so far (benchmarks/_portfolio_choice.py)"),
        ("digest of the recordings", f"sha256 {digest}"),
    ]


def sections(
    method: str,
    recorded: Mapping[str, RecordedCurves],
    table: Table,
    judged: Sequence[Judged],
    gains: Gains,
    left_out: Sequence[str],
) -> list[str]:
    """Of the report, in order."""
    return [
        _claim(method, judged, gains),
        "## Data sets\n\n" + _sets(recorded, table, left_out),
        "## Best of the default and some more, on a data set whose family the portfolio was made without\n\n"
        + _by_set(table, judged),
        _READING,
        "## By size of the portfolio\n\n" + _by_size(table, judged),
        "## Simulated searches\n\n" + _searches(judged, gains),
        "## The portfolio of all data sets\n\n" + _chosen(recorded, table),
    ]


_READING = (
    "Values are best validation MAP of one run. Random: the expected best of the default and as many configurations "
    "at random, exactly, over all recorded ones. Random as good: so many random configurations have an expected best "
    "as high as that of the portfolio. Regret: 0 is the best recorded configuration of a data set, 1 the median "
    "one. Sets of one family are not independent: means are over families, with the 95 % Student t interval over them."
)


def _claim(method: str, judged: Sequence[Judged], gains: Gains) -> str:
    last = len(judged[0].chosen)
    apart = {one.name: one.portfolio[last] - one.random[last] for one in judged}
    over_default = {one.name: one.portfolio[last] - one.portfolio[0] for one in judged}
    lines = [
        f"Claim: {last} configurations of {method} that were chosen on other data find more than {last} random ones. "
        f"{_holds(by_family(judged, apart))}",
        "",
        f"- best of the default and {last} of the portfolio, over the default alone: "
        f"{_mean(by_family(judged, over_default))} MAP",
        f"- over the default and {last} random ones: {_mean(by_family(judged, apart))} MAP",
    ]
    for trials, found in gains.items():
        each = by_family(judged, {name: one.mean for name, one in found.items()})
        lines.append(f"- simulated searches of {trials} trials, with it over without it: {_mean(each)} MAP")
    return "\n".join(lines)


def _holds(values: Sequence[float]) -> str:
    middle, half = mean_interval(values)
    if half is None or abs(middle) <= half:
        return "Not shown: the interval holds 0."
    return "Holds." if middle > 0 else "Does not hold: it finds less."


def _mean(values: Sequence[float]) -> str:
    middle, half = mean_interval(values)
    return f"{middle:+.4f}" + (f" ± {half:.4f}" if half is not None else "")


def _sets(recorded: Mapping[str, RecordedCurves], table: Table, left_out: Sequence[str]) -> str:
    rows = []
    for name, family, values in zip(table.names, table.families, table.values, strict=True):
        one = recorded[name]
        epochs = np.mean([len(run.curve) for run in one.runs])
        cells = [f"{value:.4f}" for value in (values[0], np.median(values), values.max())]
        rows.append([name, family, str(one.rows), str(len(one.by_configuration)), f"{epochs:.0f}", *cells])
    head = ["data set", "family", "training rows", "configurations", "epochs, mean", "default", "median", "best"]
    about = "\n".join(f"- {name}: {SETS[name].about if name in SETS else 'as recorded'}" for name in table.names)
    missing = "".join(f"\n- left out: {line}" for line in left_out)
    return f"{_report.table(head, rows)}\n\n{about}{missing}"


def _by_set(table: Table, judged: Sequence[Judged]) -> str:
    rows = []
    for one, values in zip(judged, table.values, strict=True):
        last = len(one.chosen)
        cells = [one.portfolio[0], one.random[last], one.portfolio[last], one.best]
        rows.append([one.name, *(f"{value:.4f}" for value in cells), str(one.as_many_random(values, last))])
    last = len(judged[0].chosen)
    head = [
        "data set",
        "default",
        f"+ {last} random",
        f"+ {last} of the portfolio",
        "best recorded",
        "as good as, random",
    ]
    return _report.table(head, rows)


def _by_size(table: Table, judged: Sequence[Judged]) -> str:
    rows = []
    for count in range(len(judged[0].portfolio)):
        mine = {one.name: one.regret(one.portfolio[count]) for one in judged}
        random = {one.name: one.regret(one.random[count]) for one in judged}
        less = {name: random[name] - mine[name] for name in mine}
        rows.append(
            [
                str(count),
                *(f"{np.mean(by_family(judged, one)):.3f}" for one in (mine, random)),
                _mean(by_family(judged, less)) if count else "–",
            ]
        )
    return _report.table(["configurations", "regret, portfolio", "regret, random", "less by"], rows)


def _searches(judged: Sequence[Judged], gains: Gains) -> str:
    if not gains:
        return "None were asked for."
    rows = []
    for trials, found in gains.items():
        for name, one in found.items():
            half = mean_interval([tried - plain for tried, plain in zip(one.tried, one.plain, strict=True)])[1]
            cells = [f"{np.mean(values):.4f}" for values in (one.plain, one.tried)]
            gained = f"{one.mean:+.4f}" + (f" ± {half:.4f}" if half is not None else "")
            rows.append([name, str(trials), *cells, gained, *(f"{epochs:.0f}" for epochs in one.epochs)])
    known = [one.correlation for one in next(iter(gains.values())).values()]
    head = ["data set", "trials", "without", "with it", "more", "epochs without", "epochs with it"]
    return (
        "Sampler, rungs and the place of the portfolio as the product has them; curves of a Gaussian process over the "
        "set's recordings, the same seeds on both sides; the portfolio is the one made without the set's family. "
        "Intervals of a row are over the searches. Of a configuration it was not fitted to, the surrogate knows the "
        f"best value with a correlation of {min(known):.2f} to {max(known):.2f} (leave-one-out).\n\n"
        + _report.table(head, rows)
    )


def _chosen(recorded: Mapping[str, RecordedCurves], table: Table) -> str:
    configs = {number: runs[0].config for number, runs in next(iter(recorded.values())).by_configuration.items()}
    chosen = choose(table, SIZE)
    names = list(configs[0])
    rows = [
        [f"{place} (number {column})", *(str(point_of(configs[column])[name]) for name in names)]
        for place, column in enumerate(chosen, 1)
    ]
    default = [["default", *(str(point_of(configs[0])[name]) for name in names)]]
    return _report.table(["", *names], [*default, *rows])
