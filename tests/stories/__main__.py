"""Tells stories of studies and checks after every command that nothing is lost, doubled or wrong: `make stories`, or

python -m tests.stories --stories 200 --jobs 2
python -m tests.stories --seed 7        # one story again, every command printed
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent), str(HERE.parent / "faults")]

from story_commands import preload  # noqa: E402

preload()

from story_run import all_told, sections  # noqa: E402

from benchmarks import _report  # noqa: E402


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.stories", description=__doc__ and __doc__.splitlines()[0])
    parser.add_argument("--stories", type=int, default=200, help="how many (200)")
    parser.add_argument("--first-seed", type=int, default=1, metavar="N", help="of the first story (1)")
    parser.add_argument("--seed", type=int, metavar="N", help="only the story with this seed, told aloud")
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="stories at a time (1)")
    parser.add_argument("--out", type=Path, default=HERE / "reports", help="folder of the report")
    given = parser.parse_args()
    parent = Path(tempfile.mkdtemp(prefix="avtune_stories_"))
    seeds = [given.seed] if given.seed is not None else range(given.first_seed, given.first_seed + given.stories)
    stories = all_told(list(seeds), parent, given.jobs, aloud=given.seed is not None)
    made = sections(stories)
    print(*made, sep="\n\n")
    if given.seed is None:
        print(_report.write("stories", "Stories", made, ["ray", "optuna", "torch"], given.out))
    wrong = any(story.problems for story in stories)
    if not wrong:
        parent.rmdir()
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
