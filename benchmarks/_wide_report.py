"""The tables, sentences and picture of `wide`, from the studies that it has made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from avtune.core.hyper import Value
from avtune.metrics.significance import mean_interval
from avtune.report.svg import svg_file
from avtune.workflows.study_view import StudyView
from benchmarks import _report

USUAL, WIDE = "usual", "wide"
_COLOURS = {USUAL: "#4477aa", WIDE: "#cc3311"}


@dataclass(frozen=True)
class Side:
    """One finished search.

    Attributes:
        test, default: test MAP of the winner and of the default configuration.
        validation: best validation MAP of a trial.
        config: of the winner.
        epochs: that the winner was retrained for.
        so_far: best validation MAP after each trial.
        curve: validation MAP by epoch of the best trial.
        seconds: device seconds of the trials.
    """

    test: float
    default: float
    validation: float
    config: Mapping[str, Value]
    epochs: int
    so_far: tuple[float, ...]
    curve: tuple[float, ...]
    seconds: float


Sides = Mapping[str, Mapping[int, Side]]
"""By space (`USUAL`, `WIDE`) and search seed."""


def side_of(study: StudyView) -> Side:
    """What a finished study says."""
    results, best = study.results, study.best
    assert results is not None
    assert results.default is not None
    trials, curves = study.trials, study.curves
    values = trials["val_map"].fillna(0.0)
    first = int(values.idxmax())
    own = curves[curves["trial"] == int(trials["trial"][first])]
    return Side(
        results.test.map.mean,
        results.default.map.mean,
        float(values.max()),
        dict(best.config),
        results.epochs,
        tuple(float(one) for one in np.maximum.accumulate(values)),
        tuple(float(one) for one in own["val_map"]),
        float(trials["seconds"].sum()),
    )


def pairs(sides: Sides) -> list[float]:
    """Test MAP in the wide space minus that in the usual one, for each search seed that both have."""
    wide, usual = sides.get(WIDE, {}), sides.get(USUAL, {})
    return [wide[seed].test - usual[seed].test for seed in sorted(wide.keys() & usual.keys())]


def claim(name: str, sides: Sides) -> str:
    """The claim beside what was found."""
    apart = pairs(sides)
    if len(apart) < 2:
        return f"- {name}: not tested; {len(apart)} searches of both spaces have ended, and an interval takes two"
    middle, half = mean_interval(apart)
    assert half is not None
    found = "yes" if middle > half else "no, lower by more than it" if middle < -half else "no"
    return (
        f"- {name}: tuned `psd` above the usual space by more than the interval over {len(apart)} searches: {found} "
        f"({middle:+.4f} ± {half:.4f})"
    )


def table(sides: Sides) -> str:
    """One row a space."""
    rows = []
    for space, searches in sides.items():
        if not searches:
            continue
        found = list(searches.values())
        rows.append(
            [
                space,
                str(len(found)),
                _spread([one.test for one in found]),
                _spread(pairs(sides), sign=True) if space == WIDE and pairs(sides) else "–",
                _spread([one.default for one in found]),
                _spread([one.validation for one in found]),
                f"{np.mean([one.epochs for one in found]):.0f}",
                f"{np.mean([one.seconds for one in found]):.0f}",
            ]
        )
    head = ["space", "searches", "test MAP", "wide minus usual", "default's test MAP", "best validation MAP"]
    return _report.table([*head, "winner's epochs", "trials' device s"], rows)


def winners(sides: Sides, names: Sequence[str]) -> str:
    """What the winners of the wide space have of the choices of training, search by search; a dash where a condition
    does not hold.

    Args:
        names: of the choices.
    """
    searches = sides.get(WIDE, {})
    if not searches:
        return ""
    rows = [[name, *(_shown(one.config.get(name)) for one in searches.values())] for name in names]
    return _report.table(["winner's", *(f"seed {seed}" for seed in searches)], rows)


def _shown(value: Value | None) -> str:
    if value is None:
        return "–"
    return f"{value:.3g}" if isinstance(value, float) else str(value).lower()


def _spread(values: Sequence[float], *, sign: bool = False) -> str:
    middle, half = mean_interval(values)
    text = f"{middle:+.4f}" if sign else f"{middle:.4f}"
    return text if half is None else f"{text} ± {half:.4f}"


def picture(found: Mapping[str, Sides]) -> str:
    """For each data set what searching bought, and the learning curves of the best trials, as SVG."""
    figure = Figure(figsize=(9, 3.4 * len(found)), layout="constrained")
    FigureCanvasSVG(figure)
    for row, (name, sides) in zip(figure.subplots(len(found), 2, squeeze=False), found.items(), strict=True):
        for axes, label in zip(row, ("trial", "epoch of the best trial"), strict=True):
            for space, searches in sides.items():
                lines = [one.so_far if label == "trial" else one.curve for one in searches.values()]
                _draw(axes, lines, space, whole=label == "trial")
            axes.set_title(name, fontsize="medium")
            axes.set_xlabel(label)
            axes.set_ylabel("best validation MAP so far" if label == "trial" else "validation MAP")
            axes.spines[["top", "right"]].set_visible(False)
            axes.legend(frameon=False)
    return svg_file(figure)


def _draw(axes: object, lines: Sequence[Sequence[float]], space: str, *, whole: bool) -> None:
    """A line a search and, where they are of one length, their mean in bold."""
    for place, line in enumerate(lines):
        label = None if whole or place else space
        axes.plot(range(1, len(line) + 1), line, color=_COLOURS[space], linewidth=0.8, alpha=0.6, label=label)  # type: ignore[attr-defined]
    if whole and lines:
        least = min(map(len, lines))
        mean = np.mean([line[:least] for line in lines], axis=0)
        axes.plot(range(1, least + 1), mean, color=_COLOURS[space], linewidth=2, label=f"{space}, mean")  # type: ignore[attr-defined]


def is_finished(study: StudyView) -> bool:
    """Whether a search has ended, its finals included."""
    return study.path.is_dir() and study.state == "finished"
