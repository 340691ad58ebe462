"""Plants bugs into avtune, one after the other, and tells a short story of each: `python planted.py FOLDER`."""

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent), str(HERE.parent / "faults"), str(HERE.parents[1])]

from story_commands import preload  # noqa: E402

preload()

from story_acts import ACTS, finish, step  # noqa: E402
from story_known import Known  # noqa: E402
from story_searching import search  # noqa: E402
from story_tell import Story, tell  # noqa: E402
from story_traps import KILL, Trap  # noqa: E402

import avtune.core.files as files  # noqa: E402
import avtune.core.run_key as run_key  # noqa: E402
import avtune.finals.finish as final  # noqa: E402
from avtune.study.folder import StudyFolder  # noqa: E402
from avtune.study.study import Study  # noqa: E402


def runs_forget_their_configuration() -> None:
    hashed = run_key._hashed
    run_key._hashed = lambda *facts: hashed(*[fact for fact in facts if not isinstance(fact, list)])


def trials_end_twice() -> None:
    end = Study._end

    def twice(self, record):
        end(self, record)
        files.append_line(self.folder.curves, {"trial": record.number, "state": record.state, "epochs": 1})

    Study._end = twice


def looks_are_not_counted() -> None:
    final.count_configuration = lambda *words: 1


def two_may_work_on_a_study() -> None:
    StudyFolder._lock = lambda self, handle: True


def files_are_written_in_place() -> None:
    def in_place(path, data, *, private=True):
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.write(handle, data)
        os.close(handle)

    files.write_bytes = in_place


HALF = Trap(KILL, "trials.csv", 2, half=True)
BUGS: dict[Callable[[], None], list[str | Trap]] = {
    runs_forget_their_configuration: [],
    trials_end_twice: ["search"],
    looks_are_not_counted: [],
    two_may_work_on_a_study: ["two drivers"] * 3,
    files_are_written_in_place: [HALF],
}
"""By what is planted: the steps of the story, between a first search and a last one, or what a search meets."""


def main() -> int:
    for seed, (plant, steps) in enumerate({lambda: None: ["finals"], **BUGS}.items(), 101):
        name = plant.__name__ if plant in BUGS else "nothing"
        pid = os.fork()
        if pid == 0:
            plant()
            story = tell(seed, Path(sys.argv[1]), _acts(steps), lambda text: None)
            print(f"{name}: {len(story.problems)} problems; {' | '.join(story.problems)[:500]!r}", flush=True)
            os._exit(0)
        os.waitpid(pid, 0)
    return 0


def _acts(steps: list[str | Trap]) -> Callable[[Story], Iterator[None]]:
    def acts(story: Story) -> Iterator[None]:
        known = Known(story.world.folder / "results" / "one", story.world.folder / "clips.h5")
        story.studies.append(known)
        finish(story, known)
        yield
        for one in steps:
            if isinstance(one, Trap):
                search(story, known, "--trials", "7", trap=one)
            else:
                assert one in ACTS
                step(story, one, known)
            yield
        finish(story, known)
        yield

    return acts


if __name__ == "__main__":
    sys.exit(main())
