"""The steps of a story, drawn one after the other."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

from story_bench import bench
from story_files import tree, trials_of
from story_known import Known
from story_looking import evaluate, refuse, retrain, status
from story_places import copy_study, move, tear, two_drivers
from story_searching import begin_or_go_on, drawn_fault, extend, other_finals, search, shown, there_and_back
from story_tell import Story
from story_undisturbed import compare
from story_world import OLD

FIXTURE = Path(__file__).parents[1] / "fixtures" / "study_v1"


def acts(story: Story) -> Iterator[None]:
    """A whole story, a step at a time."""
    draw = story.draw
    first = Known(story.world.folder / "results" / "one", story.world.folder / "clips.h5")
    story.studies.append(first)
    if story.world.kind == OLD:
        _old(story, first)
    else:
        step(story, "search", first)
    yield
    for _ in range(draw.randint(2, 4) if story.ray else draw.randint(5, 8)):
        known = draw.choice(story.studies)
        names = [name for name, (_, _, when) in ACTS.items() if when(known)]
        name = draw.choices(names, [ACTS[name][1] for name in names])[0]
        step(story, name, known)
        yield
    for known in story.studies:
        finish(story, known)
        yield
    for known in story.studies:
        if story.world.deterministic and not known.bench and not story.problems:
            compare(story, known)
            yield


def _old(story: Story, known: Known) -> None:
    """The study is one that an earlier version made."""
    shutil.copytree(FIXTURE, known.root)
    story.say(f"  cp -r tests/fixtures/study_v1 {shown(story, known.root)}")
    known.old = frozenset(range(len(trials_of(known.root))))
    known.looks = {"that of the earlier version, which retrained with other seeds"}
    known.result = known.metrics
    story.check(known)


def step(story: Story, name: str, known: Known) -> None:
    """Does one of `ACTS`."""
    story.actions[name] += 1
    ACTS[name][0](story, known)


def finish(story: Story, known: Known) -> None:
    """The study is continued to its end."""
    if known.bench:
        bench(story, (None, None))
        return
    if search(story, known) == 0 and not story.problems:
        before = tree(known.root)
        search(story, known)  # is shown again, and nothing changes
        now = tree(known.root)
        changed = [name for name in {*before, *now} if before.get(name) != now.get(name)]
        if changed and not story.problems:
            story.problem(f"{known.root.name}: changed when a finished study was shown again: {sorted(changed)}")


def _bench_goes_on(story: Story, known: Known) -> None:
    bench(story, drawn_fault(story.draw))


def _alone(known: Known) -> bool:
    return not known.bench


def _there(known: Known) -> bool:
    return known.exists


def _both(known: Known) -> bool:
    return _there(known) and _alone(known)


ACTS = {
    "search": (begin_or_go_on, 3, _alone),
    "extend": (extend, 8, _both),
    "finals": (other_finals, 4, _both),
    "there and back": (there_and_back, 1.5, _both),
    "retrain": (retrain, 2.5, _there),
    "evaluate": (evaluate, 2, _there),
    "status": (status, 0.5, _there),
    "refuse": (refuse, 1, _both),
    "two drivers": (two_drivers, 1.2, _both),
    "move": (move, 1, _both),
    "copy": (copy_study, 0.5, _both),
    "tear": (tear, 0.5, _there),
    "bench": (_bench_goes_on, 0.6, _there),
}
"""The steps: what does each, how often it is drawn, and when it can be."""
