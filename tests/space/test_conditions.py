"""Conditions and constraints of space files: what they mean, and the words of their errors."""

import random

import pytest
import yaml

from avtune.core.errors import UserError
from avtune.core.hyper import Hyper
from avtune.space.around import around, point_space
from avtune.space.configuration import configurations_of_text, point_in
from avtune.space.drawing import legal_point
from avtune.space.parse import parse
from avtune.space.recorded import recorded_space

HYPERS = {
    one.name: one
    for one in (
        Hyper("margin", "float", 0.2, 0.0, 2.0),
        Hyper("w_cross", "float", 3.0, 0.0, 100.0),
        Hyper("w_dis", "float", 0.1, 0.0, 100.0),
        Hyper("tau", "float", 0.1, 0.001, 10.0),
        Hyper("mining", "choice", "all", values=("all", "hard", "semihard"), static=True),
        Hyper("swap", "bool", False, static=True),
        Hyper("batch_size", "int", 256, 8, 4096, static=True),
    )
}
AXES = {
    "margin": "{type: float, low: 0.1, high: 1.0, when: {mining: [hard, semihard]}}",
    "w_cross": "{type: float, low: 0.1, high: 10.0, log: true}",
    "w_dis": "{type: float, low: 0.1, high: 10.0, log: true}",
    "tau": "{type: float, low: 0.01, high: 1.0, when: {mining: hard, swap: true}}",
    "mining": "{type: choice, values: [all, hard, semihard]}",
    "swap": "{type: choice, values: [true, false]}",
}


def made(constraints="[w_dis < w_cross]", *sets, hypers=HYPERS, **axes):
    text = "method: psd\nspace:\n" + "".join(f"  {name}: {axis}\n" for name, axis in {**AXES, **axes}.items() if axis)
    text += f"constraints: {constraints}\n" if constraints else ""
    return parse(text, file="f.yaml", hypers_of=lambda name: hypers, method_names=["psd"], overrides=sets)


def point(space, text):
    return point_in(space, configurations_of_text(text, "c.yaml")[0])


def test_a_condition_decides_what_a_configuration_holds():
    space = made()
    values = {"margin": 0.5, "w_cross": 2.0, "w_dis": 1.0, "tau": 0.5, "mining": "hard", "swap": True}
    assert list(space.active_part(values)) == list(values)  # in the order of the method
    assert list(space.active_part({**values, "swap": False})) == ["margin", "w_cross", "w_dis", "mining", "swap"]
    assert list(space.active_part({**values, "mining": "all"})) == ["w_cross", "w_dis", "mining", "swap"]
    assert space.defaults() == {"w_cross": 3.0, "w_dis": 0.1, "mining": "all", "swap": False, "batch_size": 256}
    assert space.complete(space.defaults())["tau"] == 0.1


def test_a_space_is_written_and_read_again_with_or_without_its_method(tmp_path):
    space = made("[w_dis < w_cross, 2 * margin + w_dis / 4 <= 3]")
    written = yaml.safe_load(space.to_yaml())
    assert written["space"]["margin"]["when"] == {"mining": ["hard", "semihard"]}
    assert written["space"]["tau"]["when"] == {"mining": "hard", "swap": True}
    again = parse(space.to_yaml(), file="g.yaml", hypers_of=lambda name: HYPERS, method_names=["psd"])
    assert again == space
    assert recorded_space(written, tmp_path).as_dict() == space.as_dict()
    assert space.difference(made("[w_dis < 2 * w_cross, 2 * margin + w_dis / 4 <= 3]")) == [
        "constraints: [w_dis < w_cross, 2 * margin + w_dis / 4 <= 3] -> "
        "[w_dis < 2 * w_cross, 2 * margin + w_dis / 4 <= 3]"
    ]
    assert space.difference(made(None)) == ["constraints: [w_dis < w_cross, 2 * margin + w_dis / 4 <= 3] -> null"]
    (line,) = made().difference(made(tau="{type: float, low: 0.01, high: 1.0}"))
    assert line.startswith("space.tau: {type: float")
    assert "when: {mining: hard, swap: true}} -> {" in line


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("w_dis < w_cross", True),
        ("w_cross <= 2 * w_dis", True),
        ("w_cross < 2 * w_dis", False),
        ("1 <= w_dis < w_cross - 0.5", True),
        ("-w_dis + w_cross / 2 >= 0.1", False),
        ("w_cross / (w_dis - 1) > 0", False),  # divides by zero
        ("tau > 5", True),  # has no value there
    ],
)
def test_what_a_constraint_asks(text, holds):
    (one,) = made(f"['{text}']", w_dis="{type: float, low: 0.1, high: 90.0}").constraints
    assert one.holds({"w_dis": 1.0, "w_cross": 2.0}) == holds


def test_points_drawn_at_random_fulfil_both():
    space, draw = made(), random.Random(0)
    points = [legal_point(space, draw) for _ in range(200)]
    assert all(one["w_dis"] < one["w_cross"] for one in points)
    assert {"tau" in one for one in points} == {True, False}
    assert all(("tau" in one) == (one["mining"] == "hard" and one["swap"]) for one in points)
    assert all(("margin" in one) == (one["mining"] != "all") for one in points)


def test_the_method_s_default_is_tried_only_where_it_fulfils_them():
    assert made().default_point() == {"w_cross": 3.0, "w_dis": 0.1, "mining": "all", "swap": False}
    space = made("[w_dis > w_cross]")
    assert space.default_point() is None
    assert "the method's default configuration does not fulfil w_dis > w_cross" in space.notes()


