"""A folder for the Hugging Face Hub: the model's files, and the model card with the metadata that the Hub reads.

The metadata's fields: https://github.com/huggingface/hub-docs/blob/main/modelcard.md
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from avtune.core.errors import UserError
from avtune.core.files import to_yaml, using
from avtune.core.names import legal_name
from avtune.engine.model import CONFIG, WEIGHTS, Model
from avtune.study.results import Results, load_results
from avtune.workflows.exported import Exported
from avtune.workflows.verify_model import check_model

_FILES = (WEIGHTS, CONFIG, "metrics.json", "query_ap.npz", "by_class.json")
_TASK = "cross-modal-retrieval"
_NAMES = {
    "map": "MAP",
    "map_a2v": "MAP, {first} to {second}",
    "map_v2a": "MAP, {second} to {first}",
    "map_running": "MAP averaged over every cut-off (map_running)",
}
_USE = """
## Use

```python
import avtune

model = avtune.load_model("FOLDER")  # of these files{method}
z = model.embed({first}=features)  # float32 [N, {width}]; unscaled features [N, {dims[0]}], or {second}= [N, {dims[1]}]
```

Embeddings are compared by cosine. `avtune verify FOLDER DATASET` scores the weights again and compares the result with
`metrics.json`.
"""


def write_hub(model: Model, place: Path, out: Path) -> Exported:
    """Writes `README.md` and copies the files of the model; `avtune.load_model` reads the folder.

    Args:
        place: the folder of a scored model, as `search` and `retrain` leave it, or its study.
        out: an empty folder.

    Raises:
        UserError: the model has no scores, or its files are not those that were scored.
    """
    place = place if (place / CONFIG).is_file() else place / "final"
    card = place / "MODEL_CARD.md"
    if not (place / "metrics.json").is_file() or not card.is_file():
        raise UserError(
            f"{place} has no scores (metrics.json) or no MODEL_CARD.md, which the Hub's page shows\n"
            "a model of checkpoints/ gets both from: avtune retrain STUDY --trial N --out FOLDER"
        )
    for check in check_model(place, None):
        if not check.ok:
            raise UserError(f"{place}: {check.file} is not as it was written ({check.problem})")
    results = load_results(place / "metrics.json")
    with using(card, "read"):
        text = card.read_text(encoding="utf-8")
    with using(out):
        for name in _FILES:
            if (place / name).is_file():
                shutil.copyfile(place / name, out / name)
        readme = f"---\n{to_yaml(metadata(results))}---\n\n{text.rstrip()}\n{_use(model)}"
        (out / "README.md").write_text(readme, encoding="utf-8")
    return Exported(
        (
            "README.md: the model card, with the scores of metrics.json as model-index",
            f"{WEIGHTS}, {CONFIG}: the model",
        ),
        (
            "before you publish, add `license:` to the head of README.md, and put the Hub's name of your dataset into "
            f"`datasets:` if it is not {legal_name(results.dataset.name)}",
        ),
    )


def _use(model: Model) -> str:
    code = f"; needs method={model.method!r}" if ":" in model.method else ""
    width = type(model.trained.method).width(model.config, model.trained.method.num_classes)
    return _USE.format(
        method=code,
        width="D" if width is None else width,
        first=model.views[0],
        second=model.views[1],
        dims=[*model.dims.values()],
    )


def metadata(results: Results) -> dict[str, Any]:
    """What stands at the head of the Hub's model card."""
    dataset = legal_name(results.dataset.name)
    return {
        "library_name": "avtune",
        "pipeline_tag": "feature-extraction",
        "tags": [
            "cross-modal-retrieval",
            "-".join(results.dataset.views),
            "metric-learning",
            legal_name(results.method),
        ],
        "datasets": [dataset],
        "metrics": ["map"],
        "model-index": [
            {
                "name": legal_name(f"{results.method}-{results.dataset.name}"),
                "results": [
                    {
                        "task": {"type": _TASK, "name": f"{'-'.join(results.dataset.views).capitalize()} retrieval"},
                        "dataset": {"name": results.dataset.name, "type": dataset, "split": "test"},
                        "metrics": _metrics(results),
                    }
                ],
            }
        ],
    }


def _metrics(results: Results) -> list[dict[str, Any]]:
    """Means over the seeds, and the MAP of the weights in the folder, which are those of the first seed."""
    label = f", {results.label}" if results.label is not None else ""
    seeds = len(results.seeds)
    first, second = results.dataset.views
    over = f"mean of {seeds} seeds" if seeds > 1 else "one seed"
    rows = [
        {
            "type": kind,
            "name": f"{name.format(first=first, second=second)} ({over}{label})",
            "value": results.test[kind].mean,
        }
        for kind, name in _NAMES.items()
    ]
    if seeds == 1:
        return rows
    own = f"MAP of these weights (seed {results.seeds[0]}{label})"
    return [*rows, {"type": "map", "name": own, "value": results.test.map.seeds[0]}]
