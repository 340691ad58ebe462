"""`--no-default`: the finals without the row of the default configuration."""

import json
from dataclasses import replace

import pytest
from command import call
from test_select import SPACE as SMALL
from test_select import default_trial, record
from toy import SPACE, write_toy

from avtune.finals.select import Candidate, Repeated, candidates
from avtune.finals.summary import Chosen
from avtune.study.horizon import Horizon

WITHOUT = replace(SMALL, final=replace(SMALL.final, default=False))


@pytest.fixture
def words(tmp_path):
    write_toy(tmp_path)
    (tmp_path / "space.yaml").write_text(SPACE)
    return [
        "search", tmp_path / "toy.h5", "--space", tmp_path / "space.yaml", "--name", "one",
        "--results", tmp_path / "results", "--runner", "inline", "--gpus", "0",
    ]  # fmt: skip


def runs(folder):
    return [json.loads(line)["run"] for line in (folder / "results/one/repeats.jsonl").read_text().splitlines()]


def metrics_of(folder):
    return json.loads((folder / "results/one/final/metrics.json").read_text())


def test_it_is_a_finalist_only_where_it_is_among_the_best():
    others = [record(4, 0.5), record(3, 0.4), record(1, 0.3)]
    assert [one.number for one in candidates(others, WITHOUT)] == [4, 3]
    assert [one.number for one in candidates([*others, default_trial("PRUNED", 0.2)], WITHOUT)] == [4, 3]
    assert [one.number for one in candidates([default_trial("COMPLETE", 0.9), *others], WITHOUT)] == [0, 4]


def test_one_that_was_repeated_for_its_own_sake_does_not_stay_a_finalist():
    ranking = [record(4, 0.5), record(3, 0.4), record(1, 0.3), default_trial("PRUNED", 0.2)]
    assert [one.number for one in candidates(ranking, WITHOUT, lambda one: one.number in (0, 1))] == [4, 3, 1]
    assert [one.number for one in candidates(ranking, SMALL, lambda one: one.number in (0, 1))] == [4, 3, 1, 0]


@pytest.mark.parametrize(("space", "retrained"), [(SMALL, ["test", "default"]), (WITHOUT, ["test"])])
def test_one_that_is_a_finalist_and_did_not_win_is_not_retrained(space, retrained):
    best = Repeated(Candidate(4, {**space.defaults(), "margin": 0.4}), 2, (0.5,), {1: 0.4, 2: 0.5})
    other = Repeated(Candidate(0, space.defaults()), 1, (0.4,), {1: 0.4})
    chosen = Chosen(Horizon(space, 100), None, best, (best, other), "validation")
    assert list(chosen.retrained) == retrained


def test_a_search_leaves_it_out_and_another_command_adds_it(words, tmp_path, capsys):
    printed = call(capsys, *words, "--no-default")
    assert "default configuration" not in printed
    assert "default" not in metrics_of(tmp_path)
    before, test = runs(tmp_path), metrics_of(tmp_path)["test"]
    assert len(before) == 2 * 2 + 2
    assert "no difference" in call(capsys, "verify", tmp_path / "results/one")
    assert "this study is finished" in call(capsys, *words)
    printed = call(capsys, *words, "--set", "final.default=true")
    assert "default configuration" in printed
    assert "final.default: false -> true" in printed
    assert runs(tmp_path)[: len(before)] == before
    further = runs(tmp_path)[len(before) :]
    assert len(set(further) - set(before)) == 2 + 2, "over the seeds of the finals and of the retraining"
    assert len(set(further) & set(before)) == 2, "the winner's weights were not kept"
    assert metrics_of(tmp_path)["test"] == test
    assert metrics_of(tmp_path)["default"]["map"]["seeds"]


def test_a_default_that_wins_is_said_to(words, tmp_path, capsys):
    (tmp_path / "space.yaml").write_text(SPACE.replace("low: 1e-2", "low: 1e-4"))  # else it is outside
    printed = call(capsys, *words, "--no-default", "--trials", "1")
    assert "the winner is the default configuration" in printed
    assert metrics_of(tmp_path)["default_is_winner"] is True
    assert len(runs(tmp_path)) == 2 + 2
