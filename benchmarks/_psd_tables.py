"""The tables, sentences and picture of `psd_examined`, from what its searches found."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean, median

from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from avtune.metrics.significance import mean_interval
from avtune.report.svg import svg_file
from benchmarks import _report
from benchmarks._psd_cells import ALL_LABELS, CLASSIFIERS, CONDITIONS, MEANING, PSD, TRIPLET, Cell, variants
from benchmarks._searches import Found

Results = Mapping[Cell, Found]
BOUGHT = (
    ("r and soft alignments together", (TRIPLET, ALL_LABELS)),
    ("the shrink rate", ("psd-no-shrink",)),
    ("soft in place of hard alignments", ("psd-hard",)),
    ("the margin", ("psd-margin-0.2",)),
)
"""What is examined, and the variants without it: of two, `psd` with r = 1 is `triplet` where every clip has a label."""
_ROWS = (*BOUGHT, *((f"all of it, against `{name}`", (name,)) for name in (TRIPLET, CLASSIFIERS)))
_COLOURS = ("#cc3311", "#777777", "#aa7700", "#aa3377", "#228833", "#ee99aa", "#4477aa", "#000000")


def tests(results: Results, dataset: str, condition: str, variant: str) -> dict[int, float]:
    """Test MAP by search seed."""
    return {
        cell.seed: found.map
        for cell, found in results.items()
        if (cell.dataset, cell.condition, cell.variant) == (dataset, condition, variant)
    }


def gap(results: Results, dataset: str, condition: str, variant: str) -> list[float]:
    """Test MAP of `psd` minus that of a variant, for each search seed that both have."""
    ours, theirs = (tests(results, dataset, condition, one) for one in (PSD, variant))
    return [ours[seed] - theirs[seed] for seed in sorted(ours.keys() & theirs.keys())]


def table(results: Results, dataset: str, condition: str) -> str:
    """The table of one condition; empty where nothing was searched."""
    rows = []
    for variant in variants(condition):
        maps = tests(results, dataset, condition, variant)
        if not maps:
            continue
        apart = [] if variant == PSD else gap(results, dataset, condition, variant)
        found = [one for cell, one in results.items() if _is(cell, dataset, condition, variant)]
        rows.append(
            [
                f"`{variant}`",
                str(len(maps)),
                spread(list(maps.values())),
                "–" if not apart else spread(apart, sign=True),
                "–" if variant == PSD else verdict(apart),
                f"{mean_interval([one.validation for one in found])[0]:.4f}",
                _winners(found, variant),
            ]
        )
    head = ["", "searches", "test MAP", "`psd` minus this", "differs", "validation MAP", "winners: r_init, r_shrink"]
    return _report.table(head, rows) if rows else ""


def _is(cell: Cell, dataset: str, condition: str, variant: str) -> bool:
    return (cell.dataset, cell.condition, cell.variant) == (dataset, condition, variant)


def _winners(found: Sequence[Found], variant: str) -> str:
    if not all("r_init" in one.config for one in found) or variant == ALL_LABELS:
        return "–"
    return ", ".join(f"{median(float(one.config[name]) for one in found):.2f}" for name in ("r_init", "r_shrink"))


def spread(values: Sequence[float], *, sign: bool = False) -> str:
    """A mean with its interval, which one value does not have."""
    middle, half = mean_interval(values)
    text = f"{middle:+.4f}" if sign else f"{middle:.4f}"
    return text if half is None else f"{text} ± {half:.4f}"


def verdict(differences: Sequence[float]) -> str:
    """Whether the interval of paired differences leaves 0 out."""
    if len(differences) < 2:
        return "not known"
    middle, half = mean_interval(differences)
    assert half is not None
    return "no" if abs(middle) <= half else "`psd` higher" if middle > 0 else "`psd` lower"


def _without(without: Sequence[str], condition: str) -> str:
    """The last of the variants that the condition has."""
    return next(one for one in reversed(without) if one in variants(condition))


def over_conditions(results: Results, dataset: str, without: Sequence[str]) -> list[float]:
    """The mean over all conditions of `psd` minus that variant, for each search seed that has all of them."""
    by_seed: dict[int, list[float]] = {}
    for condition in CONDITIONS:
        ours = tests(results, dataset, condition, PSD)
        theirs = tests(results, dataset, condition, _without(without, condition))
        for seed in ours.keys() & theirs.keys():
            by_seed.setdefault(seed, []).append(ours[seed] - theirs[seed])
    return [fmean(by_seed[seed]) for seed in sorted(by_seed) if len(by_seed[seed]) == len(CONDITIONS)]


def bought(results: Results, dataset: str) -> str:
    """For each thing that is examined, what it buys under each condition, and in the mean over them: `psd` minus `psd`
    without it."""
    held = [one for one in CONDITIONS if tests(results, dataset, one, PSD)]
    rows = []
    for what, without in _ROWS:
        cells = [gap(results, dataset, one, _without(without, one)) for one in held]
        cells.append(over_conditions(results, dataset, without))
        rows.append([what, *map(_bold, cells)])
    return _report.table(["", *held, "mean over conditions"], rows) if held else ""


def everywhere(results: Results, datasets: Sequence[str]) -> str:
    """The means over conditions of each data set, and of all searches of all data sets that have all conditions; empty
    where fewer than two data sets have one."""
    rows, held = [], [one for one in datasets if over_conditions(results, one, (CLASSIFIERS,))]
    for what, without in _ROWS:
        means = [over_conditions(results, one, without) for one in held]
        rows.append([what, *map(_bold, means), _bold([value for of_one in means for value in of_one])])
    return _report.table(["", *held, "all"], rows) if len(held) > 1 else ""


def _bold(differences: Sequence[float]) -> str:
    if not differences:
        return "–"
    text = spread(differences, sign=True)
    return f"**{text}**" if verdict(differences).startswith("`psd`") else text


def sentences(results: Results, dataset: str) -> Iterator[str]:
    """What differs from off, in words, a line each; says where too few searches are there to tell."""
    for what, without in BOUGHT:
        higher, lower, halves = [], [], []
        for condition in CONDITIONS:
            apart = gap(results, dataset, condition, _without(without, condition))
            half = mean_interval(apart)[1] if apart else None
            if half is None:
                continue
            halves.append(half)
            higher += [condition] if verdict(apart) == "`psd` higher" else []
            lower += [condition] if verdict(apart) == "`psd` lower" else []
        if not halves:
            yield f"- {what}: no condition has two searches or more of both sides; nothing can be said"
            continue
        found = [f"better with it under {', '.join(higher)}"] if higher else []
        found += [f"worse with it under {', '.join(lower)}"] if lower else []
        if not found:
            found = ["no difference from off was found"]
        mean = over_conditions(results, dataset, without)
        over = f"; in the mean over the conditions {spread(mean, sign=True)}" if len(mean) > 1 else ""
        yield (
            f"- {what}: {'; '.join(found)}{over} ({len(halves)} of {len(CONDITIONS)} conditions have an interval; they "
            f"are ± {min(halves):.4f} to ± {max(halves):.4f}, and what is smaller could not have been seen)"
        )


def picture(results: Results, datasets: Sequence[str]) -> str:
    """Test MAP against wrong labels, and against the share of labels that is there, as SVG: means with their intervals
    over searches. `noise-0` is the share of 100 %."""
    figure = Figure(figsize=(10, 3.6 * len(datasets)), layout="constrained")
    FigureCanvasSVG(figure)
    grid = figure.subplots(len(datasets), 2, squeeze=False, sharey="row")
    for row, dataset in zip(grid, datasets, strict=True):
        for axes, kind, label in zip(
            row, ("noise", "labelled"), ("% of labels wrong", "% of clips with a label"), strict=True
        ):
            _lines(axes, results, dataset, kind)
            axes.set_title(dataset, fontsize="medium")
            axes.set_xlabel(label)
            axes.set_ylabel("test MAP")
            axes.tick_params(labelleft=True)
            axes.spines[["top", "right"]].set_visible(False)
        low, high = row[0].get_ylim()
        row[0].set_ylim(max(0.0, low), min(1.0, high))  # an interval over two searches may leave the range of MAP
        row[1].invert_xaxis()
        drawn = {name: line for axes in row for line, name in zip(*axes.get_legend_handles_labels(), strict=True)}
        row[1].legend(drawn.values(), drawn, frameon=False, fontsize="small", loc="upper left", bbox_to_anchor=(1, 1))
    return svg_file(figure)


def _lines(axes: object, results: Results, dataset: str, kind: str) -> None:
    points = [one for one in CONDITIONS if one.startswith(kind)]
    for place, variant in enumerate(MEANING):
        drawn = []
        for condition in points if kind == "noise" else ["noise-0", *points]:
            maps = tests(results, dataset, condition, variant)
            if maps:
                at = 100 if (kind, condition) == ("labelled", "noise-0") else int(condition.partition("-")[2])
                middle, half = mean_interval(list(maps.values()))
                drawn.append((at + (place - 3.5) * 0.25, middle, half or 0.0))
        if drawn:
            where, middles, halves = zip(*drawn, strict=True)
            axes.errorbar(  # type: ignore[attr-defined]
                where, middles, yerr=halves, color=_COLOURS[place], label=variant, linewidth=1.2, capsize=2, marker="."
            )
