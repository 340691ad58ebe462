"""What a bench is asked for, from its options: the same for the command line and for Python."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from avtune.core.names import new_name
from avtune.core.protocol import PUBLISHED, VALIDATION, checked
from avtune.data.dataset import Dataset
from avtune.engine.user_code import check_function_search, check_labels
from avtune.finals.reference import NONE
from avtune.space.space import Space
from avtune.workflows.bench.folder import BenchFolder
from avtune.workflows.bench.overrides import assignments, rule_values
from avtune.workflows.bench.rules import Rules, command_of, epochs_of, spaces_of
from avtune.workflows.bench.run import BenchRequest
from avtune.workflows.choose_runner import placement_request
from avtune.workflows.options import BenchOptions
from avtune.workflows.validation_rows import fitted


def folder_of(dataset: Dataset, options: BenchOptions) -> BenchFolder:
    """The folder of the bench that is meant, which exists or not.

    Raises:
        UserError: its name is not legal.
    """
    mark = "-published" if options.protocol == PUBLISHED else ""
    return BenchFolder(options.results / new_name(options.name, "bench-", dataset.name, mark))


def request_of(
    dataset: Dataset,
    spec: str,
    options: BenchOptions,
    methods: str | None,
    spaces: Sequence[str],
    *,
    called: str,
    train: str | None = None,
) -> BenchRequest:
    """The request for a new bench, or to continue the one that has its name.

    Args:
        dataset: loaded and checked.
        spec: where it can be found again.
        methods: names separated by commas, code of the user's own registered already; None for every method.
        spaces: `METHOD=FILE|NAME` each.
        called: the dataset, as the command that `bench.yaml` keeps names it.
        train: a training function of the user's own, registered; a row of its own.

    Raises:
        UserError: something the user gave is wrong.
    """
    folder = folder_of(dataset, options)
    before = folder.settings() if folder.exists else {}
    rules, fit = _rules(options, before), not before or "validation" in before
    protocol = checked(options.protocol or before.get("protocol", VALIDATION))
    made = _spaces(methods, spaces, rules, train, protocol)
    # A bench of before took its data set's split also where the usual fraction was asked for.
    asked = () if "split" in before.get("validation", {}) else rules.set
    for space in made.values():
        check_labels(space.method, multi_label=dataset.is_multi_label)
    return BenchRequest(
        dataset=dataset,
        spec=spec,
        command=command_of(
            called,
            methods,
            spaces,
            rules,
            dataset.options,
            protocol=protocol,
            train=train,
            precision=options.precision or _precision_asked(before),
            deterministic=options.deterministic,
        ),
        spaces={name: fitted(space, dataset, asked) for name, space in made.items()} if fit else made,
        rules=rules,
        root=folder.root,
        placement=placement_request(options),
        runner=options.runner,
        precision=options.precision,
        deterministic=options.deterministic,
        protocol=protocol,
    )


def _precision_asked(before: Mapping[str, Any]) -> str | None:
    """The precision that the command of a bench that goes on asked for, which it keeps."""
    return str(before["precision"]) if "--precision" in str(before.get("command", "")).split() else None


def _spaces(
    methods: str | None, given: Sequence[str], rules: Rules, train: str | None, protocol: str
) -> dict[str, Space]:
    made = spaces_of(methods, given, rules, train)
    if train is not None:
        check_function_search(made[train], protocol, None)
    return made


def _rules(options: BenchOptions, before: Mapping[str, Any]) -> Rules:
    """The budget of every method: what the options say, else as it was when this bench began, else what is usual.

    Args:
        before: the settings of the bench that goes on; empty for a new one.
    """
    kept = {key: before[key] for key in ("trials", "epochs", "seeds", "reference") if key in before}
    chosen: dict[str, Any] = {
        "trials": options.trials,
        "epochs": None if options.epochs is None else epochs_of(str(options.epochs)),
        "seeds": options.seeds,
        "reference": None if options.reference else NONE,
    }
    sets = assignments(options.set, before.get("set", ()))
    rules = Rules(**kept | {name: value for name, value in chosen.items() if value is not None}, set=tuple(sets))
    return replace(rules, **rule_values(sets))
