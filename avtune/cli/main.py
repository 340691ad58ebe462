"""The verbs: parse, call, print. Exit codes: 0 done, 1 our mistake, 2 the user's, 128 + the signal that ended it.

Long: a short function for each verb that works on a study, and what they share; those that only look up are in
`cli_lookups`.
"""

from __future__ import annotations

import argparse
import errno
import json
import os
import re
import sys
import traceback
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from avtune.cli import console
from avtune.cli.arguments import parser
from avtune.cli.data_text import problem_lines
from avtune.cli.lookups import LOOKUPS, list_studies
from avtune.cli.progress import Progress
from avtune.cli.result_text import result_lines
from avtune.cli.verify import verify
from avtune.core import signals
from avtune.core.errors import StorageError, UserError, did_you_mean, is_out_of_memory, shown
from avtune.core.names import MOST_LETTERS, is_legal_name, legal_name
from avtune.report.text import table, ties_text

if TYPE_CHECKING:
    from avtune.data.dataset import Dataset
    from avtune.engine.model import Model
    from avtune.runners.placement import PlacementRequest
    from avtune.study.folder import StudyFolder


# What a disk says, whatever the file: where we know which one, a `StorageError` names it.
_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG, errno.EIO, errno.ESTALE}
_DISK |= {errno.ENAMETOOLONG, errno.ELOOP, errno.ENOTDIR, errno.EACCES}  # and of the paths that a user can give


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command.

    Returns:
        The exit code.
    """
    console.show_everything()
    log: list[Path] = []
    with signals.taken() as came:
        try:
            given = parser().parse_args(argv)
            _name_own_code(given)
            try:
                return _VERBS[given.verb](given, log)
            except SystemExit as error:  # no code of ours: it would end the command without a word
                raise UserError(f"code that the command line names ended this command (SystemExit: {error})") from error
        except UserError as error:
            console.error(str(error))
            return 2
        except KeyboardInterrupt:
            return signals.part(signals.first(came))
        except BrokenPipeError:
            if came:  # of a process that has been ended too
                return signals.part(signals.first(came))
            # The reader of our output has gone (`| head`); nothing more can be said.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 1
        except Exception as error:
            # After a signal to all processes of a job, what Ray says of its own end may come before the interrupt.
            return signals.part(signals.first(came)) if came else _our_mistake(error, log)


def _name_own_code(given: argparse.Namespace) -> None:
    """Imports the user's own method or training function. Only what is typed is: no file can name code to run."""
    methods, method, train = (getattr(given, name, None) for name in ("methods", "method", "train"))
    named = [("--method", name.strip()) for name in (methods or "").split(",") if ":" in name]
    if method is not None and (":" in method or given.verb in ("evaluate", "embed", "retrain", "verify")):
        named.append(("--method", method))
    if train is not None:
        named.append(("--train", train))
    if named:
        from avtune.engine.user_code import register

        for option, spec in named:
            register(option, spec)


def _our_mistake(error: Exception, log: list[Path]) -> int:
    from avtune.cli.result_text import RETRY
    from avtune.core.files import private_files
    from avtune.finals.finish import NoWinner
    from avtune.runners.thread_limit import no_threads

    if isinstance(error, NoWinner):
        console.error(f"{error}\n{RETRY}" if error.retry else str(error))
        return 1
    if is_out_of_memory(error):
        from avtune.runners.out_of_memory import out_of_memory

        console.error(out_of_memory("this process could not take more"))
        return 2
    if (said := no_threads(error)) is not None:
        console.error(said)
        return 2
    if isinstance(error, OSError) and error.errno in _DISK:
        console.error(f"{error.strerror}: {error.filename or 'a file of ours'}")
        return 2
    details = traceback.format_exc()
    first = str(error).splitlines()[0] if str(error) else ""
    if isinstance(error, OSError) and error.strerror:
        first = f"{error.strerror}: {error.filename}" if error.filename else error.strerror
    stamp = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    try:
        with private_files(), log[0].open("a", encoding="utf-8") as handle:
            handle.write(f"{stamp} {details}\n")
    except (IndexError, OSError):  # there is none, or not yet
        console.error(f"{type(error).__name__}: {first}")
        print(details, file=sys.stderr)
    else:
        console.error(f"{type(error).__name__}: {first}; details in {log[0]}")
    return 1


