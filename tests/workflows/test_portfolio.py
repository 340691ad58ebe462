"""The portfolio of a method: tried by new searches after the default, on record, and left out where that is said."""

import math
from dataclasses import replace

import pytest
from command import call
from test_beginnings import margins, settings, words
from test_continue import interrupted
from toy import toy_dataset, write_toy

import avtune
from avtune.core.errors import UserError
from avtune.methods import METHODS, hypers_of
from avtune.space.configuration import configurations_of_file, point_in
from avtune.space.files import load as load_space
from avtune.workflows import portfolio as portfolios
from avtune.workflows.plan import Data, PlanRequest, plan
from avtune.workflows.portfolio import portfolio

TWO = "# how it was made\n- {margin: 0.5, lr: 0.02}\n- {margin: 5, lr: 0.02}\n- {margin: 0.25, lr: 0.02}\n"
AFTER_ONE = ["--set", "search.startup_trials=1"]


@pytest.fixture
def toy(tmp_path, monkeypatch):
    write_toy(tmp_path)
    (tmp_path / "triplet.yaml").write_text(TWO)
    monkeypatch.setattr(portfolios, "FOLDER", tmp_path)
    return tmp_path


def spaced(method, *more):
    return load_space(method, hypers_of=hypers_of, method_names=METHODS, overrides=more)


def test_new_searches_of_the_method_try_it_after_the_default_and_say_what_they_leave_out(toy, capsys):
    (toy / "psd.yaml").write_text("- {margin: 0.75}")
    printed = call(capsys, *words(toy, *AFTER_ONE))
    assert "portfolio of triplet: 1 of 3 configurations are left out: portfolio, configuration 2: margin" in printed
    assert "2 configurations of --start, --like or the portfolio (see --no-portfolio) come after" in printed
    points = [{"margin": 0.5, "lr": 0.02}, {"margin": 0.25, "lr": 0.02}]
    assert settings(toy)["like"] == {"studies": ["portfolio"], "points": points}
    assert margins(toy)[1:3] == [0.5, 0.25], "the default lies outside this space"
    assert "no difference" in call(capsys, "verify", "one", "--results", toy / "results")


def test_a_search_without_it_stays_one_and_a_search_with_it_keeps_it(toy, capsys):
    call(capsys, *words(toy, "--no-portfolio", name="zero"))
    before = settings(toy, "zero")
    assert "like" not in before
    call(capsys, *words(toy, "--no-portfolio", name="zero"))
    call(capsys, *words(toy, name="zero"))  # a study of before there was one goes on as it was
    assert settings(toy, "zero") == before
    call(capsys, *words(toy, *AFTER_ONE))
    before = settings(toy)
    said = call(capsys, *words(toy, *AFTER_ONE, "--no-portfolio"), code=2)
    assert "--no-portfolio: " in said
    assert "was begun with the portfolio of triplet, which it keeps\nadd --name one-2" in said
    assert settings(toy) == before


@pytest.mark.parametrize("mode", [[], ["--deterministic"]])
def test_a_search_that_was_killed_goes_on_with_what_is_on_record(toy, capsys, mode):
    call(capsys, *words(toy, *AFTER_ONE, *mode, name="whole"))
    with interrupted(2):
        call(capsys, *words(toy, *AFTER_ONE, *mode), code=130)
    (toy / "triplet.yaml").write_text("- {margin: 0.9, lr: 0.02}")  # of another version
    call(capsys, *words(toy, *AFTER_ONE, *mode))
    assert margins(toy) == margins(toy, "whole")
    assert "no difference" in call(capsys, "verify", "one", "--results", toy / "results")


def test_python_has_it_as_an_argument(toy):
    small = {"trials": 2, "epochs": 1, "set": {"final.finalists": 1, "final.seeds": 1}, "space": toy / "space.yaml"}
    how = {"results": toy / "results", "quiet": True, "runner": "inline", "gpus": 0}
    assert list(avtune.search(toy_dataset(), name="with", **how, **small).trials["margin"]) == [0.5, 0.25]
    avtune.search(toy_dataset(), name="without", portfolio=False, **how, **small)
    assert "like" not in settings(toy, "without")
    with pytest.raises(avtune.UserError, match=r"^portfolio=False: .* which it keeps\nadd name='with-2'"):
        avtune.search(toy_dataset(), name="with", portfolio=False, **how, **small)
    with pytest.raises(avtune.UserError, match=r"^portfolio is 1; allowed: True or False"):
        avtune.search(toy_dataset(), name="other", portfolio=1, **how, **small)


def test_what_the_space_does_not_search_is_as_the_space_has_it(tmp_path, monkeypatch):
    (tmp_path / "triplet.yaml").write_text("- {margin: 0.5, lr: 0.002, hidden_dim: 64}\n- {margin: 0.3, dropout: 0.1}")
    monkeypatch.setattr(portfolios, "FOLDER", tmp_path)
    found = portfolio(spaced("triplet", "space.dropout=0.3"))
    assert [(point["margin"], point["lr"]) for point in found.points] == [(0.5, 0.002), (0.3, 0.001)]
    assert all("dropout" not in point and "hidden_dim" not in point for point in found.points)
    assert found.notes == ["portfolio of triplet: dropout, hidden_dim as this space has it, not as there"]
    assert portfolio(spaced("psd")).studies == ()


def test_a_damaged_file_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr(portfolios, "FOLDER", tmp_path)
    (tmp_path / "triplet.yaml").write_text("- {margin: null}")
    with pytest.raises(UserError, match=r"triplet.yaml is damaged: configuration 1 has values that are none"):
        portfolio(spaced("triplet"))


def test_a_plan_counts_it(tmp_path, monkeypatch):
    (tmp_path / "psd.yaml").write_text("- {margin: 0.5}\n- {margin: 50}")
    monkeypatch.setattr(portfolios, "FOLDER", tmp_path)
    request = PlanRequest(Data("mine", 2_000, 500, (128, 1024), 10), spaced("demo", "search.trials=6"), gpus=0)
    said = plan(request).assumed
    assert "portfolio of psd: 1 configuration tried after the default" in said
    assert any("portfolio of psd: 1 of 2 configurations are left out" in line for line in said)
    assert not any("portfolio" in line for line in plan(replace(request, portfolio=False)).assumed)


def test_every_file_that_comes_with_avtune_fits_its_methods_space():
    for path in portfolios.FOLDER.glob("*.yaml"):
        space = spaced(path.stem)
        points = [point_in(space, one) for one in configurations_of_file(path)]
        assert 1 <= len(points) <= 8
        assert all(math.isfinite(value) for point in points for value in point.values() if not isinstance(value, str))
        assert space.default_point() not in points
        for word in (
            "made by: python -m benchmarks.portfolio",
            "recorded: ",
            "data sets: ",
            "digest of the recordings",
        ):
            assert word in path.read_text()
