"""Steps with a second command at the same time, and with folders that are moved, copied or torn."""

from __future__ import annotations

import copy
import os
import shutil
import signal

from story_commands import Forked
from story_files import settings_of, tree
from story_known import Known
from story_searching import INLINE, MOST_TRIALS, search_words, searched, shown
from story_tell import Story
from story_traps import KILL, PLACES, WAIT, Trap


def two_drivers(story: Story, known: Known) -> None:
    """A second command on a study that another one works on is refused, and changes nothing."""
    draw, trials = story.draw, settings_of(known.root)["space"]["search"]["trials"]
    more = ["--trials", str(min(MOST_TRIALS, trials + 1)), "--set", f"final.seeds={draw.randint(1, 3)}"]
    trap = Trap(WAIT, draw.choice(PLACES), 1 + int(draw.expovariate(0.2)))
    words, others = search_words(story, known, *more), story.others(known)
    with Forked(words, story.world.folder, story.folder / "notes", trap) as driver:
        if driver.until_it_waits():
            before = tree(known.root)
            where = ["--results", shown(story, known.root.parent), *INLINE]
            second = draw.choice(
                (
                    ["search", known.data.name, "--name", known.root.name, *where],
                    ["search", known.data.name, "--name", known.root.name, *where, "--trials", str(trials + 2)],
                    ["retrain", known.root.name, *where, "--trial", "0", "--dataset", known.data.name],
                )
            )
            with Forked(second, story.world.folder, story.folder / "notes-of-second") as forked:
                refused = forked.wait()
            story.judge(refused, {2})
            if "is being worked on by another avtune" not in refused.err:
                story.problem(f"a second driver was told {refused.err!r}")
            if tree(known.root) != before:
                story.problem("a second driver has changed the study")
            story.faults["second driver"] += 1
            _goes_on(story, known, driver, trap)
        else:
            ended = driver.wait()
            story.judge(ended, {0})
            searched(story, known, ended.code)
    story.untouched(others)


def _goes_on(story: Story, known: Known, driver: Forked, trap: Trap) -> None:
    """The driver that waited goes on, or is killed where it stands."""
    killed = story.draw.random() < 0.3
    driver.kill(signal.SIGKILL if killed else signal.SIGCONT)
    ended = driver.wait()
    story.faults[KILL] += killed
    story.judge(ended, {-9} if killed else {0}, f"{trap}: {ended.sprung}{', and is killed' * killed}")
    searched(story, known, ended.code)


def move(story: Story, known: Known) -> None:
    """The study's folder gets another name in another place, or its dataset does."""
    count, folder = sum(story.actions.values()), story.world.folder
    if story.draw.random() < 0.3:
        shared = [other for other in story.studies if other.data == known.data]
        new = folder / f"clips-{count}.h5"
        known.data.rename(new)
        story.say(f"  mv {known.data.name} {new.name}")
        for other in shared:
            other.data = new
        return
    new = folder / f"moved-{count}" / f"named-{count}"
    new.parent.mkdir()
    os.rename(known.root, new)
    story.say(f"  mkdir {new.parent.name}; mv {shown(story, known.root)} {shown(story, new)}")
    known.retrained = [new / path.name for path in known.retrained]
    known.root = new


def copy_study(story: Story, known: Known) -> None:
    """A copy of the study is a study of its own."""
    new = known.root.parent / f"copy-{sum(story.actions.values())}"
    shutil.copytree(known.root, new)
    story.say(f"  cp -r {shown(story, known.root)} {shown(story, new)}")
    twin = copy.deepcopy(known)
    twin.root, twin.retrained = new, [new / path.name for path in known.retrained]
    story.studies.append(twin)


def tear(story: Story, known: Known) -> None:
    """A line that a power loss left half written at the end of an append-only file."""
    name = story.draw.choice(("journal.log", "curves.jsonl", "repeats.jsonl", "scored.jsonl"))
    path = known.root / name
    if path.is_file() and path.read_bytes().endswith(b"\n"):
        half = b'{"trial":1,"epoch":2,"lo'[: story.draw.randint(1, 24)]
        path.write_bytes(path.read_bytes() + half)
        story.say(f"  printf '{half.decode()}' >> {shown(story, path)}")
        story.faults["torn line"] += 1
