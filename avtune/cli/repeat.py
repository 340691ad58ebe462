"""`avtune search --repeat N`: whole searches with other search seeds, and what they say together."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import TYPE_CHECKING

from avtune.cli import console
from avtune.core.errors import UserError
from avtune.report.text import score_text, short

if TYPE_CHECKING:
    from avtune.study.scores import Score
    from avtune.workflows.repeat import Repeat, Repeats
    from avtune.workflows.search_plan import Request


def repeat_search(
    given: argparse.Namespace, make: Callable[[argparse.Namespace], Request], search: Callable[[Request], None]
) -> int:
    """Runs the searches one after another, or continues them, and prints the summary.

    Args:
        given: the parsed command line.
        make: the request of a command line.
        search: runs one, to its end.

    Raises:
        UserError: the number is no whole number from 2, or something is wrong with a search.
    """
    from avtune.workflows.repeat import further_name, repeats_of, write_repeats

    if given.repeat < 2:
        raise UserError(f"--repeat is {given.repeat}; allowed: a whole number from 2")
    requests = [make(given)]
    name, seed = requests[0].folder.root.name, requests[0].space.search.seed
    for further in range(seed + 1, seed + given.repeat):
        words = vars(given) | {"name": further_name(name, further), "set": [*given.set, f"search.seed={further}"]}
        requests.append(make(argparse.Namespace(**words)))
    for place, request in enumerate(requests, 1):
        console.say("", f"search {place} of {len(requests)}, search seed {request.space.search.seed}")
        search(request)
    found = repeats_of([one.folder for one in requests], [one.space for one in requests])
    console.say("", *lines(found), "", f"written    {write_repeats(found)}")
    return 0


def lines(found: Repeats) -> list[str]:
    """The summary."""
    count = len(found.searches)
    rows = [
        [
            one.folder.root.name,
            str(one.seed),
            str(one.results.trial),
            score_text(one.results.test.map) + (f" {one.results.label}" if one.results.label else ""),
            _default(one),
            *(short(spread.values[place]) for spread in found.spreads),
        ]
        for place, one in enumerate(found.searches)
    ]
    header = ["study", "search seed", "winner", "test MAP", "default", *(one.name for one in found.spreads)]
    label = next((f", {one.results.label}" for one in found.searches if one.results.label), "")
    spans = [f"{one.name} {one.share:.0%}" for one in found.spreads if one.share is not None]
    return [
        f"{count} searches with other search seeds: validation rows, configurations and seeds of their own",
        *console.fitting(header, rows),
        f"test MAP over the searches, 95 % interval: {score_text(found.map)}{label}",
        *_gain("the default configuration", found.gain),
        *_gain("the reference", found.over_reference),
        f"the default configuration won {found.default_won} of {count}",
        *_ended_early(found),
        *([f"the winners span of the searched ranges: {', '.join(spans)}"] if spans else []),
    ]


def _ended_early(found: Repeats) -> list[str]:
    early = [
        f"{one.folder.root.name} ({one.trials} of {one.asked} trials)" for one in found.searches if one.ended_early
    ]
    return [f"ended early: {', '.join(early)}"] if early else []


def _default(search: Repeat) -> str:
    if search.results.default is not None:
        return score_text(search.results.default.map)
    failed = any(row.is_default and row.failure is not None for row in search.best.finalists)
    return "failed" if failed else "–"


def _gain(over: str, gain: Score | None) -> list[str]:
    if gain is None:
        return []
    return [f"gain over {over}, search by search: {gain.mean:+.4f}" + _half(gain)]


def _half(score: Score) -> str:
    return "" if score.half_width is None else f" ± {score.half_width:.4f}"
