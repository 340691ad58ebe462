"""Studies without training for the tests of the report page, and the page's data read from its HTML."""

import json
import math
import random
import re

from toy import toy_results

from avtune.core.hyper import Hyper
from avtune.core.trained_on import TrainedOn
from avtune.space.parse import parse
from avtune.study.best import Best, Finalist
from avtune.study.folder import StudyFolder
from avtune.study.study import Study

HYPERS = {
    "x": Hyper("x", "float", 0.5, 0.0, 1.0),
    "lr": Hyper("lr", "float", 0.01, 1e-5, 1.0),
    "kind": Hyper("kind", "choice", "a", values=("a", "b", "</script><b>c</b>"), static=True),
    "fixed": Hyper("fixed", "int", 3, 1, 9),
}
AXES = """x: {type: float, low: 0.0, high: 1.0}, lr: {type: float, low: 0.0001, high: 0.1, log: true},
  kind: {type: choice, values: [a, b, '</script><b>c</b>']}, fixed: 3"""


def space_of(trials, *, sampler="random", epochs=9, startup=10):
    return parse(
        f"method: toy\nspace: {{{AXES}}}\n"
        f"search: {{trials: {trials}, seed: 3, sampler: {sampler}, startup_trials: {startup}}}\n"
        f"early_stopping: {{epochs: {epochs}, grace: 1, factor: 3}}",
        file="toy.yaml",
        hypers_of=lambda name: HYPERS,
        method_names=["toy"],
    )


def made_study(root, space, *, lanes=4, fails=(), score="val_map"):
    """A study that has been searched: several trials are under way at a time, those with even numbers on another engine
    than the odd ones, and trials in `fails` fail in their second epoch, after a first one that was better than all
    others. What they reach is called `score`."""
    folder = StudyFolder(root)
    settings = {"format": 1, "dataset": {"name": "toy", "digest": ""}, "space": space.as_dict()}
    folder.create({**settings, "deterministic": False, "precision": "fp32"}, {})
    study, draw, running = Study(folder, space), random.Random(0), {}
    while True:
        while len(running) < lanes and (trial := study.ask()) is not None:
            running[trial.number] = (trial, 0)
        if not running:
            break
        number = draw.choice(sorted(running))
        trial, epoch = running[number][0], running[number][1] + 1
        if number in fails and epoch == 2:
            study.tell(number, "it <b>failed</b>")
            del running[number]
            continue
        top = 0.2 + 0.4 * trial.config["x"] - 0.05 * abs(math.log10(trial.config["lr"]) + 2)
        value = top * (1 - math.exp(-epoch / (2 + 3 * trial.config["x"]))) + draw.gauss(0, 0.005)
        study.trained_on(number, TrainedOn("CPU", f"engine {number % 2}"))
        metrics = {score: 0.99 if number in fails else value, "seconds": 0.1 + 0.1 * draw.random(), "loss": 1.0}
        if study.report(number, epoch, metrics) and epoch < trial.epochs:
            running[number] = (trial, epoch)
        else:
            study.tell(number)
            del running[number]
    study.close()
    return study


def payload_of(html):
    """The data that the page's scripts are given."""
    found = re.search(r'<script type="application/json" id="payload">(.*?)</script>', html, re.DOTALL)
    assert found is not None
    return json.loads(found.group(1))


def finals_of(study, *, finalists=3):
    """`best.yaml` and `metrics.json` of such a study, as the finals would have written them; nothing is trained."""
    top = study.ranking()[:finalists]
    rows = [Finalist(one.number, 4, one.best_value - 0.02, 0.01, False, (one.best_value - 0.03, one.best_value - 0.01))
            for one in top]  # fmt: skip
    rows.append(Finalist(None, 4, 0.2, 0.01, True, (0.19, 0.21)))
    winner = top[0]
    best = Best(winner.number, winner.best_epoch, winner.best_value, winner.trial.config, tuple(rows))
    low = toy_results(0.4, 2).test
    return best, toy_results(0.6, 2, trial=winner.number, default=low, untrained=low)
