"""Loss and validation MAP against epochs, method against method: the verb `curves`, figure 3 of Zeng & Ikeda 2025.

Every line is a configuration trained over a few seeds on the same training rows; the test split takes no part.
"""

from __future__ import annotations

import csv
import io
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import yaml

from avtune.core.errors import UserError, did_you_mean
from avtune.core.files import write_bytes, write_text
from avtune.core.hyper import Value
from avtune.core.seeds import mix
from avtune.core.trained_on import TrainedOn
from avtune.core.trial import Trial
from avtune.data.dataset import Dataset
from avtune.data.prepare import Prepared, for_search
from avtune.engine.user_code import check_labels
from avtune.methods import ClosedForm, check_config, get, hypers_of
from avtune.report.plots import Panel, comparison
from avtune.report.tensorboard import tag_of, write_run
from avtune.report.text import table
from avtune.runners._base import Run
from avtune.space.checks import legal
from avtune.space.yaml_lines import read
from avtune.study.limits import batch_note
from avtune.workflows.listening import Stages

Drawn = Callable[[Sequence[str], Sequence[Sequence[str]]], list[str]]
"""The lines of a table, given its header and its rows."""
_FRACTION = 0.2  # of the training rows validates, as in every space that comes with avtune
_COLUMNS = ("line", "method", "mining", "seed", "epoch", "loss", "val_map", "val_map_a2v", "val_map_v2a")


@dataclass
class Line:
    """One line of the figure.

    Attributes:
        method: its name.
        mining: of its triplets; empty for a method that has no such option.
        config: complete.
        runs: metrics by epoch of each seed that trained to its end.
        failures: why the others did not.
    """

    method: str
    mining: str
    config: dict[str, Value]
    runs: list[dict[int, dict[str, float]]] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    @property
    def label(self) -> str:
        return f"{self.method} {self.mining}".strip()

    def over_seeds(self, name: str) -> np.ndarray:
        """A metric [seeds, epochs]."""
        return np.array([[metrics[name] for metrics in run.values()] for run in self.runs])


def lines_of(methods: str, mining: str, overrides: Sequence[str], best: Sequence[str]) -> list[Line]:
    """The lines that the user asked for: every method with every mining.

    Args:
        methods, mining: names separated by commas.
        overrides: `NAME=VALUE` of hyper-parameters, for every method that has them.
        best: `METHOD=FILE`, a study's `best.yaml`, whose configuration takes the place of the method's default.

    Raises:
        UserError: a name or a value is wrong, or a file cannot be read.
    """
    chosen = _names("--methods", methods)
    for name in chosen:
        if issubclass(get(name), ClosedForm):
            raise UserError(f"{name} is solved at once and has no epochs; leave it out of --methods")
    configs = {name: check_config(get(name), {}) for name in chosen}
    for assignment in best:
        method, equals, file = assignment.partition("=")
        if not equals or method not in chosen:
            raise UserError(f"--best is {assignment!r}; give METHOD=FILE with one of {', '.join(chosen)}")
        configs[method] = _best_config(Path(file), method)
    for assignment in overrides:
        _override(configs, assignment)
    lines: list[Line] = []
    for name in chosen:
        hyper = hypers_of(name).get("mining")
        if hyper is None:
            lines.append(Line(name, "", configs[name]))
            continue
        for word in _names("--mining", mining):
            lines.append(Line(name, str(hyper.check(word)), configs[name] | {"mining": word}))
    return lines


def check(folder: Path, *, epochs: int, seeds: int) -> None:
    """Raises:
    UserError: a number is out of range, or the folder exists.
    """
    for option, given in (("--epochs", epochs), ("--seeds", seeds)):
        if given < 1:
            raise UserError(f"{option} is {given}; allowed: a whole number from 1")
    if folder.exists():
        raise UserError(f"{folder} exists; give another --name, or move it away")


def split(dataset: Dataset, seed: int = 0) -> Prepared:
    """The rows that all lines train and are validated on.

    Raises:
        UserError: the training set is too small.
    """
    return for_search(dataset, fraction=_FRACTION, folds=None, seed=seed)[0]


def check_lines(lines: Sequence[Line], dataset: Dataset) -> None:
    """Raises:
    UserError: a method cannot learn from the labels of the dataset.
    """
    for line in lines:
        check_labels(line.method, multi_label=dataset.is_multi_label)


def notes(lines: Sequence[Line], data: Prepared) -> list[str]:
    """What the rows leave no room for, a sentence each."""
    return [f"{line.label}: {note}" for line in lines for note in batch_note(line.config, len(data.train))]


def train(
    lines: Sequence[Line], data: Prepared, run: Run, stages: Stages, *, epochs: int, seeds: int, seed: int = 0
) -> None:
    """Trains every line over seeds, the same for all, and fills its `runs` and `failures`.

    Args:
        data: see `split`.
        run: of a runner.
        stages: is told how many runs have ended.
    """
    trials = [
        Trial(number, line.method, line.config, mix(seed, "curves", index), epochs)
        for number, (line, index) in enumerate((line, index) for line in lines for index in range(seeds))
    ]
    source = _Source(trials, stages)
    with stages.training():
        run(source, [data])
    owners = [line for line in lines for _ in range(seeds)]
    for line, failure, metrics in zip(owners, source.failures, source.metrics, strict=True):
        if failure is None:
            line.runs.append(metrics)
        else:
            line.failures.append(failure)


