"""The folder of a bench: its file names, its settings, and what may differ when it is continued."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from avtune.core.errors import UserError
from avtune.core.files import make_folder, read_yaml, to_yaml
from avtune.core.protocol import VALIDATION
from avtune.core.schema import fitting
from avtune.finals.reference import NONE
from avtune.space.settings import AUTO
from avtune.space.space import Space
from avtune.study.folder import StudyFolder
from avtune.workflows.continuing import another_name
from avtune.workflows.open_study import open_space

FORMAT = 1
_REFERENCE = " (reference)"
_GROWS = ("trials", "seeds")
_SHAPE = {
    "methods?": [str],
    "trials?": int,
    "epochs?": (int, str),
    "seeds?": int,
    "reference": str,
    "set": [str],
    "protocol": str,
}
"""Of what is used before `continued` compares the kinds of all settings."""
_MAY_DIFFER = ("format", "begun", "command", "dataset", "methods", "runner", "validation")
"""Settings that may differ, or are compared by what they mean."""
_OF_SOME_DATA = ("spec", "options", "views")
"""What `bench.yaml` says of some datasets only; the digest tells whether their content is the same."""


def reference_row(method: str) -> str:
    """What the row of a method is called that is there for reference: its default configuration, not searched."""
    return f"{method}{_REFERENCE}"


def folder_name(method: str) -> str:
    """What the folder of a method's study is called; user code is called `module:Name`, where `:` becomes `-`."""
    return method.replace(":", "-").replace(_REFERENCE, "-reference")


def trials_of(method: str, settings: Mapping[str, Any]) -> int:
    """Configurations that the study of a method tries; a reference row is not searched.

    Args:
        settings: what `bench.yaml` holds.
    """
    return 1 if method.endswith(_REFERENCE) else int(settings["trials"])


class BenchFolder:
    """The paths of one bench.

    Args:
        root: its folder, `results/<bench>/`.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.bench_yaml = root / "bench.yaml"
        self.leaderboard_md = root / "leaderboard.md"
        self.leaderboard_csv = root / "leaderboard.csv"
        self.leaderboard_html = root / "leaderboard.html"
        self.shared = StudyFolder(root)  # its lock and its log are named like a study's

    @property
    def exists(self) -> bool:
        """Whether there is a bench."""
        return self.bench_yaml.is_file()

    def study(self, method: str) -> StudyFolder:
        """The folder of a method's study."""
        return StudyFolder(self.root / folder_name(method))

    def create(self, settings: dict[str, Any]) -> None:
        """Makes the folder. It appears under its name only with `bench.yaml` in it.

        Raises:
            UserError: the folder exists and holds something else, or cannot be written.
        """
        make_folder(self.root, "bench", {self.bench_yaml.name: to_yaml(settings)})

    def settings(self) -> dict[str, Any]:
        """What `bench.yaml` says.

        Raises:
            UserError: it cannot be read, is damaged, or is of a newer format.
        """
        settings = read_yaml(self.bench_yaml)
        if not isinstance(settings, dict):
            raise UserError(f"{self.bench_yaml} does not describe a bench: it holds no mapping")
        if settings.get("format") != FORMAT:
            raise UserError(
                f"{self.bench_yaml} has format {settings.get('format')!r}; this avtune reads format {FORMAT}"
            )
        before = {"reference": NONE, "set": [], "protocol": VALIDATION}  # of benches that do not say it
        known: dict[str, Any] = fitting(before | settings, _SHAPE, self.bench_yaml)
        return known

    def clear_torn(self) -> None:
        """Deletes what a kill left of files that were being replaced. Only for the owner of the bench."""
        for path in (self.bench_yaml, self.leaderboard_md, self.leaderboard_csv, self.leaderboard_html):
            for torn in self.root.glob(f".{path.name}-????????"):
                torn.unlink(missing_ok=True)


