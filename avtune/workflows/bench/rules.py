"""What is the same for every method of a bench, and the space of each."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from avtune.core.errors import UserError, choices, did_you_mean
from avtune.core.protocol import VALIDATION
from avtune.engine import user_code
from avtune.finals.reference import NONE, untuned
from avtune.methods import METHODS, get, hypers_of
from avtune.methods._closed_form import ClosedForm
from avtune.space.files import load, names
from avtune.space.settings import AUTO, SETTINGS, EarlyStopping, Final, SearchSettings, Validation
from avtune.space.space import Space
from avtune.workflows import choose_space
from avtune.workflows.bench.folder import reference_row
from avtune.workflows.bench.overrides import check_known, overridden


@dataclass(frozen=True)
class Rules:
    """The settings of every search; fields as in a space file."""

    trials: int = 16
    epochs: int | str = AUTO
    seeds: int = 5
    grace: int = 3
    factor: int = 3
    finalists: int = 3
    fraction: float = 0.2
    seed: int = 0
    reference: str = "classifiers"
    set: tuple[str, ...] = ()

    def check(self) -> None:
        """Raises:
        UserError: a number that the user gave is out of range.
        """
        for section, name in (("search", "trials"), ("early_stopping", "epochs"), ("final", "seeds")):
            if (name, self.epochs) == ("epochs", AUTO):
                continue
            replace(SETTINGS[section][name], name=f"--{name}").check(getattr(self, name))
        SETTINGS["final"]["reference"].check(self.reference)

    def applied(self, space: Space) -> Space:
        """The space with these settings in place of its own; a method that is solved at once has one epoch."""
        ruled = replace(
            space,
            search=SearchSettings(trials=self.trials, seed=self.seed),
            early_stopping=self._stopping(space),
            validation=Validation(fraction=self.fraction),
            final=Final(finalists=self.finalists, seeds=self.seeds, reference=NONE),
        )
        return overridden(ruled, self.set)

    def of_reference(self) -> Space:
        """The space of the reference row: one trial, its method's default configuration."""
        space = self.applied(_space_of(self.reference, None))
        search, final = replace(space.search, trials=1), replace(space.final, finalists=1)
        return replace(untuned(space), search=search, final=final)

    def _stopping(self, space: Space) -> EarlyStopping:
        method = space.method
        if user_code.function(method) is not None and isinstance(self.epochs, str):
            return space.early_stopping  # it takes the steps that it likes: only its user knows how long it trains
        if isinstance(self.epochs, str):
            return EarlyStopping(epochs=AUTO, grace=self.grace, factor=self.factor)
        closed = user_code.function(method) is None and issubclass(get(method), ClosedForm)
        epochs = 1 if closed else self.epochs
        return EarlyStopping(epochs=epochs, grace=min(self.grace, epochs), factor=self.factor)


def epochs_of(text: str) -> int | str:
    """What `--epochs` says: a number of epochs, or `auto`.

    Raises:
        UserError: it is neither.
    """
    if text == AUTO:
        return AUTO
    if not re.fullmatch(r"[0-9]{1,9}", text):
        raise UserError(f"--epochs is {text!r}; allowed: {AUTO}, or a whole number from 1{did_you_mean(text, [AUTO])}")
    return int(text)


def spaces_of(methods: str | None, given: Sequence[str], rules: Rules, train: str | None = None) -> dict[str, Space]:
    """The space of every method of a bench.

    Args:
        methods: names separated by commas; None for every registered one.
        given: `METHOD=FILE|NAME` each; other methods take the space that is called like them, and what its `bench`
            says.
        train: a training function of the user's own, registered; None for none.

    Returns:
        By method, and the training function, if there is one; the last is the reference row, unless its method is among
        the others.

    Raises:
        UserError: a name is wrong or given twice, or a space is not one of its method.
    """
    rules.check()
    chosen = list(METHODS) if methods is None else [name.strip() for name in methods.split(",")]
    chosen += [train] if train is not None else []
    for place, name in enumerate(chosen):
        if name == train:
            continue
        if not name:
            raise UserError(f"--methods is {methods!r}; allowed: names separated by commas, e.g. --methods psd,triplet")
        get(name)
        if name in chosen[:place]:
            raise UserError(f"--methods names {name} twice; once is enough")
    files: dict[str, str] = {}
    for assignment in given:
        method, equals, file = assignment.partition("=")
        if not equals or not file or method not in chosen:
            raise UserError(
                f"--space is {assignment!r}; allowed: METHOD=FILE with one of {choices(chosen)}"
                f"{did_you_mean(method, chosen)}"
            )
        files[method] = file
    made = {name: rules.applied(_space_of(name, files.get(name))) for name in chosen}
    if rules.reference not in (NONE, *chosen):
        made[reference_row(rules.reference)] = rules.of_reference()
    check_known(rules.set, made)
    return made


def _space_of(name: str, file: str | None) -> Space:
    """The space of a method: of a file, or the one that is called like it, with what its `bench` says."""
    if user_code.function(name) is not None:
        if file is None:
            raise UserError(
                f"--train {name} needs --space {name}=FILE, which defines the hyper-parameters that it is called with\n"
                "see docs/own_method.md"
            )
        return choose_space.chosen(file, name)
    space_file = file or (name if name in names() else None)
    if space_file is not None:
        space = load(space_file, hypers_of=hypers_of, method_names=METHODS, bench=file is None)
    else:  # of a method of the user's own
        space = choose_space.chosen(None, name)
    if space.method != name:
        raise UserError(f"the space {space_file!r} is one of {space.method}, not of {name}")
    return space


def command_of(
    spec: str,
    methods: str | None,
    given: Sequence[str],
    rules: Rules,
    reading: Mapping[str, Any] | None = None,
    *,
    protocol: str = VALIDATION,
    train: str | None = None,
    precision: str | None = None,
    deterministic: bool = False,
) -> str:
    """The command line of a bench, files by their names alone: all that decides its numbers, but for the machine.

    Args:
        spec: the dataset as the user named it.
        methods, given: see `spaces_of`.
        rules: of the bench.
        reading: how the dataset was read, see `data.options`.
        protocol: of the retraining.
        train: see `spaces_of`.
        precision, deterministic: as they were asked for.
    """
    words = ["avtune", "bench", Path(spec).name or spec]
    for name, value in (reading or {}).items():
        words.append(f"--{name.replace('_', '-')}")
        words += [] if value is True else [Path(value).name if name == "classes" else str(value)]
    words += ["--methods", methods] if methods is not None else []
    words += ["--train", train] if train is not None else []
    for assignment in given:
        method, _, file = assignment.partition("=")
        words += ["--space", f"{method}={Path(file).name}"]
    for name in ("trials", "epochs", "seeds"):
        words += [f"--{name}", str(getattr(rules, name))]
    for one in rules.set:
        words += ["--set", one]
    words += ["--protocol", protocol] if protocol != VALIDATION else []
    words += ["--precision", precision] if precision is not None else []
    words += ["--deterministic"] if deterministic else []
    words += ["--no-reference"] if rules.reference == NONE else []
    return shlex.join(words)
