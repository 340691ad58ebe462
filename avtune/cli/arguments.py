"""The command line's grammar: verbs, options and their help. Errors are one or two lines."""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import Any, NoReturn

from avtune import __version__
from avtune.core.errors import UserError, did_you_mean


class Parser(argparse.ArgumentParser):
    """Raises `UserError` instead of printing a usage text, with the nearest valid name where there is one."""

    def error(self, message: str) -> NoReturn:
        found = re.match(r"argument (\S+): invalid choice: '(.*?)' \(choose from (.*)\)", message)
        if found:
            names = re.findall(r"[\w-]+", found[3])
            what = found[1].lower() if found[1].isupper() else found[1]  # VERB, ACTION
            message = (
                f"{found[2]!r} is no {what} of {self.prog}{did_you_mean(found[2], names)}\nallowed: {', '.join(names)}"
            )
        raise UserError(f"{message}\nsee: {self.prog} --help" if "\n" not in message else message)

    def parse_known_args(
        self, args: Any = None, namespace: Any = None
    ) -> Any:  # by whom argparse parses a verb's words
        found, rest = super().parse_known_args(args, namespace)
        unknown = next((word for word in rest if word.startswith("-")), None)
        if unknown is not None:  # said here, where the verb's own options are known
            options = [name for action in self._actions for name in action.option_strings]
            name = unknown.partition("=")[0]
            self.error(f"{name} is no option of {self.prog}{did_you_mean(name, options)}")
        return found, rest