def continued(
    folder: BenchFolder, old: Mapping[str, Any], new: Mapping[str, Any], spaces: Mapping[str, Space]
) -> dict[str, Any]:
    """The settings of a bench that goes on: those of before, the runner of now, and methods that were not in it.

    More trials or seeds extend every row: their winners are chosen again, and where they are others, that is a further
    look at the test split, which is counted and said. Nothing else may differ: rows of unequal budgets are no fair
    table.

    Args:
        old: what `bench.yaml` holds.
        new: what is asked for.
        spaces: of every method asked for.

    Raises:
        UserError: something differs, or `bench.yaml` is damaged.
    """
    if not _same_kinds(old, new, "validation") or not _same_kinds(old["dataset"], new["dataset"], *_OF_SOME_DATA):
        raise UserError(f"{folder.bench_yaml} does not describe a bench; restore it from a copy")
    equal = [key for key in new if key not in _MAY_DIFFER]
    more = [key for key in _GROWS if new[key] > old[key]]
    refused = [f"{key}: {old[key]} -> {new[key]}" for key in equal if old[key] != new[key] and key not in more]
    rows_before, rows_after = (_validation_rows(one) for one in (old, new))
    if rows_before != rows_after:
        refused.append(f"validation rows: {rows_before} -> {rows_after}")
    digest_before, digest_after = (one["dataset"]["digest"] for one in (old, new))
    if digest_before != digest_after:
        refused.append(f"dataset content: {digest_before[:12]} -> {digest_after[:12]} ({old['dataset']['name']})")
    if not all(isinstance(method, str) for method in old["methods"]) or len(set(old["methods"])) < len(old["methods"]):
        raise UserError(f"{folder.bench_yaml} does not describe a bench; restore it from a copy")
    known = new["methods"]  # a reference row goes when its method is searched
    before = [one for one in old["methods"] if one in known or one.removesuffix(_REFERENCE) not in known]
    left_out = [method for method in before if method not in known]
    if left_out:
        refused.append(f"methods: without {', '.join(left_out)}")
    if not refused:
        for method, space in spaces.items():
            if folder.study(method).exists:
                refused += [f"{method} {line}" for line in _differences(open_space(folder.study(method)), space)]
    if refused:
        shown = "; ".join(refused[:4]) + (f"; and {len(refused) - 4} more" if len(refused) > 4 else "")
        raise UserError(
            f"{folder.root} was made with other settings: {shown}\n"
            f"add --name {another_name(folder.root)} for a new bench, or give the settings of the old one to continue "
            "it; methods, trials and seeds may be added"
        )
    added = [method for method in new["methods"] if method not in old["methods"]]
    grown = {"methods": [*before, *added], "command": new["command"]} if added or more else {}
    return {**old, "runner": new["runner"], **{key: new[key] for key in _GROWS}, **grown}


def _validation_rows(settings: Mapping[str, Any]) -> str:
    """Which rows are validated on, where the data set decides it, else a fraction."""
    of_data = settings.get("validation", {})
    if "split" in of_data:
        return "the data set's own split"
    return f"a fraction of {settings['fraction']}" + ", equal rows together" * ("equal_rows" in of_data)


def _differences(before: Space, space: Space) -> list[str]:
    """Where the study of a method is another one than is asked for, but for its trials and seeds, which may become more
    (also of a bench that was stopped while it was extended)."""
    trials = max(before.search.trials, space.search.trials)
    seeds = max(before.final.seeds, space.final.seeds)
    grown = replace(
        before,
        search=replace(before.search, trials=trials),
        final=replace(before.final, seeds=seeds, reference=space.final.reference),
    )
    return grown.difference(space)


def is_current(folder: BenchFolder, settings: Mapping[str, Any], method: str) -> bool:
    """Whether a method's study is finished, with the trials and seeds of the bench: one that is being extended has
    studies that are not."""
    study = folder.study(method)
    if not study.metrics.is_file():
        return False
    space = study.settings()["space"]
    trials = trials_of(method, settings)
    return bool(space["search"]["trials"] == trials and space["final"]["seeds"] == settings["seeds"])


def _same_kinds(old: Mapping[str, Any], new: Mapping[str, Any], *optional: str) -> bool:
    """Whether two settings have the same keys, but for optional ones, and values of the same kinds."""
    if (old.keys() ^ new.keys()) - set(optional):
        return False
    return all(_kind(key, old[key]) is _kind(key, new[key]) for key in old.keys() & new.keys())


def _kind(key: str, value: Any) -> type:
    return int if key == "epochs" and value == AUTO else type(value)