def test_a_configuration_that_a_user_names_is_checked():
    space = made()
    assert point(space, "mining: hard\nw_cross: 4") == {
        "margin": 0.2,
        "w_cross": 4.0,
        "w_dis": 0.1,
        "mining": "hard",
        "swap": False,
    }
    assert "tau" not in point(space, "mining: hard\ntau: 0.1")  # the default, which it has in any case
    for text, message in (
        (
            "tau: 0.5\nmining: hard",
            "c.yaml:1: tau is 0.5, and it is searched only where mining is hard and swap is true",
        ),
        ("w_dis: 5", "c.yaml: it does not fulfil the constraint w_dis < w_cross: w_cross is 3.0, w_dis is 5.0"),
    ):
        with pytest.raises(UserError, match=r"c\.yaml") as caught:
            point(space, text)
        assert message in str(caught.value)


def test_ranges_around_a_configuration_leave_what_it_does_not_have():
    (centre,) = configurations_of_text("mining: semihard\nmargin: 0.5\nw_cross: 4", "c.yaml")
    space = around(made(), centre, HYPERS, 0.25)
    axes = {axis.name: axis for axis in space.axes}
    assert axes["margin"].range_text == "0.3875 to 0.6125"
    assert axes["tau"].range_text == "0.01 to 1"
    assert axes["tau"].when == made().axes[3].when
    one = parse(
        yaml.safe_dump(point_space(made(), centre, HYPERS)), file="p", hypers_of=lambda n: HYPERS, method_names=["psd"]
    )
    assert not one.axes
    assert not one.constraints


def test_a_training_function_has_them_too():
    text = """
    method: f
    space: {depth: {type: int, low: 1, high: 3, when: {kind: b}}, kind: {type: choice, values: [a, b]}, rate: 0.5}
    constraints: [depth * rate < 1.2]
    """
    space = parse(text, file="f.yaml", hypers_of=lambda name: None, method_names=["f"])
    draw = random.Random(0)
    points = [legal_point(space, draw) for _ in range(50)]
    assert {one.get("depth") for one in points} == {None, 1, 2}


@pytest.mark.parametrize(
    ("axis", "message"),
    [
        (
            "when: {minin: hard}",
            "names 'minin', which is not searched; a condition names a choice: mining or swap; did",
        ),
        ("when: {mining: hrd}", "when.mining is 'hrd'; searched: all, hard or semihard; did you mean 'hard'?"),
        ("when: {mining: []}", "when.mining is an empty list; searched: all, hard or semihard"),
        ("when: {w_dis: 1}", "names w_dis, which is searched as a range; a condition names a choice (type: choice)"),
        ("when: {margin: 1}", "names margin, which has a condition itself; a condition names a choice that is always"),
        ("when: {batch_size: 1}", "names batch_size, which is fixed at 256; search batch_size too, or take the"),
        ("when: {}", "when is empty; write for example when: {mining: hard}, or leave it out"),
        ("when: hard", "when is 'hard'; write keys and values, for example when: {mining: hard}"),
        ("whne: {mining: hard}", "unknown key 'whne' in space.tau (type float)"),
    ],
)
def test_errors_of_conditions(axis, message):
    with pytest.raises(UserError) as caught:
        made(tau=f"{{type: float, low: 0.01, high: 1.0, {axis}}}")
    assert str(caught.value).startswith("f.yaml:6: ")
    assert message in str(caught.value)


def test_what_a_condition_names_can_be_fixed_only_together_with_it():
    with pytest.raises(UserError, match=r"f.yaml:3: space\.margin\.when names mining, which is fixed at all"):
        made(None, "space.mining=all")
    sets = ("space.mining=all", "space.margin=0.2", "space.tau=0.1")
    assert [axis.name for axis in made(None, *sets).axes] == ["w_cross", "w_dis", "swap"]
    with pytest.raises(UserError, match=r"space\.batch_size has a condition; it decides how long an epoch is"):
        made(batch_size="{type: choice, values: [32, 64], when: {mining: hard}}")


@pytest.mark.parametrize(
    ("constraints", "message"),
    [
        (
            "w_dis < w_cross",
            "constraints is 'w_dis < w_cross'; give a list, for example constraints: [w_dis < w_cross]",
        ),
        ("[1]", "a constraint is 1; give a comparison"),
        ("[w_dis]", "the constraint 'w_dis' is no comparison; allowed are names and numbers with + - * / ( )"),
        ("[w_dis == 1]", "is no comparison"),
        ("['w_dis < __import__(1)']", "is no comparison"),
        ("[w_dis < w_cross ** 2]", "is no comparison"),
        ("[w_dis <]", "is no comparison"),
        ("[w_diss < 1]", "names 'w_diss', which is unknown; did you mean 'w_dis'?"),
        ("[mining < 1]", "the constraint 'mining < 1' compares mining, which is no number"),
        ("[swap < 1]", "compares swap, which is no number"),
        ("[1 < 2]", "names no hyper-parameter; take it out"),
        ("[batch_size < 100]", "batch_size < 100 does not hold: batch_size is 256; take it out, or search one"),
        ("[w_dis > 20]", "none of 2,000 configurations drawn at random fulfils w_dis > 20; widen the ranges"),
    ],
)
def test_errors_of_constraints(constraints, message):
    with pytest.raises(UserError) as caught:
        made(constraints)
    assert message in str(caught.value)
