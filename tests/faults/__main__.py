"""Kills searches at random moments and checks that nothing is lost: `make faults`, or

python -m tests.faults --kills 100
python -m tests.faults --seed 7        # one story again
python -m tests.faults --kills 12 --data FILE --space FILE --search-trials 64   # on a dataset of your own, in lanes
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import sys
import tempfile
from collections.abc import Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

from fault_search import FAULTS  # noqa: E402
from fault_story import ENDS_SOON, RUNNERS, Real, Story, Toy, tell, undisturbed  # noqa: E402

from benchmarks import _report  # noqa: E402


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__ and __doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=100, help="how many (100)")
    parser.add_argument("--first-seed", type=int, default=1, metavar="N", help="of the first story (1)")
    parser.add_argument("--seed", type=int, metavar="N", help="only the story with this seed")
    parser.add_argument("--per-story", type=int, default=6, metavar="N", help="most kills of a study (6)")
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="studies at a time (1)")
    parser.add_argument("--runner", choices=RUNNERS, help="only this one")
    parser.add_argument("--out", type=Path, default=HERE / "reports", help="folder of the report")
    parser.add_argument("--data", type=Path, metavar="FILE", help="search this dataset, in lanes (generated clips)")
    parser.add_argument("--space", type=Path, metavar="FILE", help="with --data: the space")
    parser.add_argument(
        "--search-trials", type=int, default=64, metavar="N", help="with --data: trials of a study (64)"
    )
    given = parser.parse_args()
    what: Toy | Real = Toy()
    if given.data is not None:
        if given.space is None:
            parser.error("--data needs --space")
        what, given.runner = Real(given.data, given.space, given.search_trials), "lanes"
    parent = Path(tempfile.mkdtemp(prefix="avtune_faults_"))
    expected = undisturbed(parent, what) if isinstance(what, Toy) else {}
    if given.seed is not None:
        stories = _told([given.seed], given, expected, parent, what)
    else:
        stories = _told(itertools.count(given.first_seed), given, expected, parent, what)
    sections = _sections(stories, what)
    print(*sections, sep="\n\n")
    if given.seed is None:
        name = f"faults-{what.data.stem}" if isinstance(what, Real) else "faults"
        print(_report.write(name, "Faults", sections, ["ray", "optuna", "torch"], given.out))
    return 1 if any(story.problems for story in stories) else 0


def _told(
    seeds: Iterable[int], given: argparse.Namespace, expected: dict, parent: Path, what: Toy | Real
) -> list[Story]:
    """The stories of the seeds, `given.jobs` at a time, until there are kills enough or no more seeds."""
    stories: list[Story] = []
    running: set[Future[Story]] = set()
    left = iter(seeds)
    with ThreadPoolExecutor(given.jobs) as pool:
        while True:
            missing = given.kills - sum(len(story.kills) for story in stories) - given.per_story * len(running)
            if missing > 0 and len(running) < given.jobs and (seed := next(left, None)) is not None:
                most = min(given.per_story, missing)
                running.add(pool.submit(tell, seed, parent, most, expected, runner=given.runner, what=what))
                continue
            if not running:
                return stories
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                running.remove(future)
                stories.append(future.result())
                print(_line(stories[-1]), flush=True)


def _line(story: Story) -> str:
    mode = "deterministic" if story.deterministic else "free"
    faults = ", ".join(kill.fault for kill in story.kills) or "nothing"
    text = f"seed {story.seed}: {story.runner}, {mode}: {faults}; {story.torn} files torn"
    return text + "".join(f"\n  PROBLEM {problem}\n  see {story.folder}" for problem in story.problems)


def _sections(stories: list[Story], what: Toy | Real) -> list[str]:
    kills = [kill for story in stories for kill in story.kills]
    rows = []
    for fault in FAULTS:
        mine = [kill for kill in kills if kill.fault == fault]
        seconds = [kill.seconds for kill in mine if kill.seconds is not None]
        spread = f"{statistics.median(seconds):.1f} ({max(seconds):.1f})" if seconds else "goes on"
        each = [str(sum(kill.runner == runner for kill in mine)) for runner in RUNNERS]
        rows.append([fault, *each, str(len(mine)), spread])
    each = [str(sum(kill.runner == runner for kill in kills)) for runner in RUNNERS]
    rows.append(["all", *each, str(len(kills)), ""])
    head = ["fault", *RUNNERS, "kills", "seconds to its end, median (most)"]
    problems = [(story, problem) for story in stories for problem in story.problems]
    repeated = [epochs for story in stories for epochs in story.repeated]
    again = f"{statistics.mean(repeated):.1f} ({max(repeated)})" if repeated else "none"
    same = [story for story in stories if story.deterministic]
    facts = [
        ["studies", str(len(stories))],
        ["of them deterministic, with the trials, values and winner of the undisturbed one", _good(same)],
        ["files torn between runs, as by a power loss", str(sum(story.torn for story in stories))],
        ["finished trials lost", str(_count(problems, "lines of the curves", "trials that ended"))],
        ["trials or epochs that count twice", str(_count(problems, "twice"))],
        ["studies damaged", str(_count(problems, "damaged", "has gone"))],
        ["running trials met in lanes at a kill", str(len(repeated))],
        ["their epochs on record that were trained again, mean (most)", again],
        ["of them trained again over more than one rung", str(_count(problems, "goes on from"))],
        ["problems of any kind", str(len(problems))],
    ]
    told = [f"- seed {story.seed}: {problem}" for story, problem in problems]
    return [
        f"Searches in processes of their own, on {what.name}, killed at moments drawn from a seed and continued by "
        "the same command until they end. A worker is an engine (lanes) or a trial's process (processes); a node is "
        f"Ray's. A signal must end a run in {ENDS_SOON:g} s, with exit code 130 or 143. Times include the end of Ray.",
        _report.table(head, rows),
        _report.table(["", "count"], facts),
        *(["Problems:\n\n" + "\n".join(told)] if told else []),
    ]


def _good(stories: list[Story]) -> str:
    return f"{sum(not story.problems for story in stories)} of {len(stories)}"


def _count(problems: list[tuple[Story, str]], *needles: str) -> int:
    return sum(any(needle in problem for needle in needles) for _, problem in problems)


if __name__ == "__main__":
    sys.exit(main())
