"""Configurations that a user names: what files may hold them, and what is said of one that is not in the space."""

import pytest

from avtune.core.errors import UserError
from avtune.core.hyper import Hyper
from avtune.space.configuration import configurations_of_file, configurations_of_text, point_in
from avtune.space.parse import parse

HYPERS = {
    "margin": Hyper("margin", "float", 0.2, 0.0, 2.0),
    "part": Hyper("part", "float", 0.5, 0.0, 1.0),
    "size": Hyper("size", "int", 64, 1, 4096),
    "mining": Hyper("mining", "choice", "all", values=("all", "hard")),
    "flag": Hyper("flag", "bool", default=False),
    "hidden": Hyper("hidden", "int", 8, 1, 4096),
}
SPACE = parse(
    """
    method: psd
    space:
      margin: {type: float, low: 0.3, high: 1.0}
      part: {type: float, low: 0.0, high: 1.0, step: 0.1}
      size: {type: choice, values: [64, 256]}
      mining: {type: choice, values: [all, hard]}
      flag: {type: choice, values: [true, false]}
      hidden: 16
    """,
    file="space.yaml",
    hypers_of=lambda name: HYPERS,
    method_names=["psd"],
)


def points(text):
    return [point_in(SPACE, one) for one in configurations_of_text(text, "f.yaml")]


def test_the_files_that_hold_a_configuration():
    best = "trial: 3\nval_map: 0.5\nconfig: {margin: 0.5, hidden: 16}\nfinalists: []"
    model = "format: 1\nmethod: psd\nconfig: {margin: 0.5}\naudio_dim: 10"
    expected = {"margin": 0.5, "part": 0.5, "size": 64, "mining": "all", "flag": False}
    assert points(best) == points(model) == points("margin: 0.5") == [expected]
    assert points("[{margin: 0.5}, {margin: 1, size: 256}]") == [expected, {**expected, "margin": 1.0, "size": 256}]
    assert configurations_of_text(model, "f.yaml")[0].method == "psd"


def test_a_value_is_the_one_that_a_sampler_would_write():
    point = points("{margin: 1, part: 0.30000000000000004, size: 256.0, flag: true}")[0]
    assert (repr(point["margin"]), repr(point["size"]), point["flag"]) == ("1.0", "256", True)
    assert point["part"] == min(0.0 + 3 * 0.1, 1.0)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("margn: 0.5", "f.yaml:1: method psd has no hyper-parameter 'margn'; did you mean 'margin'?"),
        ("margin: 0.2", "f.yaml:1: margin is 0.2; searched: 0.3 to 1; the nearest value is 0.3"),
        (
            "margin: 0.5\npart: 0.13",
            "f.yaml:2: part is 0.13; searched: 0 to 1 in steps of 0.1; the nearest value is 0.1",
        ),
        ("{margin: 0.5, size: 100}", "f.yaml:1: size is 100; searched: 256 or 64; the nearest value is 64"),
        ("{margin: 0.5, mining: soft}", "f.yaml:1: mining is 'soft'; searched: all or hard"),
        ("{margin: 0.5, size: true}", "f.yaml:1: size is True; searched: 256 or 64"),
        ("{margin: true}", "f.yaml:1: margin is True; searched: 0.3 to 1"),
        ("{margin: 0.5, flag: 1}", "f.yaml:1: flag is 1; searched: false or true"),
        ("{margin: null}", "f.yaml:1: margin is empty; searched: 0.3 to 1"),
        ("size: 64", "f.yaml: it has no margin, and the method's default 0.2 lies outside what is searched (0.3 to 1)"),
        ("hidden: 8", "f.yaml:1: hidden is 8, and the space has it fixed at 16; take it out, or add"),
        ("margin: {type: float}", "f.yaml:1: this is no value but a mapping; a configuration has one value for each"),
        ("[]", "f.yaml: an empty list; give a study's best.yaml, a mapping"),
        ("[1]", "f.yaml:1: 1 is no configuration; give a study's best.yaml"),
        ("", "f.yaml:1: empty is no configuration"),
    ],
)
def test_what_is_wrong_is_said_with_its_line_and_what_is_near(text, message):
    with pytest.raises(UserError) as error:
        points(text)
    assert str(error.value).startswith(message)


def test_a_folder_stands_for_its_best_yaml(tmp_path):
    (tmp_path / "best.yaml").write_text("config: {margin: 0.5}")
    found = configurations_of_file(tmp_path)
    assert [one.where for one in found] == [str(tmp_path / "best.yaml")]
    with pytest.raises(UserError, match=r"cannot be read: No such file or directory; give a study's best"):
        configurations_of_file(tmp_path / "none.yaml")
    with pytest.raises(UserError, match="cannot be read: no legal name"):
        configurations_of_file(tmp_path / "a\0b")
