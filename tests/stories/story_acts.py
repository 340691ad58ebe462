"""The steps of a story, drawn one after the other."""

from __future__ import annotations

import copy
import json
import os
import random
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import yaml
from story_bench import bench
from story_checks import config_of
from story_commands import Ended, Forked
from story_files import settings_of, tree, trials_of, whole
from story_known import Known
from story_looks import after_evaluate, after_retrain, after_search
from story_processes import drawn_blow
from story_results import score_problems
from story_tell import Story
from story_traps import FULL, INT, KILL, PLACES, TERM, WAIT, Trap
from story_undisturbed import compare
from story_world import OLD

from avtune.aggregate.model import load_model
from avtune.metrics import retrieval_scores

INLINE = ["--runner", "inline", "--gpus", "0"]
FIXTURE = Path(__file__).parents[1] / "fixtures" / "study_v1"
_MOST_TRIALS, _MOST_EPOCHS = 7, 5


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
        names = [name for name, (_, when) in ACTS.items() if when(known)]
        name = draw.choices(names, [ACTS[name][0] for name in names])[0]
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
    story.say(f"  cp -r tests/fixtures/study_v1 {_shown(story, known.root)}")
    known.old = frozenset(range(len(trials_of(known.root))))
    known.looks = {"that of the earlier version, which retrained with other seeds"}
    known.result = known.metrics
    story.check(known)


def step(story: Story, name: str, known: Known) -> None:
    """Does one of `ACTS`."""
    story.actions[name] += 1
    globals()[f"_{name.replace(' ', '_')}"](story, known)


# -- searching -----------------------------------------------------------------------------------------------------


def search_words(story: Story, known: Known, *more: str) -> list[str]:
    """The command that begins or continues a study."""
    world = story.world
    words = ["search", known.data.name, "--name", known.root.name, "--results", _shown(story, known.root.parent)]
    words += INLINE
    if not known.exists:
        words += ["--space", "space.yaml", "--precision", world.precision, "--protocol", world.protocol]
        words += ["--deterministic"] * world.deterministic
        words += ["--keep", "2"] if story.draw.random() < 0.3 else []
    elif story.draw.random() < 0.3:
        words += ["--space", "space.yaml"]
    return [*words, *more]


def _shown(story: Story, path: Path) -> str:
    return str(path.relative_to(story.world.folder))


def _search(story: Story, known: Known, *more: str) -> None:
    """The study begins or goes on, and something may happen to it."""
    trap, seconds = _fault(story.draw)
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


def _extend(story: Story, known: Known) -> None:
    """More trials, more epochs, other finals, other checkpoints: one or two of them at once."""
    now, draw = settings_of(known.root)["space"], story.draw
    ways = {
        "trials": ["--trials", str(min(_MOST_TRIALS, now["search"]["trials"] + draw.randint(1, 2)))],
        "finalists": ["--set", f"final.finalists={draw.randint(1, 3)}"],
        "seeds": ["--set", f"final.seeds={draw.randint(1, 3)}"],
        "keep": ["--keep", str(draw.randint(0, 2))],
    }
    if story.world.grows and now["early_stopping"]["epochs"] < _MOST_EPOCHS:
        ways["epochs"] = ["--epochs", str(now["early_stopping"]["epochs"] + 1)]
    chosen = draw.sample(sorted(ways), draw.randint(1, 2))
    story.actions.update(f"extend: {name}" for name in chosen)
    _search(story, known, *[word for name in chosen for word in ways[name]])


def _finals(story: Story, known: Known) -> None:
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


def _there_and_back(story: Story, known: Known) -> None:
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


def _fault(draw: random.Random) -> tuple[Trap | None, float | None]:
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


def finish(story: Story, known: Known) -> None:
    """The study is continued to its end."""
    if known.bench:
        bench(story, (None, None))
        return
    if search(story, known) == 0 and not story.problems:
        before = tree(known.root)
        search(story, known)  # is shown again, and nothing changes
        if {name for name in before if not name.startswith("tensorboard")} - set(tree(known.root)):
            story.problem("a finished study that is shown again has lost files")


# -- looking at it -------------------------------------------------------------------------------------------------


