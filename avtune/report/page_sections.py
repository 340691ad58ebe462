"""The sections of the report page below its result: headings, what a reader must know, charts, tables."""

from __future__ import annotations

from dataclasses import dataclass, replace

from avtune.report.page_classes import Classes, Direction
from avtune.report.page_payload import Payload
from avtune.report.page_rungs import Rung
from avtune.report.page_times import Cost
from avtune.report.page_trials import LETTERS
from avtune.report.text import duration
from avtune.study.by_class import MACRO, MEASURES


@dataclass(frozen=True)
class Figure:
    """A chart of `html/chart_*.js`.

    Attributes:
        id: of its element.
        height: in pixels.
        alt: what it shows, for those who cannot see it.
    """

    id: str
    height: int
    alt: str


@dataclass(frozen=True)
class Table:
    """A plain table."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Section:
    """A part of the page.

    Attributes:
        id: of its heading.
        text: paragraphs below the heading.
        figures: its charts.
        table: below them.
        always: it says something without scripts too.
    """

    id: str
    title: str
    text: tuple[str, ...] = ()
    figures: tuple[Figure, ...] = ()
    table: Table | None = None
    always: bool = False


def sections(found: Payload) -> list[Section]:
    """Those for which the study has something to show, in their order."""
    made = [_history(found), _curves(found), _configurations(found), _importance(found), _bought(found)]
    made += [
        _rungs(found),
        _shrinkage(found),
        _measures(found["classes"]),
        _classes(found["classes"]),
        _examples(found["classes"]),
        _timeline(found),
        _cost(found["cost"]),
    ]
    return [_named(section, found["value_name"]) for section in made if section is not None]


def _named(section: Section, name: str) -> Section:
    """A section, which is worded for MAP, with the name of what the study maximises."""

    def named(text: str) -> str:
        return text.replace("validation MAP", name).replace("Validation MAP", name[0].upper() + name[1:])

    figures = tuple(replace(figure, alt=named(figure.alt)) for figure in section.figures)
    return replace(section, text=tuple(map(named, section.text)), figures=figures)


def _has_values(found: Payload) -> bool:
    """Whether a trial that did not fail has a value."""
    trials = found["trials"]
    return any(
        value is not None and state != LETTERS["FAIL"]
        for value, state in zip(trials["value"], trials["states"], strict=True)
    )


def _history(found: Payload) -> Section | None:
    if not _has_values(found):
        return None
    alt = "Validation MAP of every trial by its number, with the best so far as a line."
    return Section(
        "history",
        "Optimisation history",
        ("Each point is a trial with its best validation MAP; a click on one puts its curve on top below.",),
        (Figure("history", 360, alt),),
    )


def _curves(found: Payload) -> Section | None:
    if not _has_values(found):
        return None
    curves = found["curves"]
    text = ["Validation MAP by epoch. Trials that a rung stopped are dimmed; dashed lines are the rungs."]
    if curves["other_rungs"]:
        text.append("Rungs lie after equal numbers of optimiser steps: with another batch size, at other epochs.")
    if len(curves["lines"]) > curves["whole"]:
        text.append(f"Beyond the best {curves['whole']} trials, curves are shown at some of their epochs only.")
    alt = "Learning curves of the best trials, the winner on top."
    return Section("curves", "Learning curves", tuple(text), (Figure("curves", 420, alt),), always=True)


def _configurations(found: Payload) -> Section | None:
    if not _has_values(found) or not found["trials"]["axes"]:
        return None
    alt = "Parallel coordinates: one line a trial through its hyper-parameters to its validation MAP."
    return Section(
        "configurations",
        "Configurations",
        (
            "Drag along an axis, or use the form: curves, slices and the table then show only the trials inside. "
            "A click on an axis takes its range away. Trials that failed are not drawn.",
        ),
        (Figure("configurations", 420, alt),),
    )


def _importance(found: Payload) -> Section | None:
    if not _has_values(found) or not found["trials"]["axes"]:
        return None
    importance, figures = found["importance"], []
    text = []
    if importance is None:
        text.append("Importance needs 15 trials and two hyper-parameters that vary.")
    else:
        text.append(
            f"Importance is PED-ANOVA's: how much a hyper-parameter decides whether a trial is among the best "
            f"{100 * importance['top']:.0f} % of {importance['trials']}, as a share of the sum; bars of error are the "
            "5 % and 95 % quantiles over resampled trials. Trials that were stopped count with their best value so far."
        )
        alt = "Importance of each hyper-parameter with error bars: " + ", ".join(
            f"{name} {share:.2f}" for name, share in zip(importance["names"], importance["share"], strict=True)
        )
        figures.append(Figure("importance", 80 + 28 * len(importance["names"]), alt))
    text.append("Below, every trial's validation MAP against each hyper-parameter, without those that failed.")
    figures.append(Figure("slices", 400, "Validation MAP of every trial against each hyper-parameter."))
    return Section("importance", "Importance and slices", tuple(text), tuple(figures))


def _bought(found: Payload) -> Section | None:
    if not _has_values(found):
        return None
    bought = found["bought"]
    independent, text = bought["independent"], []
    if independent is not None:
        text.append(
            f"Dashed: the expected best of n trials, with the band from 5 % to 95 %, exact over all choices of n from "
            f"{independent['what']} ({independent['trials']})."
        )
    if bought["chosen"] > 0:
        text.append(
            f"The solid line describes this one search: {bought['sampler']} chose its trials after looking at earlier "
            "ones, so that they are not independent and no band can be given."
        )
    text.append("These are validation values, and the best of many is higher than what it repeats: see the finals.")
    figures = (
        Figure("best-of-n", 360, "The best validation MAP against the number of trials."),
        Figure("best-by-seconds", 320, "The best validation MAP against device seconds."),
    )
    return Section("bought", "What searching bought", tuple(text), figures)


def _rungs(found: Payload) -> Section | None:
    rungs = found["rungs"]
    if not rungs:
        return None
    text = [
        "Of the trials that trained to their own end: does their order at a rung agree with that at the end? "
        "1 is the same order, 0 none, -1 the reverse. Trials that were stopped are not among them; few say little.",
    ]
    header = ("rung", "epoch", "reached", "stopped", "compared", "rank correlation", "best one's place", "lost")
    figures: tuple[Figure, ...] = ()
    if any(rung["points"] for rung in rungs):
        figures = (Figure("rungs", 380, "Validation MAP at each rung against that at the end of training."),)
        text.append(
            "Place: of the trial that ended best, at the rung. Lost: how much lower the best end would be if only the "
            "best of these had gone on there, in the share that ASHA lets go on."
        )
    table = Table(header, tuple(_rung(place, rung) for place, rung in enumerate(rungs, 1)))
    return Section("rungs", "Do rungs rank as the end does", tuple(text), figures, table, always=True)


def _rung(place: int, rung: Rung) -> tuple[str, ...]:
    low, high = rung["epochs"]
    return (
        str(place),
        str(low) if low == high else f"{low} to {high}",
        str(rung["reached"]),
        str(rung["stopped"]),
        str(rung["compared"]),
        "" if rung["correlation"] is None else f"{rung['correlation']:.2f}",
        "" if rung["place"] is None else str(rung["place"]),
        "" if rung["lost"] is None else f"{rung['lost']:.4f}",
    )


def _shrinkage(found: Payload) -> Section | None:
    if not found["fates"]:
        return None
    text = (
        "From the best value in the search to the mean over fresh seeds (small points are single seeds). Values that "
        "were chosen for being high fall; one of a trial that a rung stopped may rise, since it is trained further.",
        "MAP depends on the gallery: the test split's level differs from that of the validation rows, so that only "
        "differences between configurations carry over.",
    )
    alt = "Finalists: value in the search, mean over fresh seeds, test MAP with its interval."
    return Section("shrinkage", "From the search to the test", text, (Figure("shrinkage", 380, alt),))


def _measures(found: Classes | None) -> Section | None:
    """Scores beside MAP, each with its definition."""
    measures = None if found is None else found["measures"]
    if found is None or measures is None:
        return None
    known = {MACRO: ("macro MAP", "mean of MAP over the classes, each class alike"), **MEASURES}
    rows = tuple(
        (known[name][0], *(f"{measures[way][name]:.4f}" for way in ("mean", *found["ways"])), known[name][1])
        for name in measures["mean"]
    )
    text = (
        "Test scores that other papers give. Macro MAP is the mean over the seeds of the retrained winner; the others "
        "are of the saved model, the first seed's. R: how many clips are relevant to a query. Where clips have several "
        "labels, NDCG counts a clip as often as it shares one with the query.",
    )
    header = ("", "both", *found["ways"].values(), "definition")
    return Section("measures", "Other measures", text, table=Table(header, rows), always=True)


def _classes(found: Classes | None) -> Section | None:
    if found is None:
        return None
    means = "; ".join(
        f"{name}: {one['macro']:.4f} over the classes (macro), {one['micro']:.4f} over the queries (micro)"
        for name, one in ((found["ways"]["a2v"], found["a2v"]), (found["ways"]["v2a"], found["v2a"]))
    )
    text = [
        f"MAP of each class's queries on the test split, mean over the seeds of the retrained winner. Means: {means}.",
        "Precision against recall, and which class is found first, are of the saved model, the first seed's.",
    ]
    shown = len([count for count in found["clips"] if count])
    size = max(360, min(900, 180 + 26 * len(found["names"])))
    figures = [
        Figure("map-by-class", 90 + 26 * shown, "Test MAP of each class, both directions, the highest first."),
        Figure("precision-recall", 340, "Interpolated precision against recall on the test split, both directions."),
    ]
    if found["a2v"]["confusion"] is not None:
        figures += [
            Figure(f"confusion-{way}", size, f"Share of each class's queries by the class found first, {name}.")
            for way, name in found["ways"].items()
        ]
    return Section("classes", "Classes", tuple(text), tuple(figures))


def _examples(found: Classes | None) -> Section | None:
    """Queries and what they find; a clip is its place in the test split."""
    if found is None:
        return None
    rows = [*_found(found, found["a2v"], found["ways"]["a2v"]), *_found(found, found["v2a"], found["ways"]["v2a"])]
    text = (
        "Queries of the saved model at the quantiles 0, 25, 50, 75 and 100 % of average precision, and the clips found "
        "first. A number is a clip's place in the test split, from 0.",
    )
    header = ("", "query", "average precision", *(f"found {place}" for place in range(1, 6)))
    return Section("examples", "Examples of retrieval", text, table=Table(header, tuple(rows)), always=True)


def _found(found: Classes, way: Direction, name: str) -> list[tuple[str, ...]]:
    def words(clip: tuple[int, tuple[int, ...]]) -> str:
        return f"{clip[0]} {', '.join(found['names'][label] for label in clip[1])}"

    most = 5
    return [
        (name, words(one["query"]), f"{one['ap']:.4f}", *(words(clip) for clip in one["found"]))
        + ("",) * (most - len(one["found"]))
        for one in way["examples"]
    ]


def _timeline(found: Payload) -> Section | None:
    timeline = found["timeline"]
    if timeline is None:
        return None
    rows = "A device has a row for each trial, or run of the finals, that it trained at a time."
    if not timeline["devices"]:
        rows = "A row is a place that a trial keeps meanwhile; which device it had is not on record."
    text = [f"From a trial's suggestion to its end. {rows}"]
    if timeline["runs"]:
        text.append("Outlined: the runs of the finals.")
    if timeline["moved"]:
        text.append("A trial that was trained on several devices has its row on the last.")
    if timeline["told"]:
        text.append("In deterministic mode ends are those that the sampler was told, in the order of the trials.")
    alt = f"When trials and the runs of the finals were under way, since {timeline['begun']}."
    height = max(160, min(640, 80 + 18 * timeline["rows"]))
    return Section("timeline", "Timeline", tuple(text), (Figure("timeline", height, alt),))


def _cost(cost: Cost) -> Section:
    trials = cost["trials"]
    rows = (
        ("trials", ", ".join(f"{count} {_STATES[state]}" for state, count in trials.items() if count)),
        ("epochs of the search", f"{cost['epochs']:,}"),
        ("device time of the search", duration(cost["search_seconds"])),
        ("from the first suggestion to the last end", duration(cost["span_seconds"])),
        ("runs of the finals", f"{cost['finals_runs']}, {cost['finals_failed']} failed"),
        ("epochs of the finals", f"{cost['finals_epochs']:,}"),
        ("device time of the finals", duration(cost["finals_seconds"])),
    )
    return Section("cost", "Cost", table=Table(("", ""), rows), always=True)


_STATES = {"COMPLETE": "complete", "PRUNED": "stopped at a rung", "FAIL": "failed", "RUNNING": "running"}
