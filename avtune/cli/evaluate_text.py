"""What `avtune evaluate` prints below MAP: scores at k, median ranks, MAP by class, confused classes. 80 columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from avtune.core.streams import visible
from avtune.report.text import table

_COLUMNS = 80
_NAME = 16  # characters of a class's name that are shown
_OTHERS = 3  # classes that are named beside a query's own one
_AT = {
    "precision": "precision",
    "recall": "class recall",
    "hit_rate": "class hit rate",
    "pair_hit_rate": "pair hit rate",
}
_CUTOFF = {"map": "MAP@k", "map_found": "MAP@k of found", "ndcg": "NDCG@k"}
_CUTOFF_WORDS = (
    "MAP@k: precision at the clips of its class among the first k, summed and divided",
    "  by k, or by how many clips its class has if these are fewer",
    "MAP@k of found: divided by how many of them are found; 0 without any",
    "NDCG@k: 1 / log2(1 + rank) summed over those among the first k, divided by the",
    "  highest possible sum",
)
_WORDS = (
    "precision: share of the first k clips that are of the query's class",
    "class recall: share of the clips of its class that are among the first k",
    "class hit rate: share of the queries with a clip of their class among them",
    "pair hit rate: share of the queries with their own pair among them",
)


def at_lines(facts: Mapping[str, Any], ranks: Sequence[int], ways: Mapping[str, str]) -> list[str]:
    """Precision, class recall, hit rates, MAP@k and NDCG@k at each rank in both directions, with what they are, and
    median ranks.

    Args:
        ways: the names of the directions, as `core.view_names.ways` makes them; so below.
    """
    lines = []
    paired = "pair_a2v" in facts["median_rank"]
    shown = {key: said for key, said in _AT.items() if paired or key != "pair_hit_rate"}
    for columns, said in ((shown, (*_WORDS[: len(shown)], "")), (_CUTOFF, _CUTOFF_WORDS)):
        if not facts["at"]:  # all ranks are beyond the gallery
            break
        for way, name in ways.items():
            rows = [[str(row["k"]), *(f"{row[f'{key}_{way}']:.4f}" for key in columns)] for row in facts["at"]]
            lines += [name, *table(["k", *columns.values()], rows), ""]
        lines += said
    clips = facts["gallery"]["clips"]
    if beyond := [str(k) for k in ranks if k > clips]:
        lines.append(f"note: nothing at {', '.join(beyond)}: there are {clips} clips")
    median = facts["median_rank"]
    rows = [
        [words, *(f"{median[f'{name}_{way}']:.1f}" for way in ways)]
        for name, words in (("class", "first clip of the query's class"), ("pair", "the query's own pair"))
        if name == "class" or paired
    ]
    return [*lines, "", *table(["median rank", *ways.values()], rows)]


def class_lines(facts: Mapping[str, Any], micro: Mapping[str, float], ways: Mapping[str, str]) -> list[str]:
    """MAP by class, with the means over classes and over queries.

    Args:
        micro: `map`, `map_a2v` and `map_v2a` over the queries.
    """
    keys = ("map", "map_a2v", "map_v2a")
    rows = [[_short(one["name"]), str(one["clips"]), *(f"{one[key]:.4f}" for key in keys)] for one in facts["classes"]]
    rows.append(["mean over classes (macro)", "", *(f"{facts[f'macro_{key}']:.4f}" for key in keys)])
    rows.append(["mean over queries (micro)", "", *(f"{micro[key]:.4f}" for key in keys)])
    return table(["MAP by class", "clips", "both", *ways.values()], rows)


def confusion_lines(facts: Mapping[str, Any], clips: Sequence[int], ways: Mapping[str, str]) -> list[str]:
    """Which classes are found for which: a table where it fits, else what each class is most confused with.

    Args:
        facts: `workflows.evaluate_classes.confused`.
        clips: of each class.
    """
    found = "the nearest clip" if facts["k"] == 1 else f"the {facts['k']} nearest clips"
    lines = []
    for way, name in ways.items():
        matrix = _matrix(facts["classes"], facts[way])
        what = f"{name}: classes of {found}"
        if max(map(len, matrix)) <= _COLUMNS:
            lines += [f"{what}, % by the class of the query (row)", *matrix, ""]
        else:
            lines += [what, *_listed(facts["classes"], clips, facts[way]), ""]
    return lines[:-1]


def _matrix(names: Sequence[str], shares: Sequence[Sequence[float]]) -> list[str]:
    numbers = [str(place) for place in range(len(names))]
    wide = len(numbers[-1])
    heads = [f"{number:>{wide}} {_short(name)}" for number, name in zip(numbers, names, strict=True)]
    left = max(map(len, heads))
    rows = [["" if share == 0 else f"{100 * share:.0f}" for share in row] for row in shares]
    return [
        " " * left + "".join(f"{number:>4}" for number in numbers),
        *(
            (f"{head:<{left}}" + "".join(f"{cell:>4}" for cell in row)).rstrip()
            for head, row in zip(heads, rows, strict=True)
        ),
    ]


def _listed(names: Sequence[str], clips: Sequence[int], shares: Sequence[Sequence[float]]) -> list[str]:
    rows = []
    for place, row in enumerate(shares):
        order = sorted((other for other in range(len(row)) if other != place), key=lambda other: -row[other])
        others = [f"{_short(names[other])} {100 * row[other]:.0f}" for other in order[:_OTHERS] if row[other] >= 0.005]
        rows.append([_short(names[place]), str(clips[place]), f"{100 * row[place]:.0f}", _joined(others)])
    return table(["class", "clips", "own, %", "most often found instead, %"], rows)


def _joined(words: Sequence[str]) -> str:
    """As many of them as there is room for."""
    room, kept = _COLUMNS - _NAME - 20, ""
    for word in words:
        longer = f"{kept}, {word}" if kept else word
        if len(longer) <= room:
            kept = longer
    return kept


def _short(name: str) -> str:
    shown = " ".join(visible(name).split())
    return shown if len(shown) <= _NAME else f"{shown[: _NAME - 3]}..."
