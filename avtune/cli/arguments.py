"""The grammar of the command line: the parser, whose errors are one or two lines, and the options that verbs share."""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NoReturn, TypeAlias

from avtune.cli.remote import results_place
from avtune.core.errors import UserError, did_you_mean
from avtune.core.streams import width

if TYPE_CHECKING:
    from avtune.data.options import ReadOptions

Verbs: TypeAlias = "argparse._SubParsersAction[Parser]"
"""The verbs of the command line, or the actions of a verb: where a parser is added to."""
Options: TypeAlias = "Parser | argparse._ArgumentGroup"
"""What an option is added to: a verb, or one of its groups."""
Kind: TypeAlias = Literal[
    "dataset", "method", "space", "study", "bench", "file", "runner", "precision", "protocol", "finals"
]
"""What a shell completes a value with; see `cli.completion`."""

SET = "override a value of the space; may be repeated"
"""Help of --set."""

_WIDTH = 80  # columns of a help text at most
_LABELS = 26  # of the names of options


class _Help(argparse.HelpFormatter):
    """Fits 80 columns, or the terminal where that is narrower; examples stay line by line."""

    def __init__(self, prog: str) -> None:
        columns = width() or _WIDTH
        super().__init__(prog, max_help_position=_LABELS, width=min(columns, _WIDTH) - 1)

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        if text.startswith(_EXAMPLES):
            return "".join(f"{indent}{line}\n" for line in text.splitlines())
        return super()._fill_text(text, width, indent)


class Parser(argparse.ArgumentParser):
    """Raises `UserError` instead of printing a usage text, with the nearest valid name where there is one. Its help
    shows what the command works on first, then the groups of options in the order in which they were made."""

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **{**settings, "formatter_class": _Help})
        # Before and after the verb. Without a default, the verb's parser leaves what stood before the verb as it is.
        self.add_argument(
            "--verbose",
            action="store_true",
            default=argparse.SUPPRESS,
            help="print avtune's log messages to standard error, for developers",
        )

    def format_help(self) -> str:
        named = [action for action in self._positionals._group_actions if action.help != argparse.SUPPRESS]
        shown = [_in_usage(action) for action in named]
        shown += [f"{one.option_strings[-1]} {one.metavar}" for one in self._actions if _is_required_option(one)]
        options = "[options] ..." if self._subparsers is not None else "[options]"
        self.usage = " ".join(["%(prog)s", *shown, options])
        if self._has_groups:
            self._put_own_first()
        self._optionals.title = "other" if self._has_groups else "options"
        self._action_groups.sort(key=lambda group: (group is self._optionals, group.title == _READING))
        return super().format_help()

    def _put_own_first(self) -> None:
        """Shows the options of the verb alone in a group before those that verbs share; those that must be given come
        first."""
        own = [one for one in self._optionals._group_actions if one.dest not in _EVERYWHERE]
        if not own:
            return
        for one in own:
            self._optionals._group_actions.remove(one)
        group = self.add_argument_group("options")
        group._group_actions.extend(sorted(own, key=lambda one: not one.required))
        self._action_groups.remove(group)
        self._action_groups.insert(self._action_groups.index(self._positionals) + 1, group)

    @property
    def _has_groups(self) -> bool:
        return any(group not in (self._positionals, self._optionals) for group in self._action_groups)

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


def _in_usage(action: argparse.Action) -> str:
    word = str(action.metavar or action.dest)
    return {"?": f"[{word}]", "*": f"[{word} ...]", "+": f"{word} {word} ..."}.get(str(action.nargs), word)


def _is_required_option(action: argparse.Action) -> bool:
    return action.required and bool(action.option_strings)


_MAP = "names of arrays: audio_train=KEY,... or audio=KEY,labels=KEY,split=KEY; KEY.T: its columns are the clips"
_EXAMPLES = "example"
_READING = "how a file is read"
_EVERYWHERE = ("help", "verbose", "results", "json")
"""Options that (nearly) every verb has, by where their values go."""


def add_verb(verbs: Verbs, name: str, text: str, *examples: str) -> Parser:
    """The parser of a new verb, or of an action of one.

    Args:
        text: what it does, for the list of verbs and for its own help.
        examples: command lines at the end of its help, the common case first.
    """
    title = f"{_EXAMPLES}{'s' * (len(examples) > 1)}:"
    epilog = "\n".join([title, *(f"  {line}" for line in examples)]) if examples else None
    return verbs.add_parser(name, help=text, description=f"{text}.", epilog=epilog, allow_abbrev=False)


def add_actions(verb: Parser) -> Verbs:
    """The actions of a verb that has some, e.g. `list` of `avtune data list`."""
    return verb.add_subparsers(dest="action", metavar="ACTION", required=True, parser_class=Parser)


def completes(action: argparse.Action, kind: Kind) -> None:
    """Says what a shell completes the values of an option with."""
    vars(action)["complete"] = dict.fromkeys(("bash", "zsh"), f"_avtune_{kind}_files")


def add_dataset(to: Options, text: str = "vegas, ave, demo, or a path", *, reading: bool = True) -> None:
    """DATASET, and with `reading` the options that say how it is read."""
    completes(to.add_argument("dataset", metavar="DATASET", help=text), "dataset")
    if reading:
        add_reading(to)