def _search(given: argparse.Namespace, log: list[Path]) -> int:
    from avtune.cli.search_console import SearchConsole
    from avtune.core.protocol import PUBLISHED
    from avtune.data import load
    from avtune.data.registry import REGISTRY
    from avtune.study.folder import StudyFolder
    from avtune.workflows.choose_space import chosen
    from avtune.workflows.continuing import check_method_of, overrides_of
    from avtune.workflows.open_study import open_space
    from avtune.workflows.search import search
    from avtune.workflows.search_plan import Request

    overrides = list(given.set)
    if given.trials is not None:
        overrides.append(f"search.trials={given.trials}")
    if given.epochs is not None:
        overrides.append(f"early_stopping.epochs={given.epochs}")
    known = REGISTRY.get(given.dataset)
    method = given.train or given.method
    dataset = load(given.dataset, classes=given.classes)
    mark = "-published" if given.protocol == PUBLISHED else ""
    folder = StudyFolder(given.results / _study_name(given.name, "", dataset.name, mark))
    if folder.exists:  # continued, as it was recorded but for what the user says
        log.append(folder.log)
        if given.space is None or method is not None:
            check_method_of(folder, method)
        given_now, overrides = overrides, overrides_of(folder, overrides)
        if given.space:
            space = chosen(given.space, method, overrides=overrides)
        else:
            space = open_space(folder, given_now, method)
    else:
        space = chosen(given.space, method, usual=known.space if known else None, overrides=overrides)
    request = Request(
        dataset=dataset,
        spec=given.dataset if known else str(Path(given.dataset).resolve()),
        space=space,
        folder=folder,
        placement=_placement_request(given),
        runner=given.runner,
        precision=given.precision,
        deterministic=given.deterministic,
        overrides=overrides,
        protocol=given.protocol,
        keep=given.keep,
        retry_failed=given.retry_failed,
    )
    log[:] = [folder.log]
    try:
        search(request, SearchConsole())
    except StorageError as error:
        if not folder.exists:
            raise
        raise StorageError(f"{error}\nthe study keeps what it has; the same command continues") from None
    return 0


def _bench(given: argparse.Namespace, log: list[Path]) -> int:
    from avtune.cli.bench_console import BenchConsole
    from avtune.data import load
    from avtune.data.registry import REGISTRY
    from avtune.workflows.bench.folder import BenchFolder
    from avtune.workflows.bench.rules import Rules, command_of, epochs_of, spaces_of
    from avtune.workflows.bench.run import BenchRequest, bench

    dataset = load(given.dataset, classes=given.classes)
    folder = BenchFolder(given.results / _study_name(given.name, "bench-", dataset.name))
    epochs = None if given.epochs is None else epochs_of(given.epochs)
    if epochs is None and folder.exists:  # those of a bench that began when another number was usual
        epochs = folder.settings().get("epochs")
    chosen = {"trials": given.trials, "epochs": epochs, "seeds": given.seeds}
    rules = Rules(**{name: value for name, value in chosen.items() if value is not None})
    spaces = spaces_of(given.methods, given.space, rules)
    request = BenchRequest(
        dataset=dataset,
        spec=given.dataset if given.dataset in REGISTRY else str(Path(given.dataset).resolve()),
        command=command_of(given.dataset, given.methods, given.space, rules, given.classes),
        spaces=spaces,
        rules=rules,
        root=folder.root,
        placement=_placement_request(given),
        runner=given.runner,
        precision=given.precision,
        deterministic=given.deterministic,
    )
    log[:] = [folder.shared.log]
    board = bench(request, BenchConsole())
    return 1 if board.failures else 0


def _status(given: argparse.Namespace, log: list[Path]) -> int:
    from avtune.study.best import read_best
    from avtune.study.results import read_results
    from avtune.study.status import command_to_continue, read_status

    if given.study is None:
        return list_studies(given)
    folder = _existing(given)
    status = read_status(folder)
    results, best = read_results(folder), read_best(folder)
    if given.json:
        facts = results.to_json() if results is not None else {}
        more = {"finished": results is not None, "running": folder.owner(), "test": facts.get("test")}
        more |= {key: facts[key] for key in ("label", "problems") if key in facts}
        print(json.dumps(status | more, indent=2))
        return 0
    words = {"COMPLETE": "complete", "PRUNED": "stopped early", "FAIL": "failed", "RUNNING": "not ended"}
    counts = ", ".join(f"{count} {words[state]}" for state, count in status["states"].items())
    console.say(f"study    {folder.root}", f"dataset  {status['dataset']}", f"trials   {status['trials']}: {counts}")
    if status["best"]:
        top = status["best"]
        console.say(f"best     trial {top['trial']}: validation MAP {top['val_map']:.4f} at epoch {top['epoch']}")
    if results is not None:
        console.say("", *result_lines(results, best))
    elif owner := folder.owner():
        console.say(f"running now: {owner}")
    else:
        console.say(f"not finished; to continue: {command_to_continue(folder)}")
    return 0


