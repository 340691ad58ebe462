"""The part of the Python interface that compares methods over data sets: `avtune.across`; see `avtune.api`."""

from __future__ import annotations

from pathlib import Path

from avtune.core.errors import UserError
from avtune.workflows.bench.across import across as run_across
from avtune.workflows.bench.across_view import BenchComparison
from avtune.workflows.bench.folder import BenchFolder
from avtune.workflows.bench.view import BenchView, existing_bench
from avtune.workflows.python_data import Place, path_text
from avtune.workflows.python_errors import python_errors


def across(
    *benches: BenchView | Place,
    page: Place | None = None,
    picture: Place | None = None,
    results: Place = "results",
) -> BenchComparison:
    """How methods compare over several data sets, from finished benches: mean ranks, Friedman's and Nemenyi's tests,
    the probability of improvement of every pair. Nothing is trained, and no test split is looked at again.

    Methods without a result in one of the benches are left out, and `.notes` says so.

    Args:
        benches: two or more on different data sets, under one protocol: benches, their folders, or their names below
            `results`.
        page: also write a page with the critical-difference diagram there, `across.html` for example.
        picture: also write the diagram alone there, as SVG.
        results: the folder of benches.

    Returns:
        `.table`, a DataFrame with a row a method, best mean rank first; `.probability_of_improvement` [methods,
        methods] with `.probability_low` and `.probability_high`; `.critical_difference`; `.friedman_p`; `.notes`.

    Raises:
        UserError: there is no such bench, one or its data set is given twice, protocols differ, fewer than two methods
            are finished in all, a file is damaged, or what is to be written cannot be.

    >>> across("bench-first")
    Traceback (most recent call last):
    avtune.core.errors.UserError: across takes two benches or more, e.g. avtune.across('bench-first', 'bench-second')
    """
    with python_errors():
        if len(benches) < 2:
            raise UserError("across takes two benches or more, e.g. avtune.across('bench-first', 'bench-second')")
        place = Path(path_text(results, "results"))
        found = BenchComparison(run_across([_folder(one, place) for one in benches]))
        if page is not None:
            found.write_page(Path(path_text(page, "page")))
        if picture is not None:
            found.write_picture(Path(path_text(picture, "picture")))
        return found


def _folder(bench: BenchView | Place, results: Path) -> BenchFolder:
    if isinstance(bench, BenchView):
        return BenchFolder(bench.path)
    return BenchFolder(existing_bench(path_text(bench, "bench"), results))
