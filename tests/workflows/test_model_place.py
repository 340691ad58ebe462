"""A model's name beside folders of that name."""

from pathlib import Path

import pytest

from avtune.api_models import _folder
from avtune.cli.folders import model_called
from avtune.core.errors import UserError
from avtune.engine.model import load_model
from avtune.workflows.first_trials import configurations


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """With a study `base` that has a model and a winner, and an unrelated folder `base`."""
    monkeypatch.chdir(tmp_path)
    Path("results/base/final").mkdir(parents=True)
    Path("results/base/final/config.yaml").write_text("method: triplet\n")
    Path("results/base/study.yaml").write_text("space: {method: triplet}\n")
    Path("base").mkdir()


def named(name="base"):
    """For the command line and for Python."""
    places = model_called(name, Path("results")), _folder(name, Path("results"))
    assert places[0] == places[1]
    return places[0]


def test_the_study_comes_before_an_unrelated_folder():
    assert named() == Path("results/base")


def test_a_path_that_holds_a_model_is_taken_where_the_study_holds_none():
    Path("results/base/final/config.yaml").unlink()
    assert named() == Path("results/base")
    with pytest.raises(UserError, match=r"results/base holds no model"):
        load_model(named())
    Path("base/config.yaml").touch()
    assert named() == Path("base")
    for path in ("results/base/final", str(Path("base").absolute())):
        assert named(path) == Path(path)
    assert named("gone") == Path("gone")


def test_where_both_hold_a_model_it_is_said_which_is_taken(capsys):
    Path("base/config.yaml").touch()
    assert model_called("base", Path("results")) == Path("results/base")
    said = " ".join(capsys.readouterr().err.split())
    assert "results/base and the folder" in said
    assert "both hold a model; the first one is taken" in said
    with pytest.warns(UserWarning, match="both hold a model"):
        assert _folder("base", Path("results")) == Path("results/base")


def test_a_configuration_to_start_with_is_the_studys_too():
    best = "method: triplet\nconfig: {margin: 0.3}\n"
    with pytest.raises(UserError, match=r"study base has no best\.yaml yet"):
        configurations("base", Path("results"))
    Path("results/base/best.yaml").write_text(best)
    assert configurations("base", Path("results"))[0].values["margin"].value == 0.3
    Path("other").mkdir()
    with pytest.raises(UserError, match=r"other is a folder without best\.yaml"):
        configurations("other", Path("results"))
