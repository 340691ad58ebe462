"""Every example of every help text runs: as it stands, but that training is short and in this process."""

import re
import shlex
import shutil
from dataclasses import replace
from importlib.util import find_spec

import numpy as np
import pytest
from command import call
from toy import toy_dataset

from avtune.cli.main import main, parser
from avtune.data.formats import write_hdf5

INLINE = ("--runner", "inline", "--gpus", "0")
SHORT = {
    "search": (*INLINE, "--trials", "2", "--epochs", "2", "--set", "final.finalists=1", "--set", "final.seeds=1"),
    "bench my": (*INLINE, "--methods", "cca,triplet", "--trials", "1", "--epochs", "1", "--seeds", "2"),
    "curves": (*INLINE, "--seeds", "1", "--epochs", "2"),
    "retrain": INLINE,
}
"""Options that are added to those of an example; of an option that is given twice the last one counts."""
NEEDS = {  # what an example needs beyond avtune, and what is said without
    "completion": ("shtab", "pip install 'avtune[completion]'"),
    "export demo --to onnx": ("onnxruntime", "pip install 'avtune[onnx]'"),
    "track demo mlflow": ("mlflow", "pip install 'avtune[mlflow]'"),
    "track demo wandb": ("wandb", "pip install 'avtune[wandb]'"),
}


def examples():
    """The command lines at the ends of the help texts, each once."""
    found = []
    waiting = [parser()]
    for one in waiting:
        text = one.format_help()
        found += [line.strip() for line in re.split(r"\nexamples?:\n", text)[1].strip().splitlines()]
        for action in one._actions:
            if isinstance(action.choices, dict):
                waiting += action.choices.values()
    return list(dict.fromkeys(found))


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder with the files and the studies that examples name; `demo` is a small data set here."""
    place = tmp_path_factory.mktemp("examples")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        small(patch)
        quick = ["--epochs", "1", "--set", "final.finalists=1", "--set", "final.seeds=1"]
        assert main(["search", "demo", "--trials", "8", "--keep", "8", *quick, *INLINE]) == 0
        short = ["--methods", "cca,triplet", "--trials", "1", "--epochs", "1", "--seeds", "2"]
        write_hdf5(toy_dataset(seed=1), place / "my_features.h5")
        assert main(["bench", "my_features.h5", *short, *INLINE]) == 0
        assert main(["bench", "demo", "--name", "short", *short, *INLINE]) == 0
    for name in ("first", "second"):
        shutil.copytree(place / "results/demo", place / "results" / name)
    data = toy_dataset()
    np.save(place / "sound.npy", data.test.audio)
    np.savez(place / "mine.npz", audio=np.eye(3), visual=np.eye(3), labels=["a", "a", "b"])
    return place


def small(patch):
    patch.setattr("avtune.data.registry.demo", lambda: replace(toy_dataset(), name="demo", source="generated"))
    patch.setattr("avtune.report.serve.serve", served)


def served(folder, port, say):
    """In place of TensorBoard's server, which would go on."""
    assert any(folder.rglob("*tfevents*"))
    say(f"TensorBoard on {folder}")
    return 0


@pytest.mark.slow
@pytest.mark.parametrize(
    "line", [pytest.param(line, marks=pytest.mark.ray) if "doctor" in line else line for line in examples()]
)
def test_it_runs(line, made, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(made)
    monkeypatch.setenv("AVTUNE_DATA", str(tmp_path))
    small(monkeypatch)
    words = shlex.split(line.partition(" > ")[0])
    assert words.pop(0) == "avtune"
    given = " ".join(words)
    if words[0] in ("search", "curves") or given.startswith("bench my"):
        # They would go on with what other examples have made.
        words += ["--results", str(tmp_path)]
    if words[0] == "across":  # of which one has the name of a bench that another example makes
        for name, bench in {"bench-demo": "short", "bench-my_features": "bench-my_features"}.items():
            shutil.copytree(made / "results" / bench, tmp_path / "results" / name)
        words += ["--results", str(tmp_path / "results")]
    words += next((more for start, more in SHORT.items() if given.startswith(start)), ())
    needs, said = next((of for start, of in NEEDS.items() if given.startswith(start)), ("avtune", ""))
    if find_spec(needs) is None:
        assert said in call(capsys, *words, code=2)
    elif "vegas" in words and words[0] != "plan":  # which needs its sizes only
        assert "there is no vegas_feature_norm.h5" in call(capsys, *words, code=2)
    else:
        assert call(capsys, *words)
