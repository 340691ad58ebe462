"""`metrics.json` and `best.yaml` as typed values: what is read and written again is the same."""

import copy
import json
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from toy import toy_results

from avtune.core.errors import UserError
from avtune.study.best import Best, Finalist, read_best, write_best
from avtune.study.folder import StudyFolder
from avtune.study.results import (
    Results,
    StillRises,
    digest_of,
    is_as_written,
    read_results,
    write_results,
    write_times_scored,
)
from avtune.study.scores import Score, Scores, ValidationScore

FIXTURE = StudyFolder(Path(__file__).parents[1] / "fixtures" / "study_v1")
OTHER = toy_results(
    objective="map@r",
    test=replace(toy_results().test, objective=Score(0.3, (0.3,))),
    validation=ValidationScore(0.5, 0.0, (0.5,), is_map=False),
)
FULL = toy_results(
    seeds=2,
    problems=("it leaks",),
    protocol="published",
    tied_queries=0.25,
    label="selected on test",
    best_epochs=(3, 4),
    still_rises=StillRises(0, 4, "avtune search toy"),
    validation=ValidationScore(0.5, 0.0, (0.5, 0.5)),
    default=Scores(**dict(toy_results(0.25).test.items()), epochs=3),
    default_is_winner=False,
    untrained=toy_results(0.1).test,
    retraining_seconds=1.5,
    files={"model.safetensors": "a" * 64},
    sha256="b" * 64,
)
BEST = Best(
    trial=3,
    epoch=2,
    val_map=0.5,
    config={"margin": 0.3, "mining": "all", "batch_size": 16},
    finalists=(
        Finalist(3, 6, 0.5, 0.1, False, (0.4, 0.6)),
        Finalist(None, 0, None, None, True, (), "out of memory"),
    ),
    retrain_epochs=6,
)


@pytest.fixture
def folder(tmp_path):
    made = StudyFolder(tmp_path)
    made.final.mkdir()
    return made


def test_the_files_of_an_old_study_say_the_same_when_written_again():
    facts = json.loads(FIXTURE.metrics.read_text())
    assert json.dumps(Results.from_json(facts, FIXTURE.metrics).to_json()) == json.dumps(facts)
    facts = yaml.safe_load(FIXTURE.best_yaml.read_text())
    assert json.dumps(Best.from_json(facts, FIXTURE.best_yaml).to_json()) == json.dumps(facts)


@pytest.mark.parametrize("results", [FULL, toy_results(), OTHER], ids=["all fields", "needed fields", "objective"])
def test_results_are_read_as_they_were_written(results, folder):
    facts = json.loads(json.dumps(results.to_json()))
    assert Results.from_json(facts, folder.metrics) == results
    write_results(folder, results)
    digest = digest_of(json.loads(folder.metrics.read_text()))
    assert read_results(folder) == replace(results, sha256=digest)


def test_the_winner_is_read_as_it_was_written(folder):
    assert read_best(folder) is None
    write_best(folder, BEST)
    assert read_best(folder) == BEST
    assert [one.called for one in BEST.finalists] == ["3", "default"]
    other = replace(BEST, objective="map@r")
    write_best(folder, other)
    assert read_best(folder) == other
    assert "val_map" not in folder.best_yaml.read_text()


def test_a_validation_score_of_nothing_is_refused(folder):
    facts = FULL.to_json() | {"validation": {}}
    with pytest.raises(UserError, match="validation has neither map nor objective"):
        Results.from_json(facts, folder.metrics)


def paths_in(facts, at=()):
    """The place of every value of nested mappings."""
    for key, value in facts.items():
        yield (*at, key)
        if isinstance(value, dict):
            yield from paths_in(value, (*at, key))


@pytest.mark.parametrize("place", list(paths_in(FULL.to_json())), ids=".".join)
def test_a_value_of_another_kind_is_refused_with_its_name(place, folder):
    facts = copy.deepcopy(FULL.to_json())
    inside = facts
    for key in place[:-1]:
        inside = inside[key]
    inside[place[-1]] = [None]
    with pytest.raises(UserError) as refused:
        Results.from_json(facts, folder.metrics)
    assert str(folder.metrics) in str(refused.value)
    assert ".".join(place) in str(refused.value)


@pytest.mark.parametrize("key", ["dataset", "method", "trial", "epochs", "seeds", "test", "times_test_was_scored"])
def test_what_is_missing_is_named(key, folder):
    facts = FULL.to_json()
    del facts[key]
    with pytest.raises(UserError, match=f"{key} is missing"):
        Results.from_json(facts, folder.metrics)


def test_what_a_newer_avtune_says_is_read_over_and_kept(folder):
    facts = toy_results().to_json() | {"later": {"a": 1}}
    facts["test"]["map_later"] = 0.5
    folder.metrics.write_text(json.dumps(facts | {"sha256": digest_of(facts)}))
    assert read_results(folder).test == toy_results().test
    assert is_as_written(folder.metrics)
    write_times_scored(folder, 4)
    told = json.loads(folder.metrics.read_text())
    assert list(told) == [*facts, "sha256"]
    assert told | {"sha256": None} == facts | {"times_test_was_scored": 4, "sha256": None}
    assert is_as_written(folder.metrics)
    folder.metrics.write_text(json.dumps(told | {"later": 2}))
    assert not is_as_written(folder.metrics), "its digest is of all that the file says"


def test_a_score_of_one_seed_has_no_interval():
    one, two = Score(0.5, (0.5,)), Score(0.5, (0.4, 0.6), (0.3, 0.7), (0.45, 0.55))
    assert one.to_json() == {"mean": 0.5, "ci95": None, "seeds": [0.5]}
    assert one.half_width is None
    assert two.half_width == pytest.approx(0.2)
    assert [Score.from_json(score.to_json()) for score in (one, two)] == [one, two]
