"""A study whose every trial fails says so, with the first cause, whatever runs it."""

import pytest
from start_up import plant
from toy import write_toy

from avtune.cli.main import main
from avtune.engine.lane_trainer import LaneTrainer

_BROKEN = """
def broken(self):
    raise RuntimeError("the sky fell\\nand more")

module.LaneTrainer.train_epoch = broken
"""


def broken(self):
    raise RuntimeError("the sky fell\nand more")


@pytest.mark.parametrize(
    "runner", ["inline", pytest.param("processes", marks=pytest.mark.ray), pytest.param("lanes", marks=pytest.mark.ray)]
)
def test_it_says_so_with_the_first_cause(runner, tmp_path, capsys, monkeypatch):
    (tmp_path / "start_up").mkdir()
    plant(tmp_path / "start_up", "avtune.engine.lane_trainer", _BROKEN)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "start_up"))
    monkeypatch.setattr(LaneTrainer, "train_epoch", broken)
    data, space = write_toy(tmp_path)
    words = ["search", data, "--space", space, "--results", tmp_path / "results", "--name", "one", "--runner", runner]
    assert main([str(word) for word in [*words, "--gpus", "0"]]) == 1
    printed = capsys.readouterr()
    first, retry = printed.err.splitlines()
    assert first == "avtune: every trial failed; the first: RuntimeError: the sky fell"
    assert "--retry-failed" in retry
    assert printed.out.count("failed: RuntimeError: the sky fell (details in log.txt)") == 5
    study = tmp_path / "results" / "one"
    assert "Traceback" in (study / "log.txt").read_text()
    assert (study / "report.html").exists()