def _retrain(story: Story, known: Known) -> None:
    """A trial is trained for good by hand."""
    draw, trials, settings = story.draw, trials_of(known.root), settings_of(known.root)
    number = draw.randrange(len(trials) + 1)
    one = trials[number] if number < len(trials) else None
    out = known.root / f"retrained_trial_{number}"
    words = ["retrain", known.root.name, "--results", _shown(story, known.root.parent), "--trial", str(number)]
    words += [*INLINE, "--dataset", known.data.name]
    epochs, seeds = None, settings["space"]["final"]["seeds"]
    if draw.random() < 0.5:
        epochs, seeds = draw.randint(1, 3), draw.randint(1, 2)
        words += ["--epochs", str(epochs), "--seeds", str(seeds)]
    fits = one is not None and bool(one.values) and not out.exists()
    trap, seconds = _fault(draw) if fits else (None, None)
    before, curves = story.others(known), known.appended.get("curves.jsonl")
    ended = story.command(words, expect=0 if fits else 2, trap=trap, kill_after=seconds)
    now = trials_of(known.root)
    if curves != whole(known.root / "curves.jsonl"):
        known.current = False
    if fits:
        config = config_of(now[number], settings)
        epochs = epochs or _usual_epochs(known, number) or now[number].best_epoch
        assert epochs is not None
        for text in after_retrain(known, config, epochs, seeds, out):
            story.problem(f"{known.root.name}: {text}")
        if (ended.code == 0) != out.exists() and ended.code != -9:
            story.problem(f"retrain ended with {ended.code}, its folder is {'there' if out.exists() else 'not there'}")
        if out.exists():
            known.retrained.append(out)
            _check_retrained(story, known, out, config, epochs, seeds)
    story.check(known, in_order=False)
    if ended.code == 0 and list(known.root.glob(".retrained*")):
        story.problem("what a kill left of a trial that was being retrained is still there")
    story.untouched(before)


def _usual_epochs(known: Known, number: int) -> int | None:
    path = known.root / "best.yaml"
    rows = yaml.safe_load(path.read_text())["finalists"] if path.is_file() else []
    return next((row["epoch"] for row in rows if row["trial"] == number), None)


def _check_retrained(story: Story, known: Known, out: Path, config: dict[str, object], epochs: int, seeds: int) -> None:
    metrics, settings = json.loads((out / "metrics.json").read_text()), settings_of(known.root)
    model = load_model(out)
    if dict(model.config) != config or (metrics["epochs"], len(metrics["seeds"])) != (epochs, seeds):
        story.problem(f"{out.name} is of another configuration, or trained otherwise than asked")
        return
    horizon = story.maker.horizon(known.root, settings)
    made = [story.maker.retrained(settings, horizon, config, seed, epochs) for seed in metrics["seeds"]]
    for text in score_problems(known, "test", metrics["test"], [story.maker.scores(one) for one in made]):
        story.problem(f"{out.name}: {text}")


def _evaluate(story: Story, known: Known) -> None:
    """A model of the study is scored: the winner's, a checkpoint, or a trial's that was retrained."""
    models = [known.root] if known.finished else []
    models += [path for path in sorted((known.root / "checkpoints").glob("trial_*")) if (path / "config.yaml").exists()]
    models += known.retrained
    if not models:
        return _status(story, known)
    folder, split = story.draw.choice(models), story.draw.choice(("test", "test", "train"))
    before = story.others()
    words = ["evaluate", _shown(story, folder), known.data.name, "--json", "--split", split]
    trap, seconds = _fault(story.draw) if story.draw.random() < 0.4 else (None, None)
    ended = story.command(words, trap=trap, kill_after=seconds)
    model = load_model(folder)
    if split == "test":
        checkpoint = folder.parent.name == "checkpoints"
        for text in after_evaluate(known, model if checkpoint else None, in_order=ended.code == 0):
            story.problem(f"{known.root.name}: {text}")
        before.pop(known.root)  # its count, its card and its report may change; what they say is checked
    story.untouched(before)
    story.check(known, in_order=False)
    if ended.code == 0:
        rows = story.maker.dataset.test if split == "test" else story.maker.dataset.train
        scores = retrieval_scores(*model.embed(rows.audio, rows.visual), rows.labels, exact=True)
        if abs(json.loads(ended.out)["map"] - scores.map) > 1e-6:
            story.problem(f"{folder.name} scores {scores.map} on {split}, evaluate says {ended.out[:100]}")
    return None