def add_reading(to: Options, *, map: bool = True) -> None:
    """The options that say how a file is read: `data.options.ReadOptions`.

    Args:
        map: with --map.
    """
    group = to.add_argument_group(_READING) if isinstance(to, Parser) else to
    action = group.add_argument("--classes", metavar="FILE", help="only classes of this file (name,label_id)")
    completes(action, "file")
    group.add_argument("--several-labels", action="store_true", help="of shards: also clips of several classes")
    group.add_argument("--views", metavar="A,B", help="names of the two views, or which views of the file")
    if map:
        group.add_argument("--map", action="append", metavar="WHAT=KEY", help=_MAP)
    group.add_argument("--pool", metavar="HOW", help="features over time become their mean, max, std, or mean,std")
    group.add_argument(
        "--test-fraction",
        type=float,
        metavar="X",
        help="share of the clips for testing, where a file has no test split",
    )


def reading_of(given: argparse.Namespace) -> ReadOptions:
    """What the command line says on how a file is read.

    Raises:
        UserError: an option is not legal.
    """
    from avtune.data.options import options_of

    how = ("classes", "several_labels", "views", "pool", "test_fraction")
    names = how if hasattr(given, "data") else (*how, "map")
    return options_of(**{name: getattr(given, name) for name in names if hasattr(given, name)})


def add_study(to: Options, text: str = "name or folder of a study", *, nargs: str | None = None) -> None:
    """STUDY."""
    completes(to.add_argument("study", metavar="STUDY", nargs=nargs, help=text), "study")


def add_model(to: Options, *, nargs: str | None = None) -> None:
    """MODEL."""
    completes(to.add_argument("model", metavar="MODEL", nargs=nargs, help="a study, or its final/ folder"), "study")


def add_results(to: Options) -> None:
    """--results."""
    action = to.add_argument(
        "--results",
        type=results_place,
        default=Path("results"),
        metavar="DIR",
        help="folder of studies (results/), or s3:// or gs://",
    )
    completes(action, "file")


def add_json(to: Options) -> None:
    """--json."""
    to.add_argument("--json", action="store_true", help="print JSON")


def add_user_code(to: Options, text: str = "", *, train: bool = False) -> None:
    """--method, and --train where a training function may take its place; `import_user_code` imports what they name.

    Args:
        text: help of --method.
    """
    group = to.add_mutually_exclusive_group()
    action = group.add_argument(
        "--method",
        metavar="METHOD",
        help=text or "your own method as module:Class, where the study or the model has one",
    )
    completes(action, "method")
    if train:
        group.add_argument("--train", metavar="MODULE:FUNCTION", help="your own train(config, data, report)")


_OF_A_MODEL = ("evaluate", "compare-models", "embed", "retrieve", "export", "retrain", "verify", "finish")
"""Verbs whose --method can only be the user's own."""


def import_user_code(given: argparse.Namespace) -> None:
    """Imports the methods and the training function that the command line names, and registers them. Only what
    is typed is imported: no file can name code to run.

    Raises:
        UserError: there is no such code, or it cannot be used.
    """
    methods, method, train = (getattr(given, name, None) for name in ("methods", "method", "train"))
    named = [("--method", name.strip()) for name in (methods or "").split(",") if ":" in name]
    if method is not None and (":" in method or given.verb in _OF_A_MODEL):
        named.append(("--method", method))
    if train is not None:
        named.append(("--train", train))
    if named:
        from avtune.engine.user_code import register

        for option, spec in named:
            register(option, spec)


def add_devices(verb: Parser) -> Options:
    """The options that say how many processes train, and on which devices: `workflows.options.DeviceOptions`.

    Returns:
        Their group, for further ones.
    """
    to = verb.add_argument_group("resources")
    to.add_argument("--gpus", type=int, metavar="N", help="GPUs to use (default: all; 0: the CPU cores)")
    to.add_argument("--cpus", type=int, metavar="N", help="CPU cores to use (default: those allowed here)")
    to.add_argument("--lanes", type=int, metavar="N", help="trials that an engine trains at a time (default: chosen)")
    runner = to.add_argument(
        "--runner", help="lanes (default), processes, or inline (one trial at a time in this process)"
    )
    completes(runner, "runner")
    to.add_argument("--trials-per-gpu", type=int, default=1, metavar="N", help="processes that share a GPU (1)")
    to.add_argument(
        "--cluster", metavar="ADDRESS", help="train on the Ray cluster at host:port, or auto; see docs/cluster.md"
    )
    to.add_argument(
        "--max-failures", type=int, default=3, metavar="N", help="a trial whose process died or hung N times fails (3)"
    )
    to.add_argument(
        "--trial-timeout", type=float, metavar="SECONDS", help="a trial that takes longer for an epoch hangs (no limit)"
    )
    return to


def add_precision(to: Options) -> None:
    """--precision."""
    action = to.add_argument(
        "--precision", help="of the search: bf16, tf32 (GPUs) or fp32 (default: bf16 where the device has it)"
    )
    completes(action, "precision")
