"""Methods compared over the data sets of several finished benches: mean ranks, Friedman's and Nemenyi's tests, and the
probability of improvement (`metrics.across`). Nothing is trained, and no test split is looked at.

A method's score on a data set is the mean test MAP of its retrained winner over the seeds. What is resampled for the
intervals are these seeds: they speak of the winners that the searches found on these data sets.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from avtune.core.errors import UserError
from avtune.core.protocol import VALIDATION
from avtune.core.schema import fitting
from avtune.core.seeds import mix
from avtune.finals.reference import NONE
from avtune.metrics import across as statistics
from avtune.metrics.across import Floats, Friedman, Interval
from avtune.metrics.letters import groups, letters
from avtune.workflows.bench.board import LEVEL, Row
from avtune.workflows.bench.folder import BenchFolder, reference_row
from avtune.workflows.bench.leaderboard import problems
from avtune.workflows.bench.rows import finished_rows

_SEED = mix("across")
_SETTINGS = {
    **{key: f"{key} differ" for key in ("trials", "epochs", "seeds", "finalists")},
    **{key: f"{key} differs" for key in ("precision", "reference", "fraction", "grace", "factor")},
    "seed": "the search's seed differs",
    "deterministic": "deterministic mode differs",
    "set": "what --set says differs",
}
"""Settings of a bench that are said where they are not the same in all, and how."""


_SHAPE = {
    "methods": [str],
    "dataset": {"name": str, "digest": str, "train": int, "test": int},
    "trials": int,
    "epochs": (int, str),
    "seeds": int,
    "command": str,
}
"""What is used of `bench.yaml`, beside what `BenchFolder.settings` has checked."""


@dataclass(frozen=True, eq=False)
class Source:
    """A bench that is compared with others.

    Attributes:
        name: of its folder; the path where another has that name.
        folder: of the bench.
        about: what `bench.yaml` holds.
        rows: of its finished methods, by name.
        waiting: its methods that have no result.
    """

    name: str
    folder: BenchFolder
    about: Mapping[str, Any]
    rows: Mapping[str, Row]
    waiting: tuple[str, ...]

    @property
    def dataset(self) -> str:
        return str(self.about["dataset"]["name"])

    @property
    def digest(self) -> str:
        return str(self.about["dataset"]["digest"])


@dataclass(frozen=True, eq=False)
class Across:
    """Methods over data sets.

    Attributes:
        sources: the benches [N], in the given order.
        labels: short names of their data sets [N], each another.
        methods: those with a result in every bench [k], best mean rank first.
        map: mean test MAP over the seeds [N, k].
        ranks: on each data set [N, k]; 1 is the best, equal ones share the mean of their ranks.
        mean_ranks: over the data sets [k].
        rank_interval: 95 % intervals of the mean ranks over the seeds [k]; NaN where a method has one seed.
        friedman: whether the methods differ at all.
        critical: Nemenyi's critical difference at `LEVEL`.
        differ: between which methods a difference was found [k, k].
        improvement: the probability that a run of the row's method scores higher than one of the column's [k, k].
        improvement_interval: its 95 % intervals over the seeds [k, k]; NaN where one of the two has one seed.
        reference: the plain method that is in the benches for reference; None where it is not in all.
        notes: sentences on what is left out, what differs between the benches, and problems of the data.
    """

    sources: tuple[Source, ...]
    labels: tuple[str, ...]
    methods: tuple[str, ...]
    map: Floats
    ranks: Floats
    mean_ranks: Floats
    rank_interval: Interval
    friedman: Friedman
    critical: float
    differ: Any
    improvement: Floats
    improvement_interval: Interval
    reference: str | None
    notes: tuple[str, ...]

    @property
    def letters(self) -> list[str]:
        """Of each method: between two that share one no difference was found."""
        return letters(self.differ)

    @property
    def groups(self) -> list[tuple[int, ...]]:
        """Places of methods between which no difference was found, as large as can be."""
        return groups(self.differ)

    @property
    def too_few(self) -> bool:
        """Whether so few data sets could not have shown a difference between any two methods: mean ranks of k methods
        are k - 1 apart at most, and Friedman's test comes first."""
        return self.critical > len(self.methods) - 1 or self.friedman.least >= LEVEL

    @property
    def rivals(self) -> tuple[int, ...]:
        """Places of the methods that the others are set against: the best one, and the reference."""
        others = () if self.reference is None else (self.methods.index(self.reference),)
        return tuple(dict.fromkeys((0, *others)))


def across(folders: Sequence[BenchFolder]) -> Across:
    """Reads benches and compares the methods that each has a result of.

    Raises:
        UserError: fewer than two benches or common methods, a bench or a data set is given twice, the benches have
            different protocols, or a file of one is damaged.
    """
    return compared(_read(folders))


def compared(sources: Sequence[Source]) -> Across:
    """Compares the methods that every bench has a result of.

    Raises:
        UserError: a data set is there twice, the benches have different protocols, or fewer than two common methods.
    """
    _check(sources)
    common = [name for name in sources[0].rows if all(name in one.rows for one in sources)]
    missing = _missing(sources)
    if len(common) < 2:
        raise UserError(
            f"across needs two methods that have a result in every bench; these have {' and '.join(common) or 'none'}\n"
            f"{'; '.join(missing[:3])}"
        )
    placed = statistics.ranks([[one.rows[name].map for name in common] for one in sources])
    order = sorted(range(len(common)), key=lambda place: (placed.mean(0)[place], common[place]))
    notes = (*missing, *_notes(sources))
    return _statistics(sources, [common[place] for place in order], placed[:, order], notes)