def _status(story: Story, known: Known) -> None:
    before = story.others()
    ended = story.command(["status", known.root.name, "--results", _shown(story, known.root.parent), "--json"])
    story.untouched(before)
    if ended.code == 0:
        said, trials = json.loads(ended.out), trials_of(known.root)
        best = max((one for one in trials if one.values), key=lambda one: (one.best, -one.number), default=None)
        ended_well = sum(one.state == "COMPLETE" for one in trials)
        wrong = said["finished"] != known.finished or said["states"]["COMPLETE"] != ended_well
        if wrong or (best is not None and (said["best"]["trial"], said["best"]["val_map"]) != (best.number, best.best)):
            story.problem(f"status says {said}")


def _refuse(story: Story, known: Known) -> None:
    """What may not change is refused, and nothing changes."""
    now, draw = settings_of(known.root)["space"], story.draw
    where = ["--name", known.root.name, "--results", _shown(story, known.root.parent), *INLINE]
    asked = [
        ["search", known.data.name, *where, "--trials", str(now["search"]["trials"] - 1)],
        ["search", known.data.name, *where, "--set", "search.seed=12345"],
        ["search", known.data.name, *where, "--set", "early_stopping.factor=5"],
        ["search", "other.h5", *where],
        ["search", known.data.name, *where, "--keep", "-1"],
        ["retrain", *where[1:], "--trial", "99", "--dataset", known.data.name],
        ["retrain", *where[1:], "--trial", "0", "--dataset", "other.h5"],
    ]
    before = story.others()
    story.command(draw.choice(asked), expect=2)
    story.untouched(before)


# -- two at once, and other places ---------------------------------------------------------------------------------


def _two_drivers(story: Story, known: Known) -> None:
    """A second command on a study that another one works on is refused, and changes nothing."""
    draw, trials = story.draw, settings_of(known.root)["space"]["search"]["trials"]
    more = ["--trials", str(min(_MOST_TRIALS, trials + 1)), "--set", f"final.seeds={draw.randint(1, 3)}"]
    trap = Trap(WAIT, draw.choice(PLACES), 1 + int(draw.expovariate(0.2)))
    words, others = search_words(story, known, *more), story.others(known)
    with Forked(words, story.world.folder, story.folder / "notes", trap) as driver:
        if driver.until_it_waits():
            before = tree(known.root)
            where = ["--results", _shown(story, known.root.parent), *INLINE]
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


def _move(story: Story, known: Known) -> None:
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
    story.say(f"  mkdir {new.parent.name}; mv {_shown(story, known.root)} {_shown(story, new)}")
    known.retrained = [new / path.name for path in known.retrained]
    known.root = new


def _copy(story: Story, known: Known) -> None:
    """A copy of the study is a study of its own."""
    new = known.root.parent / f"copy-{sum(story.actions.values())}"
    shutil.copytree(known.root, new)
    story.say(f"  cp -r {_shown(story, known.root)} {_shown(story, new)}")
    twin = copy.deepcopy(known)
    twin.root, twin.retrained = new, [new / path.name for path in known.retrained]
    story.studies.append(twin)


def _tear(story: Story, known: Known) -> None:
    """A line that a power loss left half written at the end of an append-only file."""
    name = story.draw.choice(("journal.log", "curves.jsonl", "repeats.jsonl", "scored.jsonl"))
    path = known.root / name
    if path.is_file() and path.read_bytes().endswith(b"\n"):
        half = b'{"trial":1,"epoch":2,"lo'[: story.draw.randint(1, 24)]
        path.write_bytes(path.read_bytes() + half)
        story.say(f"  printf '{half.decode()}' >> {_shown(story, path)}")
        story.faults["torn line"] += 1


def _bench(story: Story, known: Known) -> None:
    bench(story, _fault(story.draw))


def _alone(known: Known) -> bool:
    return not known.bench


def _there(known: Known) -> bool:
    return known.exists


def _both(known: Known) -> bool:
    return _there(known) and _alone(known)


ACTS = {
    "search": (3, _alone),
    "extend": (8, _both),
    "finals": (4, _both),
    "there and back": (1.5, _both),
    "retrain": (2.5, _there),
    "evaluate": (2, _there),
    "status": (0.5, _there),
    "refuse": (1, _both),
    "two drivers": (1.2, _both),
    "move": (1, _both),
    "copy": (0.5, _both),
    "tear": (0.5, _there),
    "bench": (0.6, _there),
}
"""The steps: how often each is drawn, and when it can be."""
