"""The promise of --deterministic: the same trials, values and winner, whatever runs them."""

import csv

import pytest
import yaml
from toy import write_toy

from avtune.cli import main


def result(folder, runner, capsys):
    """What a search found: every trial without its seconds, and the winner."""
    words = ["search", folder / "toy.h5", "--space", folder / "space.yaml", "--results", folder, "--name", runner]
    settings = [
        "--trials",
        "7",
        "--set",
        "search.lag=4",
        "--set",
        "final.finalists=1",
        "--set",
        "final.seeds=1",
        "--gpus",
        "0",
        "--deterministic",
    ]
    assert main([str(word) for word in [*words, *settings, "--runner", runner]]) == 0, capsys.readouterr().err
    with (folder / runner / "trials.csv").open() as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        del row["seconds"]
        row["val_map"] = round(float(row["val_map"]), 4)
    return rows, yaml.safe_load((folder / runner / "best.yaml").read_text())["trial"]


@pytest.mark.ray
def test_every_runner_finds_the_same(tmp_path, capsys):
    write_toy(tmp_path)
    inline = result(tmp_path, "inline", capsys)
    assert len(inline[0]) == 7
    assert result(tmp_path, "processes", capsys) == inline
    assert result(tmp_path, "lanes", capsys) == inline
