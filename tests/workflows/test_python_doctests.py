"""The examples in the docstrings of what is used most run as they stand."""

import doctest
import importlib

import pytest
import yaml
from toy import SPACE, toy_dataset

import avtune.api
import avtune.api_across
import avtune.api_bench
import avtune.api_compare
import avtune.api_models
import avtune.core.errors
import avtune.core.hyper
import avtune.core.names
import avtune.data.dataset
import avtune.metrics.across
import avtune.metrics.hits
import avtune.metrics.precision_recall
import avtune.metrics.significance
import avtune.workflows.python_errors
import avtune.workflows.study_view
import avtune.workflows.time_budget

MODULES = {
    avtune.api: ["load_dataset", "load_study", "search"],
    avtune.api_models: ["compare_models", "evaluate", "load_model"],
    avtune.api_bench: ["bench"],
    avtune.api_compare: ["compare"],
    avtune.api_across: ["across"],
    avtune.core.errors: ["choices", "did_you_mean", "shown"],
    avtune.core.hyper: ["Hyper"],
    avtune.core.names: ["legal_name"],
    avtune.data.dataset: ["Dataset.from_arrays"],
    importlib.import_module("avtune.metrics.average_precision"): ["retrieval_scores"],
    importlib.import_module("avtune.metrics.hits"): ["hits"],
    avtune.metrics.across: ["critical_difference", "probability_of_improvement", "ranks"],
    avtune.metrics.precision_recall: ["precision_recall"],
    avtune.metrics.significance: ["bootstrap_interval", "mean_interval"],
    avtune.workflows.python_errors: ["in_python"],
    avtune.workflows.time_budget: ["seconds_of"],
    avtune.workflows.study_view: ["StudyView"],
}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A folder with the finished study `results/first`."""
    folder = tmp_path_factory.mktemp("doctests")
    options = {
        "set": {"final.seeds": 1, "final.reference": "none"},
        "results": folder / "results",
        "name": "first",
        "quiet": True,
    }
    avtune.api.search(toy_dataset(), space=yaml.safe_load(SPACE), trials=2, runner="inline", gpus=0, **options)
    return folder


@pytest.mark.parametrize(("module", "names"), MODULES.items(), ids=lambda one: getattr(one, "__name__", ""))
def test_examples_run(module, names, finished, monkeypatch):
    monkeypatch.chdir(finished)
    found = {test.name.removeprefix(f"{module.__name__}."): test for test in doctest.DocTestFinder().find(module)}
    with_examples = [name for name, test in found.items() if test.examples]
    assert set(names) <= set(with_examples)
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    for name in with_examples:
        said: list[str] = []
        runner.run(found[name], out=said.append)
        assert not said, "".join(said)
