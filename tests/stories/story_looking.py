"""Steps that look at a study or its models: `retrain`, `evaluate`, `status`, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import yaml
from story_checks import config_of
from story_files import settings_of, trials_of, whole
from story_known import Known
from story_looks import after_evaluate, after_retrain
from story_results import score_problems
from story_searching import INLINE, drawn_fault, shown
from story_tell import Story
from story_traps import FULL

from avtune.engine.model import load_model
from avtune.metrics import retrieval_scores


def retrain(story: Story, known: Known) -> None:
    """A trial is trained for good by hand."""
    draw, trials, settings = story.draw, trials_of(known.root), settings_of(known.root)
    number = draw.randrange(len(trials) + 1)
    one = trials[number] if number < len(trials) else None
    out = known.root / f"retrained_trial_{number}"
    words = ["retrain", known.root.name, "--results", shown(story, known.root.parent), "--trial", str(number)]
    words += [*INLINE, "--dataset", known.data.name]
    epochs, seeds = None, settings["space"]["final"]["seeds"]
    if draw.random() < 0.5:
        epochs, seeds = draw.randint(1, 3), draw.randint(1, 2)
        words += ["--epochs", str(epochs), "--seeds", str(seeds)]
    fits = one is not None and bool(one.values) and not out.exists()
    trap, seconds = drawn_fault(draw) if fits else (None, None)
    before, curves = story.others(known), known.appended.get("curves.jsonl")
    ended = story.command(words, expect=0 if fits else 2, trap=trap, kill_after=seconds)
    now = trials_of(known.root)
    if curves != whole(known.root / "curves.jsonl"):
        known.current = False
    if ended.code == 0 and known.finished:
        known.current = True
    if fits:
        config = config_of(now[number], settings)
        epochs = epochs or _usual_epochs(known, number) or now[number].best_epoch
        assert epochs is not None
        for text in after_retrain(known, config, epochs, seeds, out):
            story.problem(f"{known.root.name}: {text}")
        interrupted = ended.code < 0 or ended.code > 128  # before the folder had its name, or after
        full = ended.code == 2 and trap is not None and trap.what == FULL  # after the model: the report tells of it
        if (ended.code == 0) != out.exists() and not interrupted and not full:
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


def evaluate(story: Story, known: Known) -> None:
    """A model of the study is scored: the winner's, a checkpoint, or a trial's that was retrained."""
    models = [known.root] if known.finished else []
    models += [path for path in sorted((known.root / "checkpoints").glob("trial_*")) if (path / "config.yaml").exists()]
    models += known.retrained
    if not models:
        return status(story, known)
    folder, split = story.draw.choice(models), story.draw.choice(("test", "test", "train"))
    before = story.others()
    words = ["evaluate", shown(story, folder), known.data.name, "--json", "--split", split]
    trap, seconds = drawn_fault(story.draw) if story.draw.random() < 0.4 else (None, None)
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


def status(story: Story, known: Known) -> None:
    before = story.others()
    ended = story.command(["status", known.root.name, "--results", shown(story, known.root.parent), "--json"])
    story.untouched(before)
    if ended.code == 0:
        said, trials = json.loads(ended.out), trials_of(known.root)
        best = max((one for one in trials if one.values), key=lambda one: (one.best, -one.number), default=None)
        ended_well = sum(one.state == "COMPLETE" for one in trials)
        wrong = said["finished"] != known.finished or said["states"]["COMPLETE"] != ended_well
        if wrong or (best is not None and (said["best"]["trial"], said["best"]["val_map"]) != (best.number, best.best)):
            story.problem(f"status says {said}")


def refuse(story: Story, known: Known) -> None:
    """What may not change is refused, and nothing changes."""
    now, draw = settings_of(known.root)["space"], story.draw
    where = ["--name", known.root.name, "--results", shown(story, known.root.parent), *INLINE]
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