class _Source:
    """A `runners.Source`: every trial once, to its end."""

    def __init__(self, trials: Sequence[Trial], stages: Stages) -> None:
        self.metrics: list[dict[int, dict[str, float]]] = [{} for _ in trials]
        self.failures: list[str | None] = [None] * len(trials)
        self._waiting = list(trials)
        self.independent = len(trials)
        self._over: set[int] = set()
        self._stages = stages

    def ask(self) -> Trial | None:
        return self._waiting.pop(0) if self._waiting else None

    def trained_on(self, number: int, where: TrainedOn) -> None:
        """It is not kept."""

    def report(self, number: int, epoch: int, metrics: Mapping[str, float]) -> bool:
        self.metrics[number][epoch] = dict(metrics)
        return True

    def should_stop(self, number: int) -> bool:
        return number in self._over

    def tell(self, number: int, failure: str | None = None, details: str = "") -> None:
        if number in self._over:
            return
        self._over.add(number)
        self.failures[number] = failure
        self._stages.stage("curves", len(self._over), len(self.metrics))

    def note(self, text: str, *, shown: bool = False) -> None:
        """There is no log, and nothing of it changes the curves."""

    @property
    def exhausted(self) -> bool:
        return len(self._over) == len(self.metrics)


def write(
    lines: Sequence[Line],
    dataset: Dataset,
    folder: Path,
    drawn_as: Drawn = table,
) -> list[str]:
    """Writes `curves.svg`, `curves.png`, `curves.csv` and `tensorboard/` into a new folder; nothing where every line
    failed.

    Args:
        drawn_as: draws the table.

    Returns:
        What to print: the best epoch of each line's mean, failures, and where the picture is.
    """
    drawn = [line for line in lines if line.runs]
    failed = [f"{line.label}: {len(line.failures)} seeds failed: {line.failures[0]}" for line in lines if line.failures]
    if not drawn:
        return ["", *failed, "every line failed; there is nothing to draw, and nothing was written"]
    groups = list(dict.fromkeys(line.mining for line in drawn))
    panels = [
        [
            Panel(title, name, [(line.method, line.over_seeds(name)) for line in drawn if line.mining == group])
            for name, title in (("loss", f"loss{_where(group)}"), ("val_map", f"validation MAP{_where(group)}"))
        ]
        for group in groups
    ]
    svg, png = comparison(panels, f"{dataset.name}, {dataset.num_classes} classes, {len(dataset.train)} training clips")
    folder.parent.mkdir(parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}-"))
    try:
        write_text(made / "curves.svg", svg)
        write_bytes(made / "curves.png", png)
        write_text(made / "curves.csv", _csv(drawn))
        for line in drawn:
            means = {tag_of(name): line.over_seeds(name).mean(0).tolist() for name in line.runs[0][1]}
            write_run(made / "tensorboard" / line.label.replace(" ", "_"), means)
        os.rename(made, folder)
    finally:
        shutil.rmtree(made, ignore_errors=True)
    pictures = [f"picture      {folder / name}" for name in ("curves.svg", "curves.png")]
    board = f"TensorBoard  avtune tensorboard --results {folder / 'tensorboard'}"
    return ["", *_best_epochs(drawn, drawn_as), *failed, "", *pictures, board]


def _best_epochs(drawn: Sequence[Line], drawn_as: Drawn) -> list[str]:
    """The table of the best and the last epoch of each line's mean."""
    rows = []
    for line in drawn:
        mean, loss = line.over_seeds("val_map").mean(0), line.over_seeds("loss").mean(0)
        at = int(mean.argmax())
        numbers = [f"{value:.4f}" for value in (mean[at], mean[-1], loss[0], loss[-1])]
        rows.append([line.label, numbers[0], str(at + 1), *numbers[1:]])
    return drawn_as(["", "best val MAP", "epoch", "last val MAP", "first loss", "last loss"], rows)


def _where(mining: str) -> str:
    return f", mining {mining}" if mining else ""


def _csv(lines: Sequence[Line]) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for line in lines:
        for seed, run in enumerate(line.runs):
            for epoch, metrics in run.items():
                values = [f"{metrics[name]:.6f}" for name in _COLUMNS[5:]]
                writer.writerow([line.label, line.method, line.mining, seed, epoch, *values])
    return out.getvalue()


def _names(option: str, text: str) -> list[str]:
    given = [name.strip() for name in text.split(",")]
    if not all(given) or len(set(given)) < len(given):
        raise UserError(f"{option} is {text!r}; allowed: different names separated by commas")
    return given


def _override(configs: dict[str, dict[str, Value]], assignment: str) -> None:
    name, equals, text = assignment.partition("=")
    known = {hyper for config in configs.values() for hyper in config} - {"mining"}
    if not equals or name not in known:
        raise UserError(
            f"--set is {assignment!r}; give NAME=VALUE with a hyper-parameter of --methods{did_you_mean(name, known)}"
        )
    value = read(text, lambda line: f"--set {assignment}")
    for method, config in configs.items():
        if name in config:
            config[name] = legal(value, hypers_of(method)[name], name)


def _best_config(path: Path, method: str) -> dict[str, Value]:
    try:
        facts = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UserError(f"{path} cannot be read: {str(error).splitlines()[0]}") from None
    config = facts.get("config") if isinstance(facts, dict) else None
    if not isinstance(config, dict):
        raise UserError(f"{path} holds no configuration; give the best.yaml of a study")
    try:
        return check_config(get(method), config)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
