"""avtune: hyper-parameter search for audio-visual metric learning.

>>> import avtune
>>> data = avtune.load_dataset("features.h5")  # doctest: +SKIP
>>> study = avtune.search(data, trials=64)  # doctest: +SKIP
>>> model = avtune.load_model(study)  # doctest: +SKIP

Names are imported when they are first used: `import avtune` alone takes neither torch nor Ray, NumPy nor pandas.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

__version__ = "0.1.0"

if TYPE_CHECKING:  # what editors and type checkers see
    from avtune.api import load_dataset, load_study, retrain, search
    from avtune.api_across import across
    from avtune.api_bench import bench, load_bench
    from avtune.api_compare import compare
    from avtune.api_finish import finish
    from avtune.api_models import compare_models, evaluate, load_model
    from avtune.core.errors import UserError
    from avtune.data.dataset import Dataset
    from avtune.engine.model import Model
    from avtune.workflows.bench.across_view import BenchComparison
    from avtune.workflows.bench.view import BenchView
    from avtune.workflows.compare_models import ModelComparison
    from avtune.workflows.compare_view import StudyComparison
    from avtune.workflows.evaluate import Evaluation
    from avtune.workflows.retrain import Retrained
    from avtune.workflows.study_view import StudyView
else:
    _PLACES = {
        **dict.fromkeys(("load_dataset", "load_study", "retrain", "search"), "avtune.api"),
        **dict.fromkeys(("compare_models", "evaluate", "load_model"), "avtune.api_models"),
        **dict.fromkeys(("bench", "load_bench"), "avtune.api_bench"),
        "across": "avtune.api_across",
        "compare": "avtune.api_compare",
        "finish": "avtune.api_finish",
        "BenchComparison": "avtune.workflows.bench.across_view",
        "BenchView": "avtune.workflows.bench.view",
        "Dataset": "avtune.data.dataset",
        "Evaluation": "avtune.workflows.evaluate",
        "Model": "avtune.engine.model",
        "ModelComparison": "avtune.workflows.compare_models",
        "Retrained": "avtune.workflows.retrain",
        "StudyComparison": "avtune.workflows.compare_view",
        "StudyView": "avtune.workflows.study_view",
        "UserError": "avtune.core.errors",
    }

    def __getattr__(name):
        if name not in _PLACES:
            raise AttributeError(f"module 'avtune' has no attribute {name!r}")
        found = getattr(importlib.import_module(_PLACES[name]), name)
        globals()[name] = found
        return found

    def __dir__():
        return sorted({*globals(), *__all__})


__all__ = [
    "BenchComparison",
    "BenchView",
    "Dataset",
    "Evaluation",
    "Model",
    "ModelComparison",
    "Retrained",
    "StudyComparison",
    "StudyView",
    "UserError",
    "__version__",
    "across",
    "bench",
    "compare",
    "compare_models",
    "evaluate",
    "finish",
    "load_bench",
    "load_dataset",
    "load_model",
    "load_study",
    "retrain",
    "search",
]
