"""Ranges around a configuration: how wide, and where they end."""

import pytest

from avtune.core.errors import UserError
from avtune.core.hyper import Hyper
from avtune.space.around import around
from avtune.space.configuration import configurations_of_text
from avtune.space.parse import parse

HYPERS = {
    "margin": Hyper("margin", "float", 0.2, 0.0, 2.0),
    "lr": Hyper("lr", "float", 0.001, 1e-6, 1.0),
    "part": Hyper("part", "float", 0.5, 0.0, 1.0),
    "units": Hyper("units", "int", 64, 1, 4096),
    "layers": Hyper("layers", "int", 2, 1, 8),
    "mining": Hyper("mining", "choice", "all", values=("all", "hard")),
    "size": Hyper("size", "int", 256, 1, 4096),
}
SPACE = """
method: psd
space:
  margin: {type: float, low: 0.2, high: 1.0}
  lr: {type: float, low: 1e-4, high: 1e-2, log: true}
  part: {type: float, low: 0.0, high: 1.0, step: 0.1}
  units: {type: int, low: 16, high: 1024, log: true}
  layers: {type: int, low: 1, high: 4}
  mining: {type: choice, values: [all, hard]}
  size: 256
search: {trials: 7}
"""


def made(text, width=0.25, hypers=HYPERS):
    space = parse(SPACE, file="s.yaml", hypers_of=lambda name: hypers, method_names=["psd"])
    found = around(space, configurations_of_text(text, "f.yaml")[0], hypers, width)
    # It is a legal space: its own text makes it again.
    assert parse(found.to_yaml(), file="again", hypers_of=lambda name: hypers, method_names=["psd"]) == found
    return found


def ranges(space):
    return {axis.name: (axis.low, axis.high) for axis in space.axes if axis.kind != "choice"}


def test_a_range_is_so_much_of_the_old_one_wide_with_the_value_as_its_centre():
    space = made("{margin: 0.6, lr: 0.001, part: 0.5, units: 128, layers: 2, mining: hard, size: 512}")
    found = ranges(space)
    assert found["margin"] == (0.5, 0.7)
    assert found["lr"] == (pytest.approx(0.001 / 100**0.125, rel=1e-3), pytest.approx(0.001 * 100**0.125, rel=1e-3))
    assert found["part"] == (0.4, 0.6)
    assert found["units"] == (76, 216)
    assert found["layers"] == (1, 3), "at least one to each side"
    assert space.axes[-1].values == ("all", "hard")
    assert space.fixed == {"size": 512}
    assert space.search.trials == 7


def test_it_leaves_the_old_range_and_not_what_the_method_takes():
    found = ranges(made("{margin: 1.5, lr: 1.0, part: 1.0, layers: 8, units: 1}", width=0.5))
    assert found["margin"] == (1.3, 1.7)
    assert found["lr"][1] == 1.0
    assert found["part"] == (0.7, 1.0) or found["part"] == (0.8, 1.0)
    assert found["layers"] == (7, 8)
    assert found["units"] == (1, 3)


@pytest.mark.parametrize(
    ("text", "width", "message"),
    [
        ("margn: 1", 0.25, "f.yaml:1: method psd has no hyper-parameter 'margn'; did you mean 'margin'?"),
        ("margin: 3", 0.25, "f.yaml:1: margin is 3; allowed: a number from 0 to 2"),
        ("mining: soft", 0.25, "f.yaml:1: mining is 'soft'; allowed: one of all or hard"),
        ("margin: 1", 0, "--width is 0; allowed: a share of each range, above 0 and at most 1"),
        ("margin: 1", 1.5, "--width is 1.5; allowed: a share"),
    ],
)
def test_what_is_wrong_is_said(text, width, message):
    with pytest.raises(UserError) as error:
        made(text, width)
    assert str(error.value).startswith(message)


def test_a_logarithmic_range_has_no_centre_at_zero():
    with pytest.raises(UserError, match=r"f.yaml:1: lr is 0.0, and its range is logarithmic; allowed: above 0"):
        made("lr: 0", hypers={**HYPERS, "lr": Hyper("lr", "float", 0.001, 0.0, 1.0)})


def test_the_ranges_of_a_training_function_are_not_left():
    space = parse(
        "method: mine\nspace: {x: {type: float, low: 0, high: 1}}\nearly_stopping: {epochs: 3}",
        file="s.yaml",
        hypers_of=lambda name: None,
        method_names=["mine"],
    )
    given = configurations_of_text("x: 0.95", "f.yaml")[0]
    assert ranges(around(space, given, None, 0.2)) == {"x": (0.85, 1.0)}
    with pytest.raises(UserError, match=r"x is 1.5; searched: 0 to 1; the nearest value is 1.0"):
        around(space, configurations_of_text("x: 1.5", "f.yaml")[0], None, 0.2)