def parser() -> Parser:
    """The whole command line."""
    top = Parser(
        prog="avtune",
        description="Hyper-parameter search for audio-visual metric learning.",
        epilog="A DATASET is a registered name (vegas, ave, demo) or a path: HDF5, npz, or tfrecord shards.",
        allow_abbrev=False,
    )
    top.add_argument("--version", action="version", version=f"avtune {__version__}")
    verbs = top.add_subparsers(dest="verb", metavar="VERB", required=True, parser_class=Parser)

    def verb(name: str, text: str) -> Parser:
        made = verbs.add_parser(name, help=text, description=text, allow_abbrev=False)
        assert isinstance(made, Parser)
        return made

    search = verb("search", "search hyper-parameters, retrain the winner, score it; the same command continues")
    _dataset(search)
    search.add_argument("--name", help="name of the study (default: the dataset's name)")
    _results(search)
    search.add_argument(
        "--space", metavar="FILE|NAME", help="what is searched (default: the dataset's own space, or psd)"
    )
    _own(search, "method to search, by name or your own as module:Class (default: what the space says)", train=True)
    search.add_argument("--trials", type=int, metavar="N", help="configurations to try; same as --set search.trials=N")
    search.add_argument(
        "--epochs",
        metavar="N|auto",
        help="most epochs of a trial, or auto: until its curve is flat; same as --set early_stopping.epochs=N",
    )
    search.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="override a value of the space")
    _devices(search)
    search.add_argument(
        "--precision", help="of the search: bf16, tf32 (GPUs) or fp32 (default: bf16 where the device has it)"
    )
    search.add_argument(
        "--deterministic", action="store_true", help="same result however many devices; see the README for the price"
    )
    search.add_argument(
        "--retry-failed",
        action="store_true",
        help="train the failed trials of the study again, e.g. after a bug is fixed",
    )
    search.add_argument("--keep", type=int, metavar="K", help="keep the weights of the K best trials, as models (0)")
    search.add_argument(
        "--protocol",
        help="validation (default), or published: the retrained model keeps its best test epoch, as the field's tables "
        "do; every score is then labelled 'selected on test'",
    )

    bench = verb("bench", "search every method under one budget and rank them; the same command continues")
    _dataset(bench)
    bench.add_argument("--methods", metavar="A,B", help="which methods (default: all; see: avtune methods)")
    bench.add_argument("--trials", type=int, metavar="N", help="configurations to try of each method (16)")
    bench.add_argument("--epochs", metavar="N|auto", help="most epochs of a trial (auto: until its curve is flat)")
    bench.add_argument("--seeds", type=int, metavar="N", help="seeds of finalists and retrained winners (5)")
    bench.add_argument(
        "--space",
        action="append",
        default=[],
        metavar="METHOD=FILE|NAME",
        help="what is searched of a method (default: the space called like it; ave for psd)",
    )
    bench.add_argument("--name", help="name of the bench (default: bench-DATASET)")
    _results(bench)
    _devices(bench)
    bench.add_argument(
        "--precision", help="of the searches: bf16, tf32 (GPUs) or fp32 (default: bf16 where the device has it)"
    )
    bench.add_argument("--deterministic", action="store_true", help="same result however many devices")

    status = verb("status", "how far a study is, or all of them")
    status.add_argument(
        "study", nargs="?", metavar="STUDY", help="name or folder of a study (default: all of --results)"
    )
    _results(status)
    _json(status)

    evaluate = verb("evaluate", "score a model, or embeddings, by exact MAP")
    evaluate.add_argument("model", nargs="?", help="a study, or its final/ folder")
    evaluate.add_argument("dataset", nargs="?", help="what to score it on; its test split unless --split train")
    evaluate.add_argument("--embeddings", type=Path, metavar="FILE.npz", help="score these: audio, visual, labels")
    evaluate.add_argument("--split", choices=("test", "train"), default="test")
    evaluate.add_argument("--classes", metavar="FILE", help="class file of a folder of tfrecord shards")
    evaluate.add_argument("--at", default="1,5,10,50", metavar="K,K", help="ranks for precision and recall")
    evaluate.add_argument("--curve", action="store_true", help="also print the precision-recall curve")
    _own(evaluate)
    _results(evaluate)
    _json(evaluate)

    embed = verb("embed", "write a model's embeddings of a dataset as npz (audio, visual, labels) or CSV")
    embed.add_argument("model", help="a study, or its final/ folder")
    _dataset(embed)
    embed.add_argument("--out", type=Path, required=True, metavar="FILE.npz|FILE.csv")
    embed.add_argument("--split", choices=("test", "train"), default="test")
    embed.add_argument("--overwrite", action="store_true")
    _own(embed)
    _results(embed)

    retrain = verb("retrain", "retrain one trial of a study on the whole training set and score it")
    _study(retrain)
    retrain.add_argument("--trial", type=int, metavar="N", help="which trial (default: the study's best)")
    retrain.add_argument("--epochs", type=int, metavar="N", help="epochs to train (default: the trial's best epoch)")
    retrain.add_argument("--seeds", type=int, metavar="N", help="seeds (default: the study's final.seeds)")
    retrain.add_argument("--dataset", help="where the study's dataset is now (default: where it was)")
    retrain.add_argument("--classes", metavar="FILE", help="class file of a folder of tfrecord shards")
    retrain.add_argument("--out", type=Path, metavar="FOLDER", help="default: retrained_trial_N in the study")
    _own(retrain, train=True)
    _devices(retrain)

    verify = verb("verify", "make the numbers of a study, a bench or a model again and compare them")
    verify.add_argument("target", metavar="STUDY", help="name or folder of a study or a bench, or a model's folder")
    verify.add_argument("dataset", nargs="?", help="where the dataset is now (default: where it was)")
    verify.add_argument("--classes", metavar="FILE", help="class file of a folder of tfrecord shards")
    verify.add_argument("--retrain", action="store_true", help="also train the winner's first seed once more")
    _own(verify, train=True)
    _results(verify)
    _json(verify)

    curves = verb("curves", "draw loss and validation MAP against epochs, method against method")
    _dataset(curves)
    curves.add_argument("--methods", default="psd,aadml", metavar="A,B", help="which methods (psd,aadml)")
    curves.add_argument(
        "--mining", default="all,hard", metavar="A,B", help="of the triplets: all, hard (both), semihard"
    )
    curves.add_argument("--epochs", type=int, default=27, metavar="N", help="epochs of every line (27)")
    curves.add_argument("--seeds", type=int, default=3, metavar="N", help="seeds of every line (3)")
    curves.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="a hyper-parameter, where a method has it"
    )
    curves.add_argument(
        "--best",
        action="append",
        default=[],
        metavar="METHOD=FILE",
        help="best.yaml of a study, in place of the method's default configuration",
    )
    curves.add_argument("--name", help="name of the folder (default: curves-DATASET)")
    _results(curves)
    _devices(curves)

    data = verb("data", "look at and convert datasets")
    actions = data.add_subparsers(dest="action", metavar="ACTION", required=True, parser_class=Parser)
    info = actions.add_parser("info", help="sizes, classes, ranges and problems of a dataset", allow_abbrev=False)
    _dataset(info)
    _json(info)
    convert = actions.add_parser("convert", help="write a dataset as six-key HDF5", allow_abbrev=False)
    _dataset(convert)
    convert.add_argument("out", type=Path, metavar="OUT.h5")
    convert.add_argument("--overwrite", action="store_true")
    actions.add_parser("list", help="the registered datasets and where to get them", allow_abbrev=False)

    space = verb("space", "check and show space files")
    actions = space.add_subparsers(dest="action", metavar="ACTION", required=True, parser_class=Parser)
    for name, text in (("check", "check a space file"), ("show", "print a space, complete")):
        one = actions.add_parser(name, help=text, allow_abbrev=False)
        one.add_argument("space", metavar="FILE|NAME", nargs="?")
        _own(one, "method it is for; without FILE|NAME its own space, or the one made for it", train=True)
        one.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="override a value")
    actions.add_parser("list", help="the spaces that come with avtune", allow_abbrev=False)

    methods = verb("methods", "the methods, or the hyper-parameters of one")
    methods.add_argument("method", nargs="?", metavar="METHOD", help="a name, or a method of your own as module:Class")

    doctor = verb("doctor", "versions, devices, Ray, disk, and what would run where")
    _results(doctor)
    _json(doctor)

    board = verb("tensorboard", "show a study, or all, in TensorBoard on this machine")
    board.add_argument("study", nargs="?", help="name or folder of a study (default: all of --results)")
    board.add_argument("--port", type=int, default=6006, help="port on the loopback address; 0 picks a free one")
    _results(board)
    return top


