"""`avtune status`: how far a study is, or all of them."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from avtune.cli import console
from avtune.cli.arguments import Verbs, add_json, add_results, add_study, add_verb
from avtune.cli.display import Display, Line, event, is_live
from avtune.cli.folders import study_folder
from avtune.cli.remote import bring_all, results_named
from avtune.cli.result_text import result_lines
from avtune.core.errors import UserError

if TYPE_CHECKING:
    from avtune.study.folder import StudyFolder

_EVERY = 1.0  # seconds between two looks


def add(verbs: Verbs) -> None:
    verb = add_verb(
        verbs,
        "status",
        "how far a study is, or all of them; a search that runs is not disturbed",
        "avtune status",
        "avtune status demo --watch",
    )
    add_study(verb, "name or folder of a study (default: all of --results)", nargs="?")
    live = verb.add_mutually_exclusive_group()
    live.add_argument("--watch", action="store_true", help="go on looking (on a terminal: usual while a search runs)")
    live.add_argument("--once", action="store_true", help="look once")
    verb.add_argument(
        "--cluster",
        metavar="ADDRESS",
        help="what of avtune's runs on the Ray cluster at host:port, or auto (needs its token)",
    )
    add_results(verb)
    add_json(verb)


def run(given: argparse.Namespace, log: list[Path]) -> int:
    if given.json and given.watch:
        raise UserError("--json is one look; leave --watch out")
    if given.cluster is not None:
        if given.study is not None or given.watch:
            raise UserError("--cluster is one look at all that runs there; leave STUDY and --watch out")
        _on_cluster(given)
        return 0
    try:
        if given.study is None:
            _all(given)
        else:
            _one(given, study_folder(given))
    except KeyboardInterrupt:  # how one stops watching
        if not given.watch and not is_live():
            raise
    return 0


# -- one study -----------------------------------------------------------------------------------------------------


def _one(given: argparse.Namespace, folder: StudyFolder) -> None:
    if given.json:
        print(json.dumps(_facts(folder), indent=2))
        return
    if not given.once and (given.watch or is_live()) and folder.search_owner() is not None:
        _watch(folder)
    console.say(*_lines(folder))


def _facts(folder: StudyFolder) -> Mapping[str, Any]:
    from avtune.study.results import read_results
    from avtune.study.status import read_status

    results = read_results(folder)
    facts = results.to_json() if results is not None else {}
    more = {"finished": results is not None, "running": folder.search_owner(), "test": facts.get("test")}
    more |= {key: facts[key] for key in ("label", "problems") if key in facts}
    return read_status(folder) | more


def _lines(folder: StudyFolder) -> list[str]:
    """What one look shows."""
    from avtune.cli.search_table import search_lines
    from avtune.cli.watching import Watching
    from avtune.core.streams import width
    from avtune.study.best import read_best
    from avtune.study.results import read_results
    from avtune.study.status import way_to_continue

    results, settings, owner = read_results(folder), folder.settings(), folder.search_owner()
    lines = [f"study      {folder.root}", f"dataset    {settings['dataset']['name']}"]
    watching = Watching(folder)
    table = search_lines(watching.view(), width() or 120)[1:]
    lines += [line for line, _ in table]
    if (holder := folder.holder()) is not None and not holder.searches:
        lines.append(f"running now: {holder.text}")
    if results is not None:
        return [*lines, "", *result_lines(results, read_best(folder))]
    if owner is not None:
        return [*lines, f"running now: {owner}"]
    if (reason := watching.failure) is not None:
        again = f"once the cause is mended: {way_to_continue(folder, '--retry-failed')}"
        return [*lines, f"every trial failed; the first: {reason}", again]
    return [*lines, f"interrupted; to continue: {way_to_continue(folder)}"]


def _watch(folder: StudyFolder) -> None:
    """Shows the study until nobody works on it any more."""
    from avtune.cli.search_table import progress_text, search_lines
    from avtune.cli.watching import Watching

    watching = Watching(folder)
    view = watching.view()

    def lines(columns: int, rows: int) -> list[Line]:
        return search_lines(view, columns, rows)

    def look() -> bool:
        nonlocal view
        owner = folder.search_owner()
        view = watching.view()
        return owner is not None

    _repeat(look, lines, lambda: progress_text(view))


def _repeat(
    look: Callable[[], bool], lines: Callable[[int, int], list[Line]], text: Callable[[], str] | None = None
) -> None:
    """Looks again and again, and shows what is seen: as a table on a terminal, elsewhere as a line where it differs.

    Args:
        look: returns whether to go on.
    """
    said = ""
    with Display() as display:
        display.table(lines)
        while look():
            if not display.live and text is not None and (now := text()) != said:
                said = now
                event(now)
            time.sleep(_EVERY)


# -- a cluster -----------------------------------------------------------------------------------------------------


def _on_cluster(given: argparse.Namespace) -> None:
    from dataclasses import asdict

    from avtune.cli.studies import ago
    from avtune.core.streams import visible
    from avtune.runners.ray.jobs import jobs_on

    jobs = jobs_on(given.cluster)
    if given.json:
        print(json.dumps([asdict(job) for job in jobs], indent=2))
        return
    for job in jobs:
        owner = f"{job.user}, process {job.pid} on {job.host}"
        console.say(
            f"{visible(job.verb):<10} {visible(job.folder)}",
            f"           begun {ago(job.begun)} by {visible(owner)}",
            f"           {visible(job.where)}",
        )
    if not jobs:
        console.say(f"nothing of avtune's runs on the cluster at {given.cluster}")


# -- all studies ---------------------------------------------------------------------------------------------------


def _all(given: argparse.Namespace) -> None:
    from avtune.cli.studies import in_a_line, study_rows, study_table

    there = bring_all(given)
    rows = study_rows(given.results, there)
    if given.json:
        print(json.dumps([row.facts for row in rows], indent=2))
        return
    if given.watch:

        def look() -> bool:
            nonlocal rows
            rows = study_rows(given.results, there)
            return True

        _repeat(look, lambda columns, _: [(line, "") for line in study_table(rows, columns)], lambda: in_a_line(rows))
    elif rows:
        console.say(*study_table(rows))
    else:
        console.say(f"no studies in {results_named(given)}; `avtune search demo` makes one")
    sys.stdout.flush()
