"""Adding a method takes one file and one registry line: here both are, and everything that goes over the registry takes
the method in, from the conformance suite to the command line."""

import importlib.util
import inspect
import itertools
import json
import subprocess
import sys

import pytest
import test_method_conformance as conformance
from toy import write_toy

from avtune.cli.main import main
from avtune.methods import METHODS

ONE_FILE = '''
"""Pulls the two embeddings of a clip together and pushes the class means apart."""

from typing import ClassVar

import torch

from avtune.lanes.modules import encoder, init_encoder
from avtune.methods._base import TRAINING_HYPERS, Method
from avtune.methods._losses import pair_distance, same_class
from avtune.methods.psd import ENCODER_HYPERS
from avtune.core.hyper import Hyper


class Toy(Method):
    name: ClassVar[str] = "toy"
    summary: ClassVar[str] = "pairs together, classes apart"
    source: ClassVar[str] = "nobody; exact"
    hypers: ClassVar[tuple[Hyper, ...]] = (
        Hyper("push", "float", 1.0, 0.0, 10.0, doc="weight of the classes"),
        Hyper("squared", "bool", False, static=True, doc="squares the cosines"),
        *ENCODER_HYPERS,
        *TRAINING_HYPERS,
    )

    def init(self, generator):
        params, buffers = {}, {}
        for view, size in (("audio", self.audio_dim), ("visual", self.visual_dim)):
            made = init_encoder(generator, size, self.static["hidden_dim"], self.static["embedding_dim"])
            for into, tensors in zip((params, buffers), made):
                into |= {f"{view}.{name}": value for name, value in tensors.items()}
        return params, buffers

    def embed(self, params, buffers, audio, visual):
        return encoder(params, buffers, "audio.", audio, None), encoder(params, buffers, "visual.", visual, None)

    def loss(self, params, buffers, batch, hyper, progress):
        dropout = batch.dropout(hyper["dropout"])
        z_a = encoder(params, buffers, "audio.", batch.audio, dropout)
        z_v = encoder(params, buffers, "visual.", batch.visual, dropout)
        unit_a, unit_v = (torch.nn.functional.normalize(z, dim=-1) for z in (z_a, z_v))
        likeness = torch.bmm(unit_a, unit_v.transpose(1, 2))
        if self.static["squared"]:
            likeness = likeness * likeness.abs()
        sign = 1 - 2 * same_class(batch.labels).to(likeness.dtype)
        apart = (sign * likeness).mean((1, 2))
        pair = pair_distance(z_a, z_v)
        return {"loss": hyper["push"] * apart + 0.1 * pair, "apart": apart, "pair": pair}
'''


@pytest.fixture
def toy(tmp_path, monkeypatch):
    (tmp_path / "toy_method.py").write_text(ONE_FILE)
    found = importlib.util.spec_from_file_location("toy_method", tmp_path / "toy_method.py")
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    monkeypatch.setitem(METHODS, "toy", module.Toy)  # the one registry line
    return module.Toy


def checks():
    """The conformance tests of a trained method."""
    for name, test in inspect.getmembers(conformance, inspect.isfunction):
        if name.startswith("test_") and "solution" not in name and "closed_form" not in name:
            yield pytest.param(test, id=name)


@pytest.mark.parametrize("check", list(checks()))
def test_the_conformance_suite_runs_on_it(check, toy, monkeypatch):
    wanted = inspect.signature(check).parameters
    changes = [change for _, change in conformance.changes(toy)] if "change" in wanted else [None]
    assert changes in ([None], [{}, {"squared": True}])
    precisions = ["fp32", "bf16"] if "precision" in wanted else [None]
    for change, precision in itertools.product(changes, precisions):
        given = {"name": "toy", "change": change, "monkeypatch": monkeypatch, "precision": precision}
        check(**{key: value for key, value in given.items() if key in wanted})


def test_the_suite_collects_whatever_is_registered():
    """So the line in the registry is all that a method of ours needs: what runs above runs on it by itself."""
    code = (
        "import sys; sys.path[:0] = ['.', 'tests', 'tests/methods']\n"
        "from avtune.methods import METHODS\nMETHODS['toy'] = type('Toy', (METHODS['triplet'],), {'name': 'toy'})\n"
        "import test_method_conformance as suite\n"
        "print(sum('toy' in p.values for p in (*suite.CASES, *suite.BY_NAME, *suite.TRAINED)))"
    )
    root = conformance.__file__.rpartition("/tests/")[0]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root)
    assert int(done.stdout) >= 4


def test_the_command_line_takes_it(toy, tmp_path, capsys):
    write_toy(tmp_path)
    assert main(["methods"]) == 0
    assert "pairs together, classes apart" in capsys.readouterr().out
    assert main(["methods", "toy"]) == 0
    assert "weight of the classes" in capsys.readouterr().out
    settings = [
        "space.hidden_dim=8",
        "space.embedding_dim=4",
        "space.batch_size=16",
        "search.trials=2",
        "final.seeds=2",
        "final.reference=none",
    ]
    settings += ["early_stopping.epochs=6", "early_stopping.grace=6"]
    words = ["search", str(tmp_path / "toy.h5"), "--method", "toy", "--results", str(tmp_path), "--name", "one"]
    words += [word for setting in settings for word in ("--set", setting)]
    assert main([*words, "--runner", "inline", "--gpus", "0"]) == 0
    metrics = json.loads((tmp_path / "one" / "final" / "metrics.json").read_text())
    assert metrics["test"]["map"]["mean"] > metrics["untrained"]["map"]["mean"] + 0.1
