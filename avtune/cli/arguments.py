"""The grammar of the command line: the parser, whose errors are one or two lines, and the options that verbs share."""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import Any, NoReturn, TypeAlias

from avtune.core.errors import UserError, did_you_mean

Verbs: TypeAlias = "argparse._SubParsersAction[Parser]"
"""The verbs of the command line, or the actions of a verb: where a parser is added to."""


class Parser(argparse.ArgumentParser):
    """Raises `UserError` instead of printing a usage text, with the nearest valid name where there is one."""

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        # Before and after the verb. Without a default, the verb's parser leaves what stood before the verb as it is.
        self.add_argument(
            "--verbose",
            action="store_true",
            default=argparse.SUPPRESS,
            help="print avtune's log messages to standard error, for developers",
        )

    def error(self, message: str) -> NoReturn:
        found = re.match(r"argument (\S+): invalid choice: '(.*?)' \(choose from (.*)\)", message)
        if found:
            names = re.findall(r"[\w-]+", found[3])
            what = found[1].lower() if found[1].isupper() else found[1]  # VERB, ACTION
            message = (
                f"{found[2]!r} is no {what} of {self.prog}{did_you_mean(found[2], names)}\nallowed: {', '.join(names)}"
            )
        raise UserError(f"{message}\nsee: {self.prog} --help" if "\n" not in message else message)

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As argparse does, which calls this for the words of a verb; an unknown option is an error here, where the
        options of the verb are known, and not in the parser of the whole command line."""
        found, rest = super().parse_known_args(args, namespace)
        unknown = next((word for word in rest if word.startswith("-")), None)
        if unknown is not None:
            options = [name for action in self._actions for name in action.option_strings]
            name = unknown.partition("=")[0]
            self.error(f"{name} is no option of {self.prog}{did_you_mean(name, options)}")
        return found, rest


def add_verb(verbs: Verbs, name: str, text: str) -> Parser:
    """The parser of a new verb.

    Args:
        text: what the verb does, for the list of verbs and for its own help.
    """
    return verbs.add_parser(name, help=text, description=text, allow_abbrev=False)


def add_actions(verb: Parser) -> Verbs:
    """The actions of a verb that has some, e.g. `list` of `avtune data list`."""
    return verb.add_subparsers(dest="action", metavar="ACTION", required=True, parser_class=Parser)


def add_dataset(to: Parser) -> None:
    """DATASET and --classes."""
    to.add_argument("dataset", metavar="DATASET", help="vegas, ave, demo, or a path")
    to.add_argument("--classes", metavar="FILE", help="class file (name,label_id) of a folder of tfrecord shards")


def add_results(to: Parser) -> None:
    """--results."""
    to.add_argument("--results", type=Path, default=Path("results"), metavar="DIR", help="folder of studies (results/)")


def add_json(to: Parser) -> None:
    """--json."""
    to.add_argument("--json", action="store_true", help="print JSON")


def add_user_code(to: Parser, text: str = "", *, train: bool = False) -> None:
    """--method, and --train where a training function may take its place; `import_user_code` imports what they name.

    Args:
        text: help of --method.
    """
    group = to.add_mutually_exclusive_group()
    group.add_argument(
        "--method",
        metavar="METHOD",
        help=text or "your own method as module:Class, where the study or the model has one",
    )
    if train:
        group.add_argument("--train", metavar="MODULE:FUNCTION", help="your own train(config, data, report)")


def import_user_code(given: argparse.Namespace) -> None:
    """Imports the methods and the training function that the command line names, and registers them. Only what
    is typed is imported: no file can name code to run.

    Raises:
        UserError: there is no such code, or it cannot be used.
    """
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


def add_devices(to: Parser) -> None:
    """The options that say how many processes train, and on which devices: `workflows.options.DeviceOptions`."""
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