def _evaluate(given: argparse.Namespace, log: list[Path]) -> int:
    from avtune.data import examine, load
    from avtune.workflows.evaluate import embeddings_of, evaluation, model_of, read_embeddings

    label = counted = ""
    problems: list[str] = []
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
        model = model_of(_model_folder(given), given.method)
        label = str(model.about.get("epoch", ""))
        dataset = load(given.dataset, classes=given.classes)
        problems = list(examine(dataset).problems)
        if not given.json:
            console.say(*problem_lines(problems))
        counted = _count_look(given, model, dataset)
        audio, visual, labels = embeddings_of(model, dataset, given.split)
        title = f"{given.model} on {given.dataset} ({given.split} split)"
    facts = evaluation(audio, visual, labels, ranks, curve=given.curve) | ({"epoch": label} if label else {})
    facts |= {"problems": problems} if problems else {}
    facts |= {"look": counted} if given.json and counted else {}
    if given.json:
        print(json.dumps(facts, indent=2, allow_nan=False))
        return 0
    console.say(*([f"note: {counted}"] if counted else []))
    title += f"; the model's epoch was {label}" if label else ""
    low, high = facts["bootstrap95"]["map"]
    ties = [ties_text(facts["tied_queries"])] if facts["tied_queries"] else []
    rows = [[name, f"{facts[name]:.4f}"] for name in ("map", "map_a2v", "map_v2a", "map_running")]
    console.say(f"{title}: {facts['clips']} clips, {facts['classes']} classes", "", *table(["", "score"], rows))
    console.say(f"over the queries (bootstrap) the 95 % interval of map is {low:.4f} to {high:.4f}", *ties, "")
    console.say(
        *table(
            ["k", "precision a->v", "precision v->a", "recall a->v", "recall v->a"],
            [[str(row["k"]), *(f"{row[key]:.4f}" for key in list(row)[1:])] for row in facts["at"]],
        )
    )
    if beyond := [str(k) for k in ranks if k > facts["clips"]]:
        console.say(f"note: no precision and recall at {', '.join(beyond)}: there are {facts['clips']} clips")
    if given.curve:
        curve = facts["curve"]
        rows = [[f"{r:.2f}", f"{a:.4f}", f"{v:.4f}"] for r, a, v in zip(*curve.values(), strict=True)]
        console.say("", *table(["recall", "precision a->v", "precision v->a"], rows))
    return 0


def _embed(given: argparse.Namespace, log: list[Path]) -> int:
    from avtune.data import load
    from avtune.workflows.evaluate import check_out, embeddings_of, model_of, write_embeddings

    check_out(given.out)
    if given.out.exists() and not given.overwrite:
        raise UserError(f"{given.out} exists; give another --out, or --overwrite")
    model = model_of(_model_folder(given), given.method)
    dataset = load(given.dataset, classes=given.classes)
    counted = _count_look(given, model, dataset)
    audio, visual, labels = embeddings_of(model, dataset, given.split)
    write_embeddings(given.out, audio, visual, labels)
    console.say(f"{given.out}: audio and visual {audio.shape[0]} x {audio.shape[1]}, labels")
    console.say(*([f"note: {counted}"] if counted else []))
    return 0


def _count_look(given: argparse.Namespace, model: Model, dataset: Dataset) -> str:
    """Counts that a model is scored, or made ready to be, on the test split of its study; says what came of it. Before
    anything is shown: a look that was interrupted has been one."""
    from avtune.finals.looks import count_look, is_behind, is_new_look, lost, study_of

    if given.split != "test":
        return ""
    place = _model_folder(given)
    folder = study_of(model, place, given.results)
    if folder is None:
        return lost(model, given.results)
    new = folder.settings()["dataset"]["digest"] == dataset.digest and is_new_look(folder, model)
    if not new and not is_behind(folder):
        return ""
    with folder.locked():
        count = count_look(folder, model) if new else 0
        _show_looks(folder, given.method)
    if not new:
        return ""
    return f"this look is counted: {count} configurations of {folder.root} have been scored on its test split"


def _show_looks(folder: StudyFolder, method: str | None) -> None:
    """Brings the model card, the metrics and the report of a study up to the looks at its test split."""
    from avtune.finals.looks import show_count
    from avtune.workflows.open_study import open_space, open_study
    from avtune.workflows.write_report import write_report

    if not show_count(folder):
        return
    study = open_study(folder, open_space(folder, method=method))
    study.close()
    write_report(study)


