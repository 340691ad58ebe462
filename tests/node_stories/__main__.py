"""Tells stories of searches on several Ray nodes of this machine: `make node-stories`, or

python -m tests.node_stories --stories 30
python -m tests.node_stories --stories 30 --work told    # which goes on where it was ended
python -m tests.node_stories --seed 7        # one story again, told aloud
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from collections import Counter
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent), str(HERE.parent / "faults")]

from fault_story import undisturbed  # noqa: E402
from node_apart import inside, told_apart  # noqa: E402
from node_machines import missing  # noqa: E402
from node_story import EVENTS, WHAT, Told, drawn  # noqa: E402

from benchmarks import _report  # noqa: E402


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.node_stories", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--stories", type=int, default=30, help="how many (30)")
    parser.add_argument("--first-seed", type=int, default=1, metavar="N", help="of the first story (1)")
    parser.add_argument("--seed", type=int, metavar="N", help="only the story with this seed, told aloud")
    parser.add_argument(
        "--work", type=Path, metavar="DIR", help="keep there what has been told; the same command then goes on"
    )
    parser.add_argument("--out", type=Path, default=HERE / "reports", help="folder of the report")
    parser.add_argument("--inside", nargs=2, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.inside:
        return inside(json.loads(given.inside[0]), Path(given.inside[1]))
    if why := missing():
        raise SystemExit(f"node stories need machines made of namespaces: {why}")
    parent = given.work or Path(tempfile.mkdtemp(prefix="avtune_node_stories_"))
    parent.mkdir(parents=True, exist_ok=True)
    parent = parent.resolve()
    expected = undisturbed(parent, WHAT)
    seeds = [given.seed] if given.seed is not None else range(given.first_seed, given.first_seed + given.stories)
    stories = [told_apart(*drawn(seed), parent, expected) for seed in seeds]
    made = _sections(stories)
    print(*made, sep="\n\n")
    if given.seed is None:
        print(_report.write("node_stories", "Node stories", made, ["ray", "optuna", "torch"], given.out))
    wrong = any(story.problems for story in stories)
    if not wrong and given.work is None:
        shutil.rmtree(parent)
    return 1 if wrong else 0


def _sections(stories: list[Told]) -> list[str]:
    events = Counter(event for story in stories for event in story.events)
    problems = [(story.seed, text) for story in stories for text in story.problems]
    by_count = Counter(story.machines for story in stories)
    facts = [
        ["stories", str(len(stories))],
        *([f"of them on {count} machines", str(by_count[count])] for count in sorted(by_count)),
        ["of them without a shared results folder", str(sum(not story.shared for story in stories))],
        ["of them with the runner `processes`", str(sum(story.runner == "processes" for story in stories))],
        ["searches that they took", str(sum(story.commands for story in stories))],
        ["epochs of their trials", str(sum(story.epochs for story in stories))],
        ["seconds a story, mean", f"{sum(story.seconds for story in stories) / len(stories):.0f}"],
        *([event, str(events[event])] for event in EVENTS),
        ["stories with a problem", str(sum(bool(story.problems) for story in stories))],
    ]
    return [
        f"Seeds {stories[0].seed} to {stories[-1].seed}. A story is one deterministic search ({WHAT.trials} trials of "
        f"{WHAT.epochs} epochs at most) on a Ray whose machines are network namespaces of one computer, "
        "with a CPU and a small disk each. What happens to them is drawn from the seed; the same command is given "
        "until the study has ended. Then no line of its files has changed or gone, no trial or epoch counts twice, "
        "nothing is left over, every trial's values, the winner and its test score are those of one undisturbed "
        "machine, and `avtune verify` finds no difference.",
        _report.table(["", "count"], facts),
        *(["Problems:\n\n" + "\n".join(f"- seed {seed}: {text}" for seed, text in problems)] if problems else []),
    ]


if __name__ == "__main__":
    sys.exit(main())
