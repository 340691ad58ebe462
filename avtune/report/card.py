"""The model card: what a reader must know before using or citing the model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from avtune import __version__
from avtune.core.hyper import Value
from avtune.core.objective import label
from avtune.core.words import plural
from avtune.methods import METHODS
from avtune.report.text import escaped, markdown_header, score_rows, score_text, still_rises, ties_text

if TYPE_CHECKING:
    from avtune.data.dataset import Dataset
    from avtune.space.space import Space
    from avtune.study.results import Results

_PUBLISHED = (
    "**Selected on test.** Each of these models was scored on the test split after every one of its {epochs} epochs "
    "and kept its best one, as the public training scripts of the field do. Compare these scores with tables made so, "
    "and with nothing else; without `--protocol published` the test split selects nothing."
)
_LIMITS = (
    "## Limits",
    "",
    "The embeddings rank clips of the classes above; nothing is known of other classes, other feature extractors "
    "or other collections. The features describe whole clips, so the model knows nothing of when a sound is heard.",
    "",
)


def model_card(dataset: Dataset, space: Space, config: Mapping[str, Value], results: Results) -> str:
    """Markdown for `final/MODEL_CARD.md`.

    Args:
        dataset: that the model was retrained and scored on.
        space: of its study.
        config: the hyper-parameters, complete.
        results: what `final/metrics.json` holds.
    """
    lines = [
        *_head(dataset, space, results),
        *_facts(dataset, space, config, results),
        *_test_scores(results),
        *(part for sentence in still_rises(results) for part in (f"**Note:** {escaped(sentence)}.", "")),
        *_hyper_parameters(config),
        *_LIMITS,
    ]
    return "\n".join(lines)


def _head(dataset: Dataset, space: Space, results: Results) -> list[str]:
    kind = METHODS.get(space.method)
    label = f" ({results.label})" if results.label is not None else ""
    return [
        f"# {space.method} on {escaped(dataset.name)}{label}",
        "",
        f"{kind.summary}. Source: {kind.source}." if kind else "Trained by a training function of its user's.",
        *(["", _PUBLISHED.format(epochs=results.epochs)] if label else []),
        *(line for problem in results.problems or () for line in ("", f"**Problem: {escaped(problem)}.**")),
        "",
    ]


def _facts(dataset: Dataset, space: Space, config: Mapping[str, Value], results: Results) -> list[str]:
    left = "weights" if space.method in METHODS else "test embeddings"
    kind = METHODS.get(space.method)
    width = None if kind is None else kind.width(space.complete(config), dataset.num_classes)
    return [
        "| | |",
        "|---|---|",
        f"| dataset | {escaped(dataset.name)}, {len(dataset.train)} training and {len(dataset.test)} test clips, "
        f"{dataset.num_classes} classes |",
        f"| dataset digest | `{dataset.digest}` |",
        f"| inputs | {escaped(dataset.dims_text)}; scaled inside the model |",
        f"| output | two {'?' if width is None else width}-d embeddings, compared by cosine |",
        f"| trained for | {results.epochs} epochs on the whole training set, {results.precision} |",
        f"| configuration chosen by | {_chosen_by(space, results)} |",
        f"| the {left} in this folder | seed {_which(results.seeds)} |",
        f"| scored on the test split so far | {results.times_test_was_scored} configuration(s) of this study |",
        f"| made by | avtune {__version__} |",
        "",
    ]


def _which(seeds: Sequence[int]) -> str:
    return f"{seeds[0]}, the first of {len(seeds)}, not the best one" if len(seeds) > 1 else f"{seeds[0]}, the only one"


def _over_seeds(count: int) -> str:
    if count == 1:
        return "One seed: no interval over seeds."
    return f"Mean over {count} seeds with the 95 % interval (Student t over the seeds)."


def _chosen_by(space: Space, results: Results) -> str:
    if not results.searched:
        return f"hand: trial {results.trial} of a search, whoever ran this said so"
    return (
        f"{escaped(label(space.search.objective, 'validation'))} of {space.search.trials} configurations, "
        f"then of the {space.final.finalists} best over {plural(len(results.seeds), 'fresh seed')}"
        + (f" ({results.race.words})" if results.race is not None else "")
        + f"; validation rows: {space.validation_rows}"
    )


def _test_scores(results: Results) -> list[str]:
    bootstrap = results.test.map.bootstrap
    assert bootstrap is not None
    return [
        f"## Test scores, {results.label}" if results.label is not None else "## Test scores",
        "",
        f"{_over_seeds(len(results.seeds))} MAP over all ranks, cosine, gallery = all test clips of the other view. "
        "`map_running` averages AP@k over every cut-off k; it usually reads higher and is given to compare with papers "
        "that use it.",
        "",
        markdown_header(results),
        *(f"| {name} | {' | '.join(map(score_text, row.shown))} |" for name, row in score_rows(results)),
        "",
        f"Over the queries (bootstrap, clips drawn with replacement) the 95 % interval of `map` is "
        f"{bootstrap[0]:.4f} to {bootstrap[1]:.4f}.",
        *(["", f"{ties_text(results.tied_queries)}."] if results.tied_queries is not None else []),
        "",
    ]


def _hyper_parameters(config: Mapping[str, Value]) -> list[str]:
    return [
        "## Hyper-parameters",
        "",
        "| name | value |",
        "|---|---|",
        *(f"| {name} | {escaped(str(value))} |" for name, value in config.items()),
        "",
    ]
