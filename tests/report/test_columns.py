"""Rows of the HParams tab."""

from __future__ import annotations

import math

import pytest

from avtune import methods
from avtune.report.columns import column_name, experiment, logs_of, merged, row
from avtune.space.files import load, names

SPACES = [name for name in names() if name in methods.METHODS]


@pytest.mark.parametrize("method", SPACES)
def test_the_default_configuration_of_every_method_has_a_row(method: str) -> None:
    """Finalists are shown too, and the default among them may lie outside what is searched: eics has a weight of 0."""
    space = load(method, hypers_of=methods.hypers_of, method_names=methods.METHODS)
    values = row(space.defaults(), logs_of(space))
    assert all(math.isfinite(value) for value in values.values() if isinstance(value, float))


def test_a_column_of_different_scores_has_the_names_of_all() -> None:
    space = load(SPACES[0], hypers_of=methods.hypers_of, method_names=methods.METHODS)
    names = ("best val MAP", "best val ndcg", "best val MAP")
    studies = [experiment(space, {"best": name, "epochs": "epochs"}) for name in names]
    found = merged(studies, {"study": ["a", "b", "c"]})
    assert [one.display_name for one in found.metric_infos] == ["best val MAP or best val ndcg", "epochs"]
    assert [one.name.tag for one in found.metric_infos] == ["best", "epochs"]
    assert merged(studies[:1], {"study": ["a"]}).metric_infos[0].display_name == "best val MAP"


def test_a_logarithm_is_shown_where_there_is_one() -> None:
    assert row({"lr": 0.01, "w_a": 0.0}, {"lr", "w_a", "w_b"}) == {
        "lr": 0.01,
        column_name("w_a"): 0.0,
        column_name("log10_lr"): -2.0,
    }
