"""The `wide` spaces: what another space searches, and the choices of training."""

import pytest

from avtune.finals.reference import untuned
from avtune.methods import METHODS, hypers_of
from avtune.space.files import load, names

WIDE = [name for name in names() if name.startswith("wide_")]


def shipped(name):
    return load(name, hypers_of=hypers_of, method_names=METHODS)


@pytest.mark.parametrize("name", WIDE)
def test_it_searches_what_the_other_one_does_and_the_choices_of_training(name):
    wide, space = shipped(name), shipped(name.removeprefix("wide_"))
    searched, before = {axis.name for axis in wide.axes}, {axis.name for axis in space.axes}
    assert wide.method == space.method
    assert before < searched
    extra = {hyper.name for hyper in METHODS[wide.method].hypers if hyper.extra}
    assert extra - {"normalisation"} <= searched
    assert {name: value for name, value in wide.fixed.items() if name in space.fixed} == {
        name: value for name, value in space.fixed.items() if name not in searched
    }
    assert (wide.default_point() is None) == (space.default_point() is None)


def test_untuned_it_is_the_other_one_untuned():
    """So a reference row and a method's default are named as before."""
    for name in ("psd", "classifiers"):
        assert untuned(shipped(f"wide_{name}")).fixed == untuned(shipped(name)).fixed


def test_there_is_one_for_every_method_that_is_trained_and_every_data_set():
    trained = {name for name, kind in METHODS.items() if any(hyper.extra for hyper in kind.hypers)}
    assert {name.removeprefix("wide_") for name in WIDE} == {*trained, "ave", "vegas", "demo"}
