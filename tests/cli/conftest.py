"""A finished study for the tests of what is done with a model."""

import pytest
from toy import write_toy

from avtune.cli.main import main


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """A folder with `toy.h5` and the study `results/one`, of a winner with two seeds and a checkpoint."""
    folder = tmp_path_factory.mktemp("trained")
    data, space = write_toy(folder)
    words = ["--name", "one", "--results", folder / "results", "--runner", "inline", "--gpus", "0", "--keep", "1"]
    quick = [
        "--trials",
        "1",
        "--set",
        "early_stopping.epochs=2",
        "--set",
        "final.seeds=2",
        "--set",
        "final.reference=none",
    ]
    assert main([str(word) for word in ("search", data, "--space", space, *words, *quick)]) == 0
    return folder