def _dataset(to: argparse.ArgumentParser) -> None:
    to.add_argument("dataset", metavar="DATASET", help="vegas, ave, demo, or a path")
    to.add_argument("--classes", metavar="FILE", help="class file (name,label_id) of a folder of tfrecord shards")


def _results(to: argparse.ArgumentParser) -> None:
    to.add_argument("--results", type=Path, default=Path("results"), metavar="DIR", help="folder of studies (results/)")


def _study(to: argparse.ArgumentParser) -> None:
    to.add_argument("study", metavar="STUDY", help="name or folder of a study")
    _results(to)


def _own(to: argparse.ArgumentParser, text: str = "", *, train: bool = False) -> None:
    group = to.add_mutually_exclusive_group()
    group.add_argument(
        "--method",
        metavar="METHOD",
        help=text or "your own method as module:Class, where the study or the model has one",
    )
    if train:
        group.add_argument("--train", metavar="MODULE:FUNCTION", help="your own train(config, data, report)")


def _devices(to: argparse.ArgumentParser) -> None:
    to.add_argument("--gpus", type=int, metavar="N", help="GPUs to use (default: all; 0: the CPU cores)")
    to.add_argument("--cpus", type=int, metavar="N", help="CPU cores to use (default: those allowed here)")
    to.add_argument("--trials-per-gpu", type=int, default=1, metavar="N", help="processes that share a GPU (1)")
    to.add_argument("--lanes", type=int, metavar="N", help="trials that an engine trains at a time (default: chosen)")
    to.add_argument(
        "--cluster", metavar="ADDRESS", help="train on the Ray cluster at host:port, or auto; see docs/cluster.md"
    )
    to.add_argument("--runner", help="lanes (default), processes, or inline (one trial at a time in this process)")
    to.add_argument(
        "--max-failures", type=int, default=3, metavar="N", help="a trial whose process died or hung N times fails (3)"
    )
    to.add_argument(
        "--trial-timeout", type=float, metavar="SECONDS", help="a trial that takes longer for an epoch hangs (no limit)"
    )


def _json(to: argparse.ArgumentParser) -> None:
    to.add_argument("--json", action="store_true", help="print JSON")
