"""The words and the cells of a comparison, for the terminal and the page."""

from __future__ import annotations

from collections.abc import Sequence

from avtune.core.objective import MAP
from avtune.core.view_names import VIEWS, ways
from avtune.report.text import OF_MODELS, OF_SEEDS, duration, score_text
from avtune.study.results import Results
from avtune.workflows.compare import Compared, Comparison

_HEAD = ("", "study", "method", "trials", "search", "val MAP", "test MAP", *ways(VIEWS).values(), "default", "")
_ERROR_BARS = "± is half of the 95 % interval over the seeds (Student t); val MAP is the winner's, over other seeds"
_LETTERS = (
    "between studies of one table that share a letter no difference was found at 0.05 (paired randomisation test "
    "over the test clips, Holm)"
)


def by_kind(found: Comparison) -> list[tuple[str, list[Compared]]]:
    """(what they share, the studies that can be ranked with each other), in the order of the comparison: places and
    letters begin anew in each. Studies without results are in the first table of their data."""
    digests = dict.fromkeys(one.digest for one in found.studies)
    return [made for digest in digests for made in _tables([one for one in found.studies if one.digest == digest])]


def _tables(studies: Sequence[Compared]) -> list[tuple[str, list[Compared]]]:
    """Those on the same data."""
    name = f"dataset {studies[0].dataset} (digest {studies[0].digest[:12]})"
    open_ones = [one for one in studies if one.results is None]
    made: list[tuple[str, list[Compared]]] = []
    for kind in dict.fromkeys(one.kind for one in studies if one.results is not None):
        some = [one for one in studies if one.results is not None and one.kind == kind]
        made.append((f"{name}, {kind[1]}" if kind[1] else name, [*some, *(open_ones if not made else [])]))
    return made or [(name, open_ones)]


def head(studies: Sequence[Compared]) -> tuple[str, ...]:
    """The headings of the columns, with the names of the views."""
    views = next((one.results.dataset.views for one in studies if one.results is not None), VIEWS)
    names = dict(zip(ways(VIEWS).values(), ways(views).values(), strict=True))
    return tuple(names.get(one, one) for one in _HEAD)


def reading(found: Comparison) -> list[str]:
    """What must be known to read the tables."""
    said = [_ERROR_BARS] if any(one.results is not None for one in found.studies) else []
    tested = [one.results for one in found.studies if one.group and one.results is not None]
    if tested:
        alone = [one for one in tested if len(one.seeds) < 2]
        words = OF_MODELS if len(alone) == len(tested) else OF_SEEDS
        more = "; of studies with one seed it is of the trained models alone" * (0 < len(alone) < len(tested))
        said.append(f"{_LETTERS}; {words[0].lower()}{words[1:]}{more}")
    return said


def cells(one: Compared) -> list[str]:
    """The row of a study, a cell for each of `head`."""
    results, best = one.results, one.best
    scores = [score_text(score) for score in results.test.shown[:3]] if results is not None else ["", "", ""]
    validation = f"{best:.4f} (one seed)" if best is not None else ""
    if one.validation is not None:
        validation = f"{one.validation.mean:.4f}"
    if validation and one.objective != MAP.text:
        validation += f" {one.objective}"
    mark = one.group if results is not None else one.state
    return [
        "" if one.place is None else str(one.place),
        one.name,
        one.method,
        str(one.trials),
        duration(one.seconds),
        validation,
        *scores,
        _default(results),
        f"{mark} {results.label}".strip() if results is not None and results.label else mark,
    ]


def _default(results: Results | None) -> str:
    if results is None or results.default is None:
        return ""
    return "the winner" if results.default_is_winner else score_text(results.default.map)
