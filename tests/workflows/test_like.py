"""`--like STUDY`: the best configurations of earlier studies, far apart, checked against the space and on record."""

import pytest
import yaml
from command import call
from made_studies import HYPERS, made_study, space_of
from test_beginnings import margins, settings, words
from toy import write_toy

import avtune
from avtune.core.errors import UserError
from avtune.space.parse import parse
from avtune.study.spread import distance, spread
from avtune.workflows.like import MOST, Like, like

NARROW = """
method: toy
space:
  x: {type: float, low: 0.0, high: 1.0}
  lr: {type: float, low: 0.001, high: 0.02, log: true}
  kind: {type: choice, values: [a, b, '</script><b>c</b>']}
  fixed: 5
"""


def parsed(text):
    return parse(text, file="s.yaml", hypers_of=lambda name: HYPERS, method_names=["toy", "other"])


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The folder of two studies, and the records of the first."""
    results = tmp_path_factory.mktemp("results")
    first = made_study(results / "first", space_of(30), fails=(4,))
    made_study(results / "second", space_of(12))
    return results, first


def test_the_best_of_a_study_and_what_differs_most_from_it(made):
    results, first = made
    space = space_of(9)
    found = like("first", space, results)
    configs = [{name: record.trial.config[name] for name in ("x", "lr", "kind")} for record in first.ranking()]
    assert found.studies == ["first"]
    assert found.points[0] == configs[0]
    assert len(found.points) == MOST
    assert all(point in configs for point in found.points)
    assert all(point not in found.points for point in [dict(first.records[4].trial.config)]), "it failed"

    def least(points):
        return min(distance(space, one, two) for one in points for two in points if one is not two)

    assert least(found.points) > least(configs[:MOST])


def test_that_a_study_of_a_name_on_record_adds_nothing_is_said():
    before = {"like": {"studies": ["first"], "points": [{"x": 0.1}]}}
    assert Like(["first"], [{"x": 0.1}]).left_out(before) == []
    assert Like(["second"], [{"x": 0.5}]).left_out(before) == []
    assert Like(["first"], [{"x": 0.5}]).left_out({}) == []
    other = Like(["first"], [{"x": 0.5}, {"x": 0.1}])
    assert other.after(before).points == [{"x": 0.1}]
    assert other.left_out(before) == [
        "--like first: nothing is added, since configurations of a study of that name are on record; 1 other would "
        "come from a copy of it under another name"
    ]


def test_of_several_studies_they_take_turns(made):
    results, _ = made
    both = like("first,second", space_of(9), results)
    lone = [like(name, space_of(9), results).points[0] for name in ("first", "second")]
    assert list(both.points[:2]) == lone
    assert len(both.points) == MOST
    assert like([str(results / "first"), "second"], space_of(9), results).points == both.points


def test_what_is_not_searched_is_left_out_and_what_is_fixed_otherwise_is_said(made):
    results, _ = made
    found = like("first", parsed(NARROW), results)
    assert all(0.001 <= point["lr"] <= 0.02 for point in found.points)
    assert found.notes[0] == "--like first: fixed is 3 there and 5 here"
    assert "of its best configurations are left out: first, trial" in found.notes[1]
    assert "lr is" in found.notes[1]


def test_what_cannot_be_learnt_from_is_said(made):
    results, _ = made
    with pytest.raises(UserError, match=r"--like first: it is a study of toy, the search is of other"):
        like("first", parsed(NARROW.replace("toy", "other")), results)
    with pytest.raises(UserError, match=r"no study is called 'frist' in .*; did you mean 'first'\?"):
        like("frist", space_of(9), results)
    with pytest.raises(UserError, match=r"--like is 3; give a study"):
        like(3, space_of(9), results)


def test_points_that_are_far_apart():
    space = parsed("method: toy\nspace: {x: {type: float, low: 0.0, high: 1.0}}")
    points = [{"x": value} for value in (0.5, 0.51, 0.9, 0.0)]
    assert spread(space, points, 3) == [{"x": 0.5}, {"x": 0.0}, {"x": 0.9}]
    assert spread(space, points[:1], 3) == points[:1]


def test_what_is_on_record_stays_and_another_study_adds_to_it():
    known = {"like": {"studies": ["a"], "points": [{"x": 1}]}}
    assert Like(["a"], [{"x": 2}], ["said"]).after(known) == Like(["a"], [{"x": 1}], ())
    assert Like(["b"], [{"x": 1}, {"x": 2}], ["said"]).after(known) == Like(["a", "b"], [{"x": 1}, {"x": 2}], ["said"])
    assert Like().after({}) == Like([], [], ())


def test_a_search_tries_them_after_the_default_and_continues_with_what_is_on_record(tmp_path, capsys):
    write_toy(tmp_path)
    call(capsys, *words(tmp_path, name="zero"))
    text = (tmp_path / "space.yaml").read_text().replace("low: 0.1, high: 1.0", "low: 0.1, high: 2.0")
    (tmp_path / "space.yaml").write_text(text)
    printed = call(capsys, *words(tmp_path, "--like", "zero", "--set", "search.startup_trials=1"))
    assert "3 configurations of --start or --like come after" in printed or "4 configurations" in printed
    best = avtune.load_study("zero", results=tmp_path / "results").trials.nlargest(1, "val_map")["margin"].item()
    before = settings(tmp_path)
    assert before["like"]["studies"] == ["zero"]
    assert margins(tmp_path)[1] in [point["margin"] for point in before["like"]["points"]]
    assert best in [point["margin"] for point in before["like"]["points"]]
    call(capsys, *words(tmp_path, "--like", "zero", "--set", "search.startup_trials=1"))
    assert yaml.safe_dump(settings(tmp_path)) == yaml.safe_dump(before)
    assert "no difference" in call(capsys, "verify", "one", "--results", tmp_path / "results")
