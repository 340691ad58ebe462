"""Steps that search: a study begins, goes on, is extended, and something happens to the command."""

from __future__ import annotations

import random
from pathlib import Path

from story_commands import Ended
from story_files import settings_of
from story_known import Known
from story_looks import after_search
from story_processes import drawn_blow
from story_tell import Story
from story_traps import FULL, INT, KILL, PLACES, TERM, Trap

INLINE = ["--runner", "inline", "--gpus", "0"]
MOST_TRIALS, MOST_EPOCHS = 7, 5


def search_words(story: Story, known: Known, *more: str) -> list[str]:
    """The command that begins or continues a study."""
    world = story.world
    words = ["search", known.data.name, "--name", known.root.name, "--results", shown(story, known.root.parent)]
    words += INLINE
    if not known.exists:
        words += ["--space", "space.yaml", "--precision", world.precision, "--protocol", world.protocol]
        words += ["--deterministic"] * world.deterministic
        words += ["--keep", "2"] if story.draw.random() < 0.3 else []
    elif story.draw.random() < 0.3:
        words += ["--space", "space.yaml"]
    return [*words, *more]


def shown(story: Story, path: Path) -> str:
    return str(path.relative_to(story.world.folder))


def begin_or_go_on(story: Story, known: Known, *more: str) -> None:
    """The study begins or goes on, and something may happen to it."""
    trap, seconds = drawn_fault(story.draw)
    search(story, known, *more, trap=trap, kill_after=seconds)


def search(story: Story, known: Known, *more: str, trap: Trap | None = None, kill_after: float | None = None) -> int:
    """Runs a search and checks the study; returns the exit code."""
    before = story.others(known)
    words = search_words(story, known, *more)
    if story.ray and not known.bench and story.draw.random() < 0.7:
        ended = _with_ray(story, known, words)
    else:
        ended = story.command(words, trap=trap, kill_after=kill_after)
    searched(story, known, ended.code)
    story.untouched(before)
    return ended.code


def _with_ray(story: Story, known: Known, words: list[str]) -> Ended:
    """The same command with another runner, in a process of its own."""
    draw = story.draw
    runner = draw.choice(("lanes", "lanes", "processes"))
    words = [runner if word == "inline" else word for word in words] + ["--max-failures", "1000"]
    if runner == "lanes":
        known.exact &= story.world.deterministic  # else lanes are the lone trial up to rounding
        words += ["--lanes", str(draw.randint(1, 3))]
    story.actions[f"runner {runner}"] += 1
    return story.apart(words, known.root, drawn_blow(draw))


def searched(story: Story, known: Known, code: int) -> None:
    """Checks a study after a search has ended with that exit code."""
    known.current = code == 0
    for text in after_search(known):
        story.problem(f"{known.root.name}: {text}")
    if code == 0 and not known.finished:
        story.problem(f"{known.root.name}: the search has ended well and left no result")
    story.check(known, in_order=code == 0)


def extend(story: Story, known: Known) -> None:
    """More trials, more epochs, other finals, other checkpoints: one or two of them at once."""
    now, draw = settings_of(known.root)["space"], story.draw
    ways = {
        "trials": ["--trials", str(min(MOST_TRIALS, now["search"]["trials"] + draw.randint(1, 2)))],
        "finalists": ["--set", f"final.finalists={draw.randint(1, 3)}"],
        "seeds": ["--set", f"final.seeds={draw.randint(1, 3)}"],
        "keep": ["--keep", str(draw.randint(0, 2))],
    }
    if story.world.grows and now["early_stopping"]["epochs"] < MOST_EPOCHS:
        ways["epochs"] = ["--epochs", str(now["early_stopping"]["epochs"] + 1)]
    chosen = draw.sample(sorted(ways), draw.randint(1, 2))
    story.actions.update(f"extend: {name}" for name in chosen)
    begin_or_go_on(story, known, *[word for name in chosen for word in ways[name]])


def other_finals(story: Story, known: Known) -> None:
    """Other finals, so that another trial may win, and a kill while the winner is retrained."""
    draw = story.draw
    more = ["--set", f"final.seeds={draw.randint(1, 3)}"]
    if draw.random() < 0.5:
        more += ["--set", f"final.finalists={draw.randint(1, 3)}"]
    trap = None
    if draw.random() < 0.7:
        place = draw.choice(("final/seeds/", "final/", "repeats.jsonl", "scored.jsonl"))
        trap = Trap(KILL, place, 1 + int(draw.expovariate(0.12)), half=draw.random() < 0.2)
    search(story, known, *more, trap=trap)


def there_and_back(story: Story, known: Known) -> None:
    """Other finals, a kill while the winner is retrained, and then the finals of before: the runs of these are known,
    the files that lie there are those of others."""
    draw, final = story.draw, settings_of(known.root)["space"]["final"]
    if search(story, known) != 0 or story.problems:
        return
    other = draw.choice([count for count in (1, 2, 3) if count != final["seeds"]])
    trap = Trap(KILL, "final/seeds/", draw.randint(5, 20))
    search(story, known, "--set", f"final.seeds={other}", trap=trap)
    if not story.problems:
        search(story, known, "--set", f"final.seeds={final['seeds']}")


def drawn_fault(draw: random.Random) -> tuple[Trap | None, float | None]:
    """What happens to a command: a trap, or a kill after some seconds, or nothing."""
    luck = draw.random()
    if luck < 0.3:
        return None, None
    if luck < 0.38:
        return None, draw.uniform(0.02, 0.8)
    place = draw.choice(PLACES)
    at = draw.randint(1, 250) if not place else 1 + int(draw.expovariate(0.25))
    what = draw.choices((KILL, TERM, INT, FULL), (6, 1, 1, 1))[0]
    return Trap(what, place, at, half=what in (KILL, FULL) and draw.random() < 0.3), None
