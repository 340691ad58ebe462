"""`--portfolio`: configurations that come with a method, tried after the default, checked, and on record."""

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
AFTER_ONE = ["--set", "search.startup_trials=1", "--portfolio"]


@pytest.fixture
def toy(tmp_path, monkeypatch):
    write_toy(tmp_path)
    (tmp_path / "triplet.yaml").write_text(TWO)
    monkeypatch.setattr(portfolios, "FOLDER", tmp_path)
    return tmp_path


def spaced(method, *more):
    return load_space(method, hypers_of=hypers_of, method_names=METHODS, overrides=more)


def test_a_search_tries_it_after_the_default_and_says_what_it_leaves_out(toy, capsys):
    (toy / "psd.yaml").write_text("- {margin: 0.75}")
    printed = call(capsys, *words(toy, *AFTER_ONE))
    assert "portfolio of triplet: 1 of 3 configurations are left out: portfolio, configuration 2: margin" in printed
    assert "2 configurations of --start, --like or --portfolio come after the 1 random" in printed
    points = [{"margin": 0.5, "lr": 0.02}, {"margin": 0.25, "lr": 0.02}]
    assert settings(toy)["like"] == {"studies": ["portfolio"], "points": points}
    assert margins(toy)[1:3] == [0.5, 0.25], "the default lies outside this space"
    assert "no difference" in call(capsys, "verify", "one", "--results", toy / "results")


def test_a_search_without_it_has_none_until_it_is_asked_for(toy, capsys):
    call(capsys, *words(toy))
    assert "like" not in settings(toy)
    printed = call(capsys, *words(toy, "--portfolio", "--trials", "5"))
    assert "changed: like: portfolio" in printed
    assert margins(toy)[4] == 0.5
    before = settings(toy)
    call(capsys, *words(toy, "--trials", "6"))  # on record
    assert margins(toy)[5] == 0.25
    assert settings(toy)["like"] == before["like"]


def test_a_method_without_one_is_said(toy, capsys):
    (toy / "triplet.yaml").rename(toy / "psd.yaml")
    said = call(capsys, *words(toy, "--portfolio"), code=2)
    assert "--portfolio: triplet has none; there is one of: psd" in said
    assert not (toy / "results").exists()


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
    found = avtune.search(toy_dataset(), name="with", portfolio=True, **how, **small)
    assert list(found.trials["margin"]) == [0.5, 0.25]
    with pytest.raises(avtune.UserError, match=r"^portfolio is 1; allowed: True or False"):
        avtune.search(toy_dataset(), name="other", portfolio=1, **how, **small)


def test_what_the_space_does_not_search_is_as_the_space_has_it(tmp_path, monkeypatch):
    (tmp_path / "triplet.yaml").write_text("- {margin: 0.5, lr: 0.002, hidden_dim: 64}\n- {margin: 0.3, dropout: 0.1}")
    monkeypatch.setattr(portfolios, "FOLDER", tmp_path)
    found = portfolio(spaced("triplet", "space.dropout=0.3"))
    assert [(point["margin"], point["lr"]) for point in found.points] == [(0.5, 0.002), (0.3, 0.001)]
    assert all("dropout" not in point and "hidden_dim" not in point for point in found.points)
    assert found.notes == ["portfolio of triplet: dropout, hidden_dim as this space has it, not as there"]


def test_a_damaged_file_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr(portfolios, "FOLDER", tmp_path)
    (tmp_path / "triplet.yaml").write_text("- {margin: null}")
    with pytest.raises(UserError, match=r"triplet.yaml is damaged: configuration 1 has values that are none"):
        portfolio(spaced("triplet"))


def test_a_plan_counts_it(tmp_path, monkeypatch):
    (tmp_path / "psd.yaml").write_text("- {margin: 0.5}\n- {margin: 50}")
    monkeypatch.setattr(portfolios, "FOLDER", tmp_path)
    request = PlanRequest(Data("mine", 2_000, 500, (128, 1024), 10), spaced("demo", "search.trials=6"), gpus=0)
    said = plan(replace(request, portfolio=True)).assumed
    assert "portfolio of psd: 1 configuration tried after the default" in said
    assert any("portfolio of psd: 1 of 2 configurations are left out" in line for line in said)
    assert not any("portfolio" in line for line in plan(request).assumed)


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
