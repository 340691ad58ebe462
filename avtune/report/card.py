"""The model card: what a reader must know before using or citing the model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from avtune import __version__
from avtune.core.hyper import Value
from avtune.methods import METHODS
from avtune.report.text import escaped, score_rows, score_text, still_rises, ties_text

if TYPE_CHECKING:
    from avtune.data.dataset import Dataset
    from avtune.space.space import Space

_PUBLISHED = (
    "**Selected on test.** Each of these models was scored on the test split after every one of its {epochs} epochs "
    "and kept its best one, as the public training scripts of the field do. Compare these scores with tables made so, "
    "and with nothing else; without `--protocol published` the test split selects nothing."
)


def model_card(dataset: Dataset, space: Space, config: Mapping[str, Value], metrics: Mapping[str, Any]) -> str:
    """Markdown for `final/MODEL_CARD.md`.

    Args:
        config: the hyper-parameters, complete.
        metrics: what `final/metrics.json` holds.
    """
    kind = METHODS.get(space.method)
    published = "label" in metrics
    seeds = len(metrics["seeds"])
    chosen = (
        f"validation MAP of {space.search.trials} configurations, "
        f"then of the {space.final.finalists} best over {seeds} fresh seeds"
        if metrics["selected_on"] in ("validation", "test")
        else f"hand: trial {metrics['trial']} of a search, whoever ran this said so"
    )
    what = f"{kind.summary}. Source: {kind.source}." if kind else "Trained by a training function of its user's."
    left = "weights" if kind else "test embeddings"
    lines = [
        f"# {space.method} on {escaped(dataset.name)}" + (f" ({metrics['label']})" if published else ""),
        "",
        what,
        *(["", _PUBLISHED.format(**metrics)] if published else []),
        *(line for problem in metrics.get("problems", []) for line in ("", f"**Problem: {escaped(problem)}.**")),
        "",
        "| | |",
        "|---|---|",
        f"| dataset | {escaped(dataset.name)}, {len(dataset.train)} training and {len(dataset.test)} test clips, "
        f"{dataset.num_classes} classes |",
        f"| dataset digest | `{dataset.digest}` |",
        f"| inputs | audio {dataset.audio_dim}-d, visual {dataset.visual_dim}-d; scaled inside the model |",
        f"| output | two {config.get('embedding_dim', '?')}-d embeddings, compared by cosine |",
        f"| trained for | {metrics['epochs']} epochs on the whole training set, {metrics['precision']} |",
        f"| configuration chosen by | {chosen} |",
        f"| the {left} in this folder | seed {metrics['seeds'][0]}, the first of {seeds}, not the best one |",
        f"| scored on the test split so far | {metrics['times_test_was_scored']} configuration(s) of this study |",
        f"| made by | avtune {__version__} |",
        "",
        f"## Test scores, {metrics['label']}" if published else "## Test scores",
        "",
        f"Mean over {seeds} seeds with the 95 % interval (Student t over the seeds). MAP over all ranks, cosine, "
        "gallery = all test clips of the other modality. `map_running` averages AP@k over every cut-off k; it always "
        "reads higher and is given to compare with papers that use it.",
        "",
        "| | map | A to V | V to A | map_running |",
        "|---|---|---|---|---|",
        *(
            f"| {name} | "
            + " | ".join(score_text(row[key]) for key in ("map", "map_a2v", "map_v2a", "map_running"))
            + " |"
            for name, row in score_rows(metrics)
        ),
        "",
        f"Over the queries (bootstrap, clips drawn with replacement) the 95 % interval of `map` is "
        f"{metrics['test']['map']['bootstrap95'][0]:.4f} to {metrics['test']['map']['bootstrap95'][1]:.4f}.",
        *(["", f"{ties_text(metrics['tied_queries'])}."] if "tied_queries" in metrics else []),
        "",
        *(part for sentence in still_rises(metrics) for part in (f"**Note:** {escaped(sentence)}.", "")),
        "## Hyper-parameters",
        "",
        "| name | value |",
        "|---|---|",
        *(f"| {name} | {escaped(str(value))} |" for name, value in config.items()),
        "",
        "## Limits",
        "",
        "The embeddings rank clips of the classes above; nothing is known of other classes, other feature extractors "
        "or other collections. The features describe whole clips, so the model knows nothing of when a sound is heard.",
        "",
    ]
    return "\n".join(lines)