def _retrain(given: argparse.Namespace, log: list[Path]) -> int:
    from avtune.data import examine, load
    from avtune.finals.finish import FinalsRun
    from avtune.report.card import model_card
    from avtune.runners.placement import place
    from avtune.study.limits import batch_note
    from avtune.workflows.choose_runner import data_bytes, runner_named
    from avtune.workflows.open_study import open_space, open_study
    from avtune.workflows.retrain import choose, retrain_trial

    folder = _existing(given)
    log.append(folder.log)
    settings = folder.settings()
    name, runner = runner_named(given.runner, function=given.train is not None)
    request = _placement_request(given)
    dataset = load(given.dataset or settings["dataset"]["spec"], classes=given.classes)
    if dataset.digest != settings["dataset"]["digest"]:
        raise UserError(
            f"the dataset {given.dataset or settings['dataset']['spec']!r} is not the one of {folder.root}: "
            "its content differs; give the right one with --dataset"
        )
    with folder.locked():
        folder.clear_torn()
        study = open_study(folder, open_space(folder, method=given.train or given.method))
        runs = given.seeds or study.space.final.seeds
        placement = place(request, name, runs, exact=bool(settings["deterministic"]))
        record = choose(study, given.trial)
        console.say(*problem_lines(examine(dataset).problems))
        if given.epochs is None and record.state == "PRUNED":
            console.say(f"note: trial {record.number} was stopped early; --epochs N trains it longer")
        if given.train is None:
            console.say(*(f"note: {line}" for line in batch_note(record.trial.config, len(dataset.train))))
        out = given.out or folder.root / f"retrained_trial_{record.number}"
        if out.exists():
            raise UserError(f"{out} exists; give another --out")
        with Progress(0) as progress, runner(placement, data_bytes(dataset, 0)) as run:
            finals = FinalsRun(run, progress.stage, model_card)
            results = retrain_trial(study, record, dataset, finals, epochs=given.epochs, seeds=given.seeds, out=out)
        study.close()
        _show_looks(folder, given.train or given.method)
    console.say(*result_lines(results, None), "", f"model  {out}")
    return 0


def _curves(given: argparse.Namespace, log: list[Path]) -> int:
    from avtune.data import load
    from avtune.runners.placement import place
    from avtune.workflows import curves
    from avtune.workflows.choose_runner import data_bytes, runner_named

    lines = curves.lines_of(given.methods, given.mining, given.set, given.best)
    dataset = load(given.dataset, classes=given.classes)
    folder = given.results / _study_name(given.name, "curves-", dataset.name)
    curves.check(folder, epochs=given.epochs, seeds=given.seeds)
    name, runner = runner_named(given.runner)
    placement = place(_placement_request(given), name, len(lines) * given.seeds)
    with runner(placement, data_bytes(dataset, 1)) as run:
        data = curves.split(dataset)
        console.say(*(f"note: {note}" for note in curves.notes(lines, data)))
        curves.train(lines, data, run, Progress(0), epochs=given.epochs, seeds=given.seeds)
    console.say(*curves.write(lines, dataset, folder))
    return 1 if any(line.failures for line in lines) else 0


def _tensorboard(given: argparse.Namespace, log: list[Path]) -> int:
    from avtune.report.serve import serve

    folder = _existing(given).tensorboard if given.study else given.results
    if not folder.is_dir():
        raise UserError(f"{folder} does not exist: there is nothing to show yet")
    return serve(folder, given.port, console.say)


def _placement_request(given: argparse.Namespace) -> PlacementRequest:
    from avtune.runners.placement import PlacementRequest

    cluster = None
    if given.cluster is not None:
        from avtune.runners.ray.cluster import find_cluster

        if given.runner == "inline":
            raise UserError("--cluster goes with the runners lanes and processes; inline trains in this process")
        cluster = find_cluster(given.cluster, given.results)
    return PlacementRequest(
        given.gpus, given.trials_per_gpu, given.lanes, given.max_failures, given.trial_timeout, cluster, given.cpus
    )


def _study_name(name: str | None, before: str, dataset: str, after: str = "") -> str:
    """The name that the user gave, or one made of the dataset's."""
    if name is None:
        return before + legal_name(dataset, MOST_LETTERS - len(before + after)) + after
    if not is_legal_name(name):
        raise UserError(
            f"--name is {shown(name)}; allowed: letters, digits, '.', '_' and '-', at most {MOST_LETTERS}, "
            f"a letter or digit first; for example {legal_name(name)}"
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
    **LOOKUPS,
    "search": _search,
    "bench": _bench,
    "status": _status,
    "evaluate": _evaluate,
    "embed": _embed,
    "retrain": _retrain,
    "verify": verify,
    "curves": _curves,
    "tensorboard": _tensorboard,
}
