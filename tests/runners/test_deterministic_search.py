"""The promise of --deterministic: the same trials, values, winner and model, to the last bit, whatever runs them."""

import csv
import json
from dataclasses import replace

import numpy as np
import pytest
import yaml
from safetensors.numpy import load_file
from toy import toy_dataset

from avtune.cli.main import main
from avtune.data.dataset import Split
from avtune.data.formats import write_hdf5

# Of sizes at which lanes that share steps are apart by rounding, in both precisions.
SPACE = """
method: tnn_ccca
space:
  margin: {type: float, low: 0.1, high: 1.0}
  lr: {type: float, low: 1e-3, high: 1e-1, log: true}
  hidden_dim: 67
  embedding_dim: 13
  batch_size: 37
search: {trials: 6, lag: 3, startup_trials: 3}
early_stopping: {epochs: 4, grace: 1, factor: 2}
validation: {fraction: 0.25}
final: {finalists: 2, seeds: 2, reference: none}
"""


def write_hard(path):
    """Classes that overlap, so that every score has its digits."""
    draw, easy = np.random.default_rng(0), toy_dataset(classes=8, train=120, test=48, dims=(37, 53))

    def harder(part):
        views = [(view + 6 * draw.normal(size=view.shape)).astype(np.float32) for view in (part.audio, part.visual)]
        return Split(*views, part.labels)

    write_hdf5(replace(easy, train=harder(easy.train), test=harder(easy.test)), path)


def result(folder, name, precision, capsys, *where):
    """What a search found: every trial, the finalists, the scores and the model; all but how long it took."""
    words = ["search", folder / "toy.h5", "--space", folder / "space.yaml", "--results", folder, "--name", name]
    settings = ["--gpus", "0", "--deterministic", "--precision", precision]
    assert main([str(word) for word in [*words, *settings, *where]]) == 0, capsys.readouterr().err
    with (folder / name / "trials.csv").open() as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        del row["seconds"]
    lines = [json.loads(line) for line in (folder / name / "curves.jsonl").read_text().splitlines()]
    curves = {(line["trial"], line["epoch"]): (line["loss"], line["val_map"]) for line in lines if "epoch" in line}
    metrics = json.loads((folder / name / "final" / "metrics.json").read_text())
    for key in ("retraining_seconds", "files", "sha256"):  # and digests of files, whose headers are in no fixed order
        metrics.pop(key, None)
    model = load_file(folder / name / "final" / "model.safetensors")
    weights = {key: value.tobytes() for key, value in model.items()}
    return rows, curves, yaml.safe_load((folder / name / "best.yaml").read_text()), metrics, weights


@pytest.mark.ray
@pytest.mark.parametrize("precision", ["fp32", pytest.param("bf16", marks=pytest.mark.long)])
def test_every_runner_finds_the_same(tmp_path, capsys, precision):
    write_hard(tmp_path / "toy.h5")
    (tmp_path / "space.yaml").write_text(SPACE)
    inline = result(tmp_path, "inline", precision, capsys, "--runner", "inline")
    assert len(inline[0]) == 6
    assert inline[1]
    ways = {"all": ["--lanes", "3"]}
    if precision == "fp32":  # what differs between runners and numbers of engines knows no precision
        ways |= {"processes": ["--runner", "processes"], "one": ["--lanes", "5", "--cpus", "1"]}
    for name, where in ways.items():
        found = result(tmp_path, name, precision, capsys, *where)
        # Which epochs past the rung that stops a trial are trained, and do not count, is a matter of time.
        shared = found[1].keys() & inline[1].keys()
        assert {key: found[1][key] for key in shared} == {key: inline[1][key] for key in shared}, name
        assert len(shared) >= 6
        for at in (0, 2, 3, 4):
            assert found[at] == inline[at], name
