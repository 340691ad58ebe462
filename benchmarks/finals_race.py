"""Claim: a race of finalists names the winner of full finals in 95 % of cases, or loses less than a tenth of the seeds'
spread.

Replays the race of `avtune.finals.race` on studies whose finals gave every finalist all seeds: with these seeds in
every order, and with seeds that were drawn (see `_finals_replay.drawn`), also with the finalists moved together to a
third of their distances, which is harder than anything on record.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from unittest import mock

import numpy as np

from avtune.finals import race, repeats
from benchmarks import _report
from benchmarks._finals_replay import Finals, Tally, drawn, orders, read, studies, tally

ERRORS = (0.01, 0.05, 0.2, 0.4)
ROUNDS = {"2, 3, 5": (2, 3), "2, 5": (2,), "2, 3, 4, 5": (2, 3, 4)}
CLOSER = 1 / 3
SAME, LOSS, COST = 0.95, 0.1, 0.5


def main() -> None:
    parser = _report.arguments("finals_race", __doc__)
    parser.add_argument("folders", nargs="+", type=Path, metavar="STUDY_OR_BENCH", help="with full finals")
    parser.add_argument("--draws", type=int, default=200, help="sets of seeds that are drawn for each study (200)")
    given = parser.parse_args()
    finals = [one for folder in given.folders for path in studies(folder) if (one := read(path)) is not None]
    if not finals:
        sys.exit("none of these has finals that can be replayed")
    text = sections(finals, 2 if given.quick else given.draws)
    print(_report.write("finals_race", "A race of finalists", text, ["numpy", "scipy"], given.out))


def sections(finals: Sequence[Finals], draws: int) -> list[str]:
    """The report."""
    ordered = [tally(one, orders(one.curves)) for one in finals]
    random = [tally(one, drawn(one.curves, draws)) for one in finals]
    closer = [tally(one, drawn(one.curves, draws, CLOSER)) for one in finals]
    print("replayed", flush=True)
    return [
        claims(finals, ordered, random, closer),
        _ABOUT.format(studies=len(finals), draws=draws, error=race.ERROR),
        "## By study\n\n" + _by_study(finals, ordered, random),
        "## The stated error, and the rounds\n\n" + variants(finals, max(2, draws // 4)),
        "## What it saves\n\n" + costs(finals, random),
    ]


_ABOUT = (
    "{studies} studies. `same winner`: share of the replays. `loss`: validation MAP over all seeds that the race's "
    "winner lacks of the best finalist's, mean over the replays, in units of the seeds' spread (standard deviation "
    "within a finalist at its best epoch, pooled over the finalists). `runs`: share of the runs of the full finals. "
    "Seeds in every order: each pair as the first two with each third. Seeds drawn: {draws} sets a study. The stated "
    "error is {error:g} for each finalist. All trials of these studies had the same number of epochs, so that further "
    "seeds of an open horizon, which end where the mean curve has peaked, are not in these figures."
)


def claims(finals: Sequence[Finals], *found: Sequence[Tally]) -> str:
    """What was claimed, and what was found: seeds in every order, drawn, and drawn for closer finalists."""
    names = ("the seeds on record, in every order", "seeds drawn", "seeds drawn, finalists three times as close")
    rows = [
        [name, f"{100 * _mean(of, 'same'):.1f} %", f"{_mean(of, 'losses'):.4f}", f"{100 * _mean(of, 'runs'):.0f} %"]
        for name, of in zip(names, found, strict=True)
    ]
    holds = all(_mean(of, "same") >= SAME or _mean(of, "losses") < LOSS for of in found)
    default = [one for of in found[1] for one in of.default_losses]
    shares = [one for of in found[1] for one in of.default_shares]
    lines = [
        f"- Same winner in at least {100 * SAME:.0f} %, or a mean loss below {LOSS} of the seeds' spread: "
        f"{'holds' if holds else 'DOES NOT HOLD'}.",
        f"- Finals at most {COST:g} of the search's device seconds at 64 trials: {cost_claim(finals, found[1])}",
        f"- A default configuration with fewer seeds than the winner loses by its epoch {np.mean(default):.2f} of the "
        f"spread, {100 * np.mean(shares):.1f} % of its distance to the winner (mean over {len(default)} replays; "
        f"95 % of them below {100 * np.quantile(shares, 0.95):.0f} %)."
        if default
        else "- The default configuration had all seeds in every replay.",
    ]
    return "\n".join(lines) + "\n\n" + _report.table(["replays", "same winner", "loss", "runs"], rows)


def _mean(found: Sequence[Tally], name: str) -> float:
    """Over the studies, each with the mean over its replays."""
    return float(np.mean([np.mean(getattr(one, name)) for one in found]))


def _by_study(finals: Sequence[Finals], ordered: Sequence[Tally], random: Sequence[Tally]) -> str:
    head = ["study", "spread", "behind the best", "same, orders", "same, drawn", "loss, drawn", "runs, drawn"]
    rows = []
    for one, of_orders, of_draws in zip(finals, ordered, random, strict=True):
        behind = sorted(one.means.max() - one.means)[1:]
        rows.append([
            one.name,
            f"{one.spread:.4f}",
            ", ".join(f"{gap:.4f}" for gap in behind),
            f"{100 * np.mean(of_orders.same):.0f} %",
            f"{100 * np.mean(of_draws.same):.1f} %",
            f"{np.mean(of_draws.losses):.4f}",
            f"{100 * np.mean(of_draws.runs):.0f} %",
        ])  # fmt: skip
    return _report.table(head, rows)


def variants(finals: Sequence[Finals], draws: int) -> str:
    """Other errors and other rounds, on drawn seeds. In bold what is in use."""
    rows = []
    for error in ERRORS:
        with mock.patch.object(repeats, "cannot_win", partial(race.cannot_win, error=error)):
            rows.append(_variant(f"error {error:g}, rounds 2, 3, 5", finals, draws, used=error == race.ERROR))
    for name, decided in ROUNDS.items():
        with _rounds(decided):
            rows.append(_variant(f"error {race.ERROR:g}, rounds {name}", finals, draws, used=False))
    head = ["race", "same winner", "loss", "runs", "closer: same winner", "loss", "runs"]
    return f"{draws} sets of drawn seeds a study; the one in use in bold.\n\n" + _report.table(head, rows)


@contextlib.contextmanager
def _rounds(decided: Sequence[int]) -> Iterator[None]:
    def made(seeds: int) -> list[int]:
        return [*(one for one in decided if one < seeds), seeds]

    with mock.patch.object(repeats, "rounds", made), mock.patch.object(race, "rounds", made):
        yield


def _variant(name: str, finals: Sequence[Finals], draws: int, *, used: bool) -> list[str]:
    cells = [name]
    for closer in (1.0, CLOSER):
        found = [tally(one, drawn(one.curves, draws, closer)) for one in finals]
        cells += [f"{100 * _mean(found, 'same'):.1f} %", f"{_mean(found, 'losses'):.4f}"]
        cells.append(f"{100 * _mean(found, 'runs'):.0f} %")
    return [f"**{cell}**" for cell in cells] if used else cells


def costs(finals: Sequence[Finals], found: Sequence[Tally]) -> str:
    """Device seconds of the studies, added up for each bench."""
    benches = list(dict.fromkeys(one.name.partition("/")[0] for one in finals))
    rows = []
    for bench in [*benches, ""]:
        pairs = [(one, of) for one, of in zip(finals, found, strict=True) if one.name.startswith(bench)]
        search = sum(one.search_seconds for one, _ in pairs)
        full = sum(one.repeat_seconds for one, _ in pairs)
        raced = sum(one.repeat_seconds * float(np.mean(of.runs)) for one, of in pairs)
        retraining = sum(one.retraining_seconds for one, _ in pairs)
        at_64 = sum(one.search_seconds * one.growth for one, _ in pairs)
        ratios = [(repeated + retraining) / of for of in (search, at_64) for repeated in (full, raced)]
        cells = [search, full, raced, retraining, *ratios]
        rows.append([bench or "all", *(f"{cell:.0f}" for cell in cells[:4]), *(f"{cell:.2f}" for cell in cells[4:])])
    head = ["bench", "search", "repeats, full", "race", "retraining"]
    head += ["finals / search, full", "race", "at 64 trials, full", "race"]
    return f"{_COST}\n\n{_report.table(head, rows)}"


_COST = (
    "Device seconds, a core each. Those of a race are the recorded ones times its share of the runs (drawn seeds): "
    "what rounds with fewer lanes or waiting cost is not in them. Retraining is that of the winner and of the default "
    "configuration. A search of 64 trials is the recorded one times the epochs that the rung table expects of it."
)


def cost_claim(finals: Sequence[Finals], found: Sequence[Tally]) -> str:
    """The ratio at 64 trials, and how much of it is the repeats and the retraining."""
    search = sum(one.search_seconds * one.growth for one in finals)
    raced = sum(one.repeat_seconds * float(np.mean(of.runs)) for one, of in zip(finals, found, strict=True))
    retraining = sum(one.retraining_seconds for one in finals)
    whole = raced + retraining
    said = "holds" if whole <= COST * search else "DOES NOT HOLD"
    parts = f"{raced / search:.2f} the repeats, {retraining / search:.2f} the retraining"
    return f"{said}: {whole / search:.2f}, of which {parts}."


if __name__ == "__main__":
    main()