def _statistics(sources: Sequence[Source], methods: Sequence[str], placed: Floats, notes: Sequence[str]) -> Across:
    """What is known of these methods, in this order.

    Args:
        placed: their ranks [N, k].
    """
    scores = np.array([[one.rows[name].map for name in methods] for one in sources])
    runs = [[one.rows[name].results.test.map.seeds for name in methods] for one in sources]
    found = statistics.friedman(scores)
    critical = statistics.critical_difference(len(methods), len(sources), LEVEL)
    return Across(
        sources=tuple(sources),
        labels=_labels(sources),
        methods=tuple(methods),
        map=scores,
        ranks=placed,
        mean_ranks=placed.mean(0),
        rank_interval=statistics.mean_rank_intervals(runs, _SEED),
        friedman=found,
        critical=critical,
        differ=statistics.differ(placed.mean(0), critical, found.p, LEVEL),
        improvement=statistics.probability_of_improvement(runs),
        improvement_interval=statistics.improvement_intervals(runs, _SEED),
        reference=_reference(sources, methods),
        notes=tuple(notes),
    )


def _read(folders: Sequence[BenchFolder]) -> list[Source]:
    if len(folders) < 2:
        raise UserError("across takes two benches or more, e.g. avtune across bench-first bench-second")
    roots = [folder.root.resolve() for folder in folders]
    twice = [folder.root for folder, root in zip(folders, roots, strict=True) if roots.count(root) > 1]
    if twice:
        raise UserError(f"{twice[0]} is given twice; name each bench once")
    names = [root.name for root in roots]
    sources = []
    for folder, root in zip(folders, roots, strict=True):
        about = fitting(folder.settings(), _SHAPE, folder.bench_yaml)
        rows, waiting = finished_rows(folder, about)
        name = root.name if names.count(root.name) == 1 else str(folder.root)
        sources.append(Source(name, folder, about, {row.method: row for row in rows}, tuple(waiting)))
    return sources


def _check(sources: Sequence[Source]) -> None:
    for place, one in enumerate(sources):
        same = next((other for other in sources[:place] if other.digest == one.digest), None)
        if same is not None:
            raise UserError(
                f"{same.name} and {one.name} are on the same data set ({one.dataset}, digest {one.digest[:12]}); "
                "across compares over different ones: leave one of them out"
            )
    protocols = {one.about.get("protocol", VALIDATION) for one in sources}
    if len(protocols) > 1:
        said = _by_value(sources, "protocol")
        raise UserError(f"scores of different protocols cannot be compared: {said}; give benches of one of them")


def _missing(sources: Sequence[Source]) -> list[str]:
    """A sentence for each method that some bench has no result of."""
    names = dict.fromkeys(name for one in sources for name in (*one.rows, *one.waiting))
    lines = []
    for name in names:
        unfinished = [one.name for one in sources if name in one.waiting]
        absent = [one.name for one in sources if name not in one.rows and name not in one.waiting]
        said = [f"has no result yet in {', '.join(unfinished)}"] if unfinished else []
        said += [f"is not a method of {', '.join(absent)}"] if absent else []
        if said:
            lines.append(f"{name} is left out: it {' and '.join(said)}")
    return lines


def _notes(sources: Sequence[Source]) -> list[str]:
    """What differs between the benches, and what is wrong with their data."""
    lines = [
        f"{differs} between the benches: {_by_value(sources, key)}"
        for key, differs in _SETTINGS.items()
        if len({_value(one, key) for one in sources}) > 1
    ]
    for one in sources:
        lines += [f"{one.name}: {problem.rstrip('.')}" for problem in problems(list(one.rows.values()))]
    return lines


def _by_value(sources: Sequence[Source], key: str) -> str:
    """`16 (bench-a, bench-b); 8 (bench-c)`."""
    values = dict.fromkeys(_value(one, key) for one in sources)
    return "; ".join(
        f"{value} ({', '.join(one.name for one in sources if _value(one, key) == value)})" for value in values
    )


def _value(source: Source, key: str) -> str:
    value = source.about.get(key, "not said")
    return (", ".join(map(str, value)) or "nothing") if isinstance(value, list) else str(value)


def _labels(sources: Sequence[Source]) -> tuple[str, ...]:
    """Names of data sets, or of benches where two have one name; of benches alone where these would be mistaken for
    data sets, so that each is another."""
    names = [one.dataset for one in sources]
    labels = tuple(one.dataset if names.count(one.dataset) == 1 else one.name for one in sources)
    return labels if len(set(labels)) == len(labels) else tuple(one.name for one in sources)


def _reference(sources: Sequence[Source], methods: Sequence[str]) -> str | None:
    """The reference of the benches, as they name its row."""
    named = dict.fromkeys(str(one.about.get("reference", NONE)) for one in sources)
    rows = [row for name in named for row in (reference_row(name), name)]
    return next((row for row in rows if row in methods), None)
