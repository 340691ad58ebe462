"""What must hold of a finished study's result: every file of it is computed again from the append-only files and from
runs that are trained again."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import yaml
from scipy import stats
from story_files import Trial
from story_known import Known
from story_remake import SCORES, Remake

from avtune.engine.model import load_model
from avtune.finals.select import repeat_seed
from avtune.study.horizon import Horizon

CLOSE = 1e-6
APART = 0.02
"""How far a score may be from that of the same run alone, where lanes trained it."""


def result_problems(
    known: Known, maker: Remake, horizon: Horizon, trials: list[Trial], settings: Mapping[str, Any]
) -> Iterator[str]:
    """What is wrong with `best.yaml` and `final/` of a study that is finished."""
    if not known.finished:
        return
    space = settings["space"]
    ended = [one.number for one in trials if one.state != "RUNNING"]
    if len(ended) != space["search"]["trials"]:
        yield f"finished with {len(ended)} of {space['search']['trials']} trials"
    best = yaml.safe_load((known.root / "best.yaml").read_text())
    metrics = json.loads((known.root / "final" / "metrics.json").read_text())
    if known.old and known.result == known.metrics:
        return  # by the version that made the study; nothing has been finished since
    winner = trials[best["trial"]]
    config = {**winner.config, **{k: v for k, v in space["space"].items() if k not in winner.config}}
    said = (best["config"], best["epoch"], best["val_map"])
    if said != (config, winner.best_epoch, winner.best):
        yield f"best.yaml says {said} of trial {winner.number}, the curves {winner.best_epoch}, {winner.best}"
    yield from _finalist_problems(known, maker, horizon, trials, settings, best)
    row = next((row for row in best["finalists"] if row["trial"] == best["trial"]), None)
    if row is None or best["retrain_epochs"] != row["epoch"]:
        yield f"best.yaml: the winner is no finalist, or has other epochs: {row}"
        return
    yield from _metrics_problems(known, maker, horizon, settings, best, row, metrics)


def _finalist_problems(
    known: Known,
    maker: Remake,
    horizon: Horizon,
    trials: list[Trial],
    settings: Mapping[str, Any],
    best: Mapping[str, Any],
) -> Iterator[str]:
    space, rows = settings["space"], best["finalists"]
    fit = [one for one in trials if one.state != "FAIL" and one.values]
    ranking = [one.number for one in sorted(fit, key=lambda one: (-(one.best or 0.0), one.number))]
    numbers = [row["trial"] for row in rows]
    if len(set(numbers)) != len(numbers):
        yield f"best.yaml: a finalist is there twice: {numbers}"
    missing = set(ranking[: space["final"]["finalists"]]) - set(numbers)
    if missing:
        yield f"best.yaml: {missing} are among the best and no finalists"
    defaults = horizon.space.defaults()
    if sum(row["default"] for row in rows) != 1:
        yield "best.yaml: the default configuration is not there once"
    for row in rows:
        config = defaults
        if row["trial"] != "default":
            searched = trials[row["trial"]].config
            config = {**searched, **{k: v for k, v in space["space"].items() if k not in searched}}
        if row["default"] != (config == defaults):
            yield f"best.yaml: {row['trial']} is called the default, or is it and not called so"
        yield from _row_problems(known, maker, horizon, settings, config, row)
    means = {row["trial"]: row["val_map_mean"] for row in rows if row["trial"] != "default" and not row.get("dropped")}
    if best["trial"] != max(means, key=lambda number: means[number]):
        yield f"best.yaml: trial {best['trial']} won, the means are {means}"


def _row_problems(
    known: Known,
    maker: Remake,
    horizon: Horizon,
    settings: Mapping[str, Any],
    config: Mapping[str, Any],
    row: Mapping[str, Any],
) -> Iterator[str]:
    count = settings["space"]["final"]["seeds"]
    if row.get("dropped"):  # from a race: it has fewer, the first ones
        count = len(row["seeds"])
    epochs = row["epoch"] if horizon.open else horizon.epochs(config)
    curves = [
        maker.curve(settings, horizon, config, repeat_seed(horizon.space, index), epochs, settings["precision"])
        for index in range(count)
    ]
    values = [curve[row["epoch"] - 1] for curve in curves]
    tolerance = 0.0 if known.exact else APART
    if len(values) != len(row["seeds"]) or not np.allclose(values, row["seeds"], rtol=0, atol=tolerance):
        yield f"best.yaml: finalist {row['trial']} has {row['seeds']}; trained again {values}"
        return
    if not math.isclose(row["val_map_mean"], float(np.mean(row["seeds"])), abs_tol=CLOSE):
        yield f"best.yaml: the mean of finalist {row['trial']} is not that of its seeds"
    if not horizon.open and known.exact:
        mean = np.mean(curves, axis=0)
        if row["epoch"] != int(np.argmax(mean)) + 1:
            yield f"best.yaml: finalist {row['trial']} peaks at {int(np.argmax(mean)) + 1}, not at {row['epoch']}"


def _metrics_problems(
    known: Known,
    maker: Remake,
    horizon: Horizon,
    settings: Mapping[str, Any],
    best: Mapping[str, Any],
    row: Mapping[str, Any],
    metrics: Mapping[str, Any],
) -> Iterator[str]:
    space = settings["space"]
    published = settings.get("protocol") == "published"
    epochs = metrics["epochs"] if published else best["retrain_epochs"]
    said = [metrics[key] for key in ("trial", "epochs", "method", "precision", "protocol")]
    if said != [best["trial"], epochs, space["method"], "fp32", settings.get("protocol", "validation")]:
        yield f"metrics.json says {said}; best.yaml has trial {best['trial']}, {best['retrain_epochs']} epochs"
    if metrics["dataset"]["digest"] != settings["dataset"]["digest"]:
        yield "metrics.json is of another dataset"
    if len(metrics["seeds"]) != space["final"]["seeds"]:
        yield f"metrics.json has {len(metrics['seeds'])} seeds of {space['final']['seeds']}"
    if metrics["validation"]["map"]["seeds"] != row["seeds"]:
        yield "metrics.json has other validation values than best.yaml"
    runs = {"test": (best["config"], epochs)}
    default = next((row for row in best["finalists"] if row["default"]), row)
    if default is row:
        if metrics["default"] != metrics["test"] or not metrics.get("default_is_winner"):
            yield "metrics.json: the default won and has other scores than the winner"
    else:
        runs["default"] = (horizon.space.defaults(), metrics["default"]["epochs"])
        if not published and metrics["default"]["epochs"] != default["epoch"]:
            yield f"metrics.json: the default has {metrics['default']['epochs']} epochs, not {default['epoch']}"
    for name, (config, length) in runs.items():
        made = [
            maker.retrained(settings, horizon, config, seed, length, published=published) for seed in metrics["seeds"]
        ]
        yield from score_problems(known, name, metrics[name], [maker.scores(one) for one in made])
        if published and name == "test" and [one.epochs for one in made] != metrics["best_epochs"]:
            yield f"metrics.json: the best epochs are {[one.epochs for one in made]}"
    fresh = [maker.untrained(space["method"], best["config"], seed) for seed in metrics["seeds"]]
    yield from score_problems(known, "untrained", metrics["untrained"], [maker.scores(one) for one in fresh])
    yield from _saved_problems(known, maker, best, metrics)


def score_problems(known: Known, name: str, table: Mapping[str, Any], scores: list[Any]) -> Iterator[str]:
    """Where a table of `metrics.json` is not that of scores."""
    for key in SCORES:
        said, found = table[key], [float(getattr(one, key)) for one in scores]
        tolerance = CLOSE if known.exact else APART
        if len(said["seeds"]) != len(found) or not np.allclose(said["seeds"], found, rtol=0, atol=tolerance):
            yield f"metrics.json: {name} {key} is {said['seeds']}; trained again it is {found}"
            return
        mean = float(np.mean(said["seeds"]))
        if not math.isclose(said["mean"], mean, abs_tol=CLOSE):
            yield f"metrics.json: {name} {key} has the mean {said['mean']}; that of its seeds is {mean}"
        if len(found) > 1:
            half = stats.t.ppf(0.975, len(found) - 1) * np.std(said["seeds"], ddof=1) / math.sqrt(len(found))
            if not np.allclose(said["ci95"], [mean - half, mean + half], rtol=0, atol=CLOSE):
                yield f"metrics.json: {name} {key} has the interval {said['ci95']}"


def _saved_problems(known: Known, maker: Remake, best: Mapping[str, Any], metrics: Mapping[str, Any]) -> Iterator[str]:
    """Whether what is saved beside `metrics.json` is what it speaks of: model, card, report, scores of the queries."""
    model = load_model(known.root / "final")
    if dict(model.config) != best["config"] or model.about["seed"] != metrics["seeds"][0]:
        yield "final/ holds a model of another configuration or seed than the winner's"
    test = maker.dataset.test
    audio, visual = model.embed(test.audio, test.visual)
    score = maker.scores(model.trained).map
    if not math.isclose(score, metrics["test"]["map"]["seeds"][0], abs_tol=CLOSE) or audio.shape != visual.shape:
        yield f"final/model.safetensors scores {score}, metrics.json says {metrics['test']['map']['seeds'][0]}"
    shown = f"{metrics['test']['map']['mean']:.4f}"
    report = [known.root / "report.html"] if known.current else []
    for path in (known.root / "final" / "MODEL_CARD.md", *report):
        if not path.is_file() or shown not in path.read_text():
            yield f"{path.name} does not show the winner's {shown}"
    with np.load(known.root / "final" / "query_ap.npz") as file:
        for way in ("a2v", "v2a"):
            if not np.allclose(file[f"test_{way}"].mean(1), metrics["test"][f"map_{way}"]["seeds"], atol=CLOSE):
                yield f"query_ap.npz: test_{way} is not what metrics.json says"
