"""What is wrong with a dataset, in sentences. A *problem* touches the test score: it is said when a command starts and
carried by everything that publishes the score. A *note* does not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import numpy as np

from avtune.core.words import plural
from avtune.data.dataset import Dataset
from avtune.data.groups import BLOCK_ROWS, row_digests
from avtune.data.labels import counts_by_class
from avtune.data.registry import problems as registry_problems

IMBALANCE = 10  # the largest class has this many times the clips of the smallest
FEW_CLIPS = 5  # fewer in train and five folds are impossible
MANY_ZERO = 0.01  # share of a split's clips: as many lost queries move MAP by as much as its interval is wide
SHOWN = 3  # pairs in a sentence

Pairs = tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Findings:
    """What a look at a dataset found. Clips are rows of their split, from 0; equal clips have equal features in both
    views.

    Attributes:
        problems: what touches the test score, a sentence each.
        notes: what does not.
        shared: (test clip, the first training clip that it equals).
        repeated_train, repeated_test: (clip, the first clip of the same split that it equals).
    """

    problems: tuple[str, ...]
    notes: tuple[str, ...]
    shared: Pairs
    repeated_train: Pairs
    repeated_test: Pairs


_known: WeakKeyDictionary[Dataset, Findings] = WeakKeyDictionary()


def examine(dataset: Dataset) -> Findings:
    """Looks at a dataset; a second call with the same object costs nothing. 28,000 clips of 1,152 features take 0.5 s
    on one core."""
    if dataset not in _known:
        _known[dataset] = _examine(dataset)
    return _known[dataset]


def _examine(dataset: Dataset) -> Findings:
    first, repeated_train = _first_rows(row_digests((dataset.train.audio, dataset.train.visual)))
    in_test = row_digests((dataset.test.audio, dataset.test.visual))
    shared = tuple((row, first[digest]) for row, digest in enumerate(in_test) if digest in first)
    _, repeated_test = _first_rows(in_test)
    num_train, num_test = len(dataset.train), len(dataset.test)
    problems = [*registry_problems(dataset), *_untested(dataset)]
    problems += _equal(shared, num_test, "test", "a training clip", "training")
    problems += _leaked(dataset)
    problems += _equal(repeated_test, num_test, "test", "another test clip", "test")
    notes = [*dataset.remarks, *_class_sizes(dataset)]
    if dataset.unread:
        notes.append(f"arrays that are not read: {_listed(dataset.unread)}")
    notes += _equal(repeated_train, num_train, "training", "another training clip", "training")
    for slot, view in zip(("audio", "visual"), dataset.views, strict=True):
        constant, columns = _constant(dataset, slot, view)
        some, many = _zero(dataset, slot, view)
        problems += constant + many
        notes += columns + some
    return Findings(tuple(problems), tuple(notes), shared, repeated_train, repeated_test)


def _untested(dataset: Dataset) -> list[str]:
    counts = counts_by_class(dataset.test.labels, dataset.num_classes)
    absent = [name for name, count in zip(dataset.class_names, counts, strict=True) if count == 0]
    verb = "has" if len(absent) == 1 else "have"
    return [f"{len(absent)} of {dataset.num_classes} classes {verb} no test clip: {_listed(absent)}"] if absent else []


def _leaked(dataset: Dataset) -> list[str]:
    verb = "is" if dataset.leaked == 1 else "are"
    told = f"{dataset.leaked} of {len(dataset.test)} test clips {verb} of a group (a video) that has training clips"
    return [told] if dataset.leaked else []


def _class_sizes(dataset: Dataset) -> list[str]:
    names, found = dataset.class_names, []
    counts = counts_by_class(dataset.train.labels, dataset.num_classes)
    least, most = int(np.argmin(counts)), int(np.argmax(counts))
    if counts[most] >= IMBALANCE * counts[least]:
        found.append(
            f"imbalanced classes: '{names[most]}' has {counts[most]} training clips and "
            f"'{names[least]}' has {counts[least]}"
        )
    few = [name for name, count in zip(names, counts, strict=True) if count < FEW_CLIPS]
    if few:
        found.append(
            f"{plural(len(few), 'class', 'classes')} with fewer than {FEW_CLIPS} training clips: {_listed(few)}"
        )
    return found


def _equal(pairs: Pairs, total: int, split: str, what: str, other: str) -> list[str]:
    """The sentence on equal clips."""
    if not pairs:
        return []
    shown = [f"{split} clip {row} = {other} clip {twin}" for row, twin in pairs]
    verb = "has" if len(pairs) == 1 else "have"
    return [f"{len(pairs)} of {total} {split} clips {verb} the same features as {what}: {_listed(shown, SHOWN)}"]


def _constant(dataset: Dataset, slot: str, view: str) -> tuple[list[str], list[str]]:
    """On splits in which the whole view is constant, and on single constant columns of the training split."""
    whole, some = [], []
    for name, split in (("training", dataset.train), ("test", dataset.test)):
        x = getattr(split, slot)
        same = np.ones(x.shape[1], bool)
        for start in range(0, len(x), BLOCK_ROWS):
            same &= (x[start : start + BLOCK_ROWS] == x[0]).all(axis=0)
        constant, dims = int(same.sum()), x.shape[1]
        if constant == dims and len(x) > 1:
            whole.append(f"the {view} view is constant in the {name} split (all {plural(dims, 'column')})")
        elif constant and name == "training":
            some.append(f"{plural(constant, f'{view} column')} constant in the training split")
    return whole, some


def _zero(dataset: Dataset, slot: str, view: str) -> tuple[list[str], list[str]]:
    """On clips whose features are all zero: where they are few, and where they are many."""
    few: list[str] = []
    many: list[str] = []
    for name, split in (("training", dataset.train), ("test", dataset.test)):
        x = getattr(split, slot)
        zero = sum(int((~x[at : at + BLOCK_ROWS].any(axis=1)).sum()) for at in range(0, len(x), BLOCK_ROWS))
        if zero:
            verb = "has" if zero == 1 else "have"
            told = f"{zero} of {plural(len(split), f'{name} clip')} {verb} {view} features that are all zero"
            (many if zero >= MANY_ZERO * len(split) else few).append(told)
    return few, many


def _first_rows(digests: Sequence[bytes]) -> tuple[dict[bytes, int], Pairs]:
    """The first row of each digest, and every later row with that first one."""
    first: dict[bytes, int] = {}
    later = []
    for row, digest in enumerate(digests):
        if first.setdefault(digest, row) != row:
            later.append((row, first[digest]))
    return first, tuple(later)


def _listed(items: Sequence[str], most: int = 5) -> str:
    return ", ".join(items[:most]) + (f" and {len(items) - most} more" if len(items) > most else "")
