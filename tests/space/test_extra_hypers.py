"""Hyper-parameters that are off unless a space names them (`Hyper.extra`)."""

import pytest
import yaml

from avtune.core.errors import UserError
from avtune.core.hyper import Hyper
from avtune.space.around import around, point_space
from avtune.space.configuration import configurations_of_text, point_in
from avtune.space.free import space_of
from avtune.space.parse import parse

HYPERS = {
    "margin": Hyper("margin", "float", 0.2, 0.0, 2.0),
    "lr_end": Hyper("lr_end", "float", 1.0, 0.0, 1.0, extra=True),
    "depth": Hyper("depth", "int", 2, 1, 8, static=True, extra=True),
}


def made(more="", *sets):
    text = f"method: psd\nspace: {{margin: {{type: float, low: 0.1, high: 1.0}}{more}}}"
    return parse(text, file="f", hypers_of=lambda name: HYPERS, method_names=["psd"], overrides=sets)


def named(text):
    return configurations_of_text(text, "c.yaml")[0]


def test_one_that_is_not_named_or_at_its_default_is_nowhere():
    for space in (made(), made(", depth: 2"), made("", "space.lr_end=1")):
        assert space.as_dict()["space"] == {"margin": {"type": "float", "low": 0.1, "high": 1.0, "log": False}}
        assert space.defaults() == {"margin": 0.2}
        assert space.off == {"lr_end": 1.0, "depth": 2}
    assert made(", depth: 3").fixed == {"depth": 3}
    assert made().difference(made("", "space.depth=3"))


def test_a_space_made_from_hyper_parameters_does_not_search_them():
    assert list(yaml.safe_load(space_of("psd", HYPERS, made()))["space"]) == ["margin"]


def test_a_configuration_may_name_them_as_they_are():
    assert point_in(made(), named("margin: 0.5\ndepth: 2")) == {"margin": 0.5}
    with pytest.raises(UserError, match="depth is 3, and the space has it fixed at 2"):
        point_in(made(), named("margin: 0.5\ndepth: 3"))


def test_spaces_made_of_a_configuration_have_them():
    assert around(made(), named("depth: 3"), HYPERS, 0.25).fixed == {"depth": 3}
    assert around(made(), named("depth: 2"), HYPERS, 0.25).fixed == {}
    assert point_space(made(), named("margin: 0.5\ndepth: 3"), HYPERS)["space"] == {"margin": 0.5, "depth": 3}
