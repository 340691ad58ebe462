"""The verbs: parse, call, print. Exit codes: 0 done, 1 our mistake, 2 the user's, 130 and 143 interrupted."""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import sys
import traceback
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from avtune import console
from avtune.arguments import parser
from avtune.errors import UserError, did_you_mean
from avtune.report.text import short, table

if TYPE_CHECKING:
    from avtune.study.folder import StudyFolder


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command.

    Returns:
        The exit code.
    """
    terminated: list[int] = []

    def terminate(number: int, frame: FrameType | None) -> None:
        terminated.append(number)
        raise KeyboardInterrupt  # of all exceptions a handler can raise, Ray's core lets only this one through

    before = signal.signal(signal.SIGTERM, terminate)
    log: list[Path] = []
    try:
        given = parser().parse_args(argv)
        return _VERBS[given.verb](given, log)
    except UserError as error:
        console.error(str(error))
        return 2
    except KeyboardInterrupt:
        console.error(f"{'terminated' if terminated else 'interrupted'}; the same command continues")
        return 143 if terminated else 130
    except BrokenPipeError:
        # The reader of our output has gone (`| head`); nothing more can be said.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:
        return _our_mistake(error, log)
    finally:
        signal.signal(signal.SIGTERM, before)


def _our_mistake(error: Exception, log: list[Path]) -> int:
    from avtune.aggregate.final import NoWinner

    if isinstance(error, NoWinner):
        console.error(str(error))
        return 1
    details = traceback.format_exc()
    first = str(error).splitlines()[0] if str(error) else ""
    where = "" if not log else f"; details in {log[0]}"
    if isinstance(error, OSError) and error.strerror:
        first = f"{error.strerror}: {error.filename}" if error.filename else error.strerror
    console.error(f"{type(error).__name__}: {first}{where}")
    if not log:
        print(details, file=sys.stderr)
        return 1
    stamp = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    try:
        with log[0].open("a", encoding="utf-8") as handle:
            handle.write(f"{stamp} {details}\n")
    except OSError:
        print(details, file=sys.stderr)
    return 1


def _search(given: argparse.Namespace, log: list[Path]) -> int:
    from avtune.data import load
    from avtune.data.registry import REGISTRY
    from avtune.machine import Wish
    from avtune.search import Request, search
    from avtune.study.folder import StudyFolder

    overrides = list(given.set)
    if given.trials is not None:
        overrides.append(f"search.trials={given.trials}")
    known = REGISTRY.get(given.dataset)
    space = _space(given.space or (known.space if known else "psd"), overrides)
    dataset = load(given.dataset, classes=given.classes)
    folder = StudyFolder(given.results / _study_name(given.name or dataset.name))
    if folder.exists:
        log.append(folder.log)
    request = Request(
        dataset=dataset,
        spec=given.dataset if known else str(Path(given.dataset).resolve()),
        space=space,
        folder=folder,
        wish=Wish(given.gpus, given.trials_per_gpu, given.lanes),
        runner=given.runner,
        precision=given.precision,
        deterministic=given.deterministic,
    )
    log[:] = [folder.log]
    search(request)
    return 0


def _status(given: argparse.Namespace, log: list[Path]) -> int:
    from avtune.search import read_best, read_metrics
    from avtune.study.status import read_status

    folder = _existing(given)
    status = read_status(folder)
    metrics, best = read_metrics(folder), read_best(folder)
    if given.json:
        print(json.dumps(status | {"finished": metrics is not None, "test": metrics and metrics["test"]}, indent=2))
        return 0
    words = {"COMPLETE": "complete", "PRUNED": "stopped early", "FAIL": "failed", "RUNNING": "not ended"}
    counts = ", ".join(f"{count} {words[state]}" for state, count in status["states"].items())
    console.say(f"study    {folder.root}", f"dataset  {status['dataset']}", f"trials   {status['trials']}: {counts}")
    if status["best"]:
        top = status["best"]
        console.say(f"best     trial {top['trial']}: validation MAP {top['val_map']:.4f} at epoch {top['epoch']}")
    if metrics is not None:
        console.say("", *console.result_lines(metrics, best))
    else:
        console.say("not finished: the same search command continues it")
    return 0


def _evaluate(given: argparse.Namespace, log: list[Path]) -> int:
    from avtune.evaluate import embeddings_of, evaluation, read_embeddings

    ranks = _ranks(given.at)
    if given.embeddings is not None:
        if given.model or given.dataset:
            raise UserError("--embeddings already holds everything; leave the model and the dataset out")
        audio, visual, labels = read_embeddings(given.embeddings)
        title = str(given.embeddings)
    else:
        if not given.model or not given.dataset:
            raise UserError(
                "evaluate needs a model and a dataset, or --embeddings FILE.npz\nsee: avtune evaluate --help"
            )
        audio, visual, labels = embeddings_of(_model_folder(given), given.dataset, given.classes, given.split)
        title = f"{given.model} on {given.dataset} ({given.split} split)"
    facts = evaluation(audio, visual, labels, ranks, curve=given.curve)
    if given.json:
        print(json.dumps(facts, indent=2, allow_nan=False))
        return 0
    low, high = facts["bootstrap95"]["map"]
    rows = [[name, f"{facts[name]:.4f}"] for name in ("map", "map_a2v", "map_v2a", "map_running")]
    console.say(f"{title}: {facts['clips']} clips, {facts['classes']} classes", "", *table(["", "score"], rows))
    console.say(f"over the queries (bootstrap) the 95 % interval of map is {low:.4f} to {high:.4f}", "")
    console.say(
        *table(
            ["k", "precision a->v", "precision v->a", "recall a->v", "recall v->a"],
            [[str(row["k"]), *(f"{row[key]:.4f}" for key in list(row)[1:])] for row in facts["at"]],
        )
    )
    if given.curve:
        curve = facts["curve"]
        rows = [[f"{r:.2f}", f"{a:.4f}", f"{v:.4f}"] for r, a, v in zip(*curve.values(), strict=True)]
        console.say("", *table(["recall", "precision a->v", "precision v->a"], rows))
    return 0


def _embed(given: argparse.Namespace, log: list[Path]) -> int:
    from avtune.evaluate import embeddings_of, write_embeddings

    if given.out.exists() and not given.overwrite:
        raise UserError(f"{given.out} exists; give another --out, or --overwrite")
    audio, visual, labels = embeddings_of(_model_folder(given), given.dataset, given.classes, given.split)
    write_embeddings(given.out, audio, visual, labels)
    console.say(f"{given.out}: audio and visual {audio.shape[0]} x {audio.shape[1]}, labels")
    return 0


def _retrain(given: argparse.Namespace, log: list[Path]) -> int:
    from avtune.aggregate.final import Workshop
    from avtune.data import load
    from avtune.machine import Wish, slots
    from avtune.retrain import choose, retrain_trial
    from avtune.search import data_bytes, open_space, runner_named
    from avtune.study.study import Study

    folder = _existing(given)
    log.append(folder.log)
    settings = folder.settings()
    name, runner = runner_named(given.runner)
    wish = Wish(given.gpus, given.trials_per_gpu, given.lanes)
    dataset = load(given.dataset or settings["dataset"]["spec"], classes=given.classes)
    if dataset.digest != settings["dataset"]["digest"]:
        raise UserError(
            f"the dataset {given.dataset or settings['dataset']['spec']!r} is not the one of {folder.root}: "
            "its content differs; give the right one with --dataset"
        )
    with folder.locked():
        study = Study(
            folder,
            open_space(folder),
            deterministic=bool(settings["deterministic"]),
            precision=str(settings["precision"]),
        )
        places = slots(wish, name, given.seeds or study.space.final.seeds)
        record = choose(study, given.trial)
        if given.epochs is None and record.state == "PRUNED":
            console.say(f"note: trial {record.number} was stopped early; --epochs N trains it longer")
        out = given.out or folder.root / f"retrained_trial_{record.number}"
        if out.exists():
            raise UserError(f"{out} exists; give another --out")
        with console.Progress(0) as progress, runner(places, data_bytes(dataset, 0)) as run:
            shop = Workshop(run, progress.stage)
            metrics = retrain_trial(study, record, dataset, shop, epochs=given.epochs, seeds=given.seeds, out=out)
    console.say(*console.result_lines(metrics, None), "", f"model  {out}")
    return 0


def _data(given: argparse.Namespace, log: list[Path]) -> int:
    from avtune.data import load
    from avtune.data.info import describe
    from avtune.data.registry import REGISTRY, data_folders, locate

    if given.action == "list":
        for entry in REGISTRY.values():
            found = locate(entry)
            console.say(
                f"{entry.name}: {entry.title}; {entry.num_train} training and {entry.num_test} test clips, "
                f"audio {entry.audio_dim}-d, visual {entry.visual_dim}-d",
                f"  from   {entry.origin}" + (f", as {entry.file}" if entry.file else ""),
                f"  here   {found}" if found else f"  put in {data_folders()[0]}" if entry.file else "  here   always",
                f"  type   {entry.command}",
            )
        return 0
    dataset = load(given.dataset, classes=given.classes)
    if given.action == "convert":
        from avtune.data.formats import write_hdf5

        write_hdf5(dataset, given.out, overwrite=given.overwrite)
        console.say(f"{given.out}: {len(dataset.train)} training and {len(dataset.test)} test clips")
        return 0
    facts = describe(dataset)
    if given.json:
        print(json.dumps(facts, indent=2))
        return 0
    console.say(*console.data_lines(facts))
    return 0


def _space_verb(given: argparse.Namespace, log: list[Path]) -> int:
    from avtune.space import names

    if given.action == "list":
        console.say(*names())
        return 0
    space = _space(given.space, given.set)
    if given.action == "show":
        print(space.to_yaml(), end="")
        return 0
    console.say(f"{given.space} is a legal space for {space.method}: searches {len(space.axes)} hyper-parameters")
    rows = [
        [axis.name, short(axis.low) if axis.low is not None else "", short(axis.high) if axis.high is not None else "",
         "log" if axis.log else "", " ".join(map(str, axis.values))]
        for axis in space.axes
    ]  # fmt: skip
    console.say(*table(["", "low", "high", "", "values"], rows), *(f"note: {note}" for note in space.notes()))
    return 0


def _methods(given: argparse.Namespace, log: list[Path]) -> int:
    from avtune.methods import METHODS, get

    if given.method is None:
        console.say(*table(["method", ""], [[name, kind.summary] for name, kind in METHODS.items()]))
        return 0
    kind = get(given.method)
    console.say(f"{kind.name}: {kind.summary}", f"source: {kind.source}", "")
    rows = [[hyper.name, short(hyper.default), hyper.range_text, hyper.doc] for hyper in kind.hypers]
    console.say(*table(["hyper-parameter", "default", "legal", ""], rows))
    return 0


def _doctor(given: argparse.Namespace, log: list[Path]) -> int:
    from avtune.doctor import examine

    findings = examine(given.results)
    if given.json:
        print(json.dumps(findings, indent=2))
    else:
        console.say(*table(["", "what", ""], [[row["state"], row["what"], row["found"]] for row in findings]))
    return 1 if any(row["state"] == "bad" for row in findings) else 0


def _tensorboard(given: argparse.Namespace, log: list[Path]) -> int:
    from avtune.report.serve import serve

    folder = _existing(given).tensorboard if given.study else given.results
    if not folder.is_dir():
        raise UserError(f"{folder} does not exist: there is nothing to show yet")
    return serve(folder, given.port, console.say)


def _space(name: str, overrides: Sequence[str]) -> Any:
    from avtune.methods import METHODS, hypers_of
    from avtune.space import load

    return load(name, hypers_of=hypers_of, method_names=METHODS, overrides=overrides)


def _study_name(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", name):
        raise UserError(
            f"--name is {name!r}; allowed: letters, digits, '.', '_' and '-', at most 100, a letter or digit first"
        )
    return name


def _existing(given: argparse.Namespace) -> StudyFolder:
    """The folder of a study that is named, by its name below --results or by its path."""
    from avtune.study.folder import StudyFolder

    for path in (given.results / given.study, Path(given.study)):
        if StudyFolder(path).exists:
            return StudyFolder(path)
    there = [path.parent.name for path in given.results.glob("*/study.yaml")] if given.results.is_dir() else []
    known = f"\nstudies in {given.results}: {', '.join(sorted(there)[:10])}" if there else ""
    raise UserError(f"no study is called {given.study!r} in {given.results}{did_you_mean(given.study, there)}{known}")


def _model_folder(given: argparse.Namespace) -> Path:
    path = Path(given.model)
    return path if path.exists() or not (given.results / given.model).is_dir() else Path(given.results / given.model)


def _ranks(text: str) -> list[int]:
    if not re.fullmatch(r"[1-9]\d{0,8}(,[1-9]\d{0,8})*", text):
        raise UserError(f"--at is {text!r}; allowed: whole numbers from 1, separated by commas, e.g. --at 1,5,10")
    return sorted({int(part) for part in text.split(",")})


_VERBS = {
    "search": _search,
    "status": _status,
    "evaluate": _evaluate,
    "embed": _embed,
    "retrain": _retrain,
    "data": _data,
    "space": _space_verb,
    "methods": _methods,
    "doctor": _doctor,
    "tensorboard": _tensorboard,
}

if __name__ == "__main__":
    sys.exit(main())
