"""A file that a run leaves is never taken for another run's, whatever happens to the study in between."""

import contextlib
import json
from pathlib import Path

import pytest
from command import call
from toy import write_toy

import avtune.runners.work as work
from avtune.cli.main import main
from avtune.finals import finish as finish_module
from avtune.finals.select import winner


@pytest.fixture
def workplace(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_toy(tmp_path)
    space = tmp_path / "space.yaml"  # with the default learning rate in it
    space.write_text(space.read_text().replace("low: 1e-2", "low: 1e-3").replace("trials: 5", "trials: 12"))


def search(*words, name="one"):
    return ["search", "toy.h5", "--space", "space.yaml", "--runner", "inline", "--gpus", "0", "--name", name, *words]


@contextlib.contextmanager
def interrupted(at):
    """The n-th training is interrupted, as by a kill."""
    train, calls = work.train, []

    def planted(*words, **more):
        calls.append(1)
        if len(calls) == at:
            raise KeyboardInterrupt
        return train(*words, **more)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(work, "train", planted)
        yield


def the_default_wins(rows):
    """As more seeds may decide it. The default configuration comes last, unless it is one of the finalists."""
    assert rows[-1].candidate.number is not None, "it was a trial"
    assert rows[-1] is not winner(rows)
    return rows[-1]


def test_a_winner_that_loses_while_it_is_retrained_leaves_nothing_to_the_next_one(workplace, capsys, monkeypatch):
    trials, repeats, seeds = 12, 6, 2
    # The first winner is retrained, and one seed of the default configuration.
    with interrupted(trials + repeats + seeds + 2):
        assert main(search()) == 130
    capsys.readouterr()
    monkeypatch.setattr(finish_module, "winner", the_default_wins)
    call(capsys, *search())
    call(capsys, *search(name="undisturbed"))
    found, wanted = (
        json.loads(Path("results", name, "final", "metrics.json").read_text()) for name in ("one", "undisturbed")
    )
    assert found["trial"] == wanted["trial"]
    assert found["test"] == wanted["test"]
    for name in ("one", "undisturbed"):
        again = json.loads(call(capsys, "evaluate", name, "toy.h5", "--json"))
        assert again["map"] == pytest.approx(found["test"]["map"]["seeds"][0], abs=1e-9)
