"""Every command and every piece of Python in docs/using_a_model.md runs, on a small study of the name it has there."""

import re
import shlex
from importlib.util import find_spec
from pathlib import Path

import h5py
import numpy as np
import pytest
from command import call
from toy import SPACE, toy_dataset

from avtune.cli.main import main
from avtune.data.formats import write_hdf5

ROOT = Path(__file__).parents[2]
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```", (ROOT / "docs/using_a_model.md").read_text(), re.MULTILINE | re.DOTALL)
README = re.findall(r"^avtune (?:embed|retrieve|export) .*$", (ROOT / "README.md").read_text(), re.MULTILINE)


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder with the study `first` and the files that the page names."""
    data = toy_dataset()
    write_hdf5(data, tmp_path / "my_features.h5")
    (tmp_path / "space.yaml").write_text(SPACE)
    monkeypatch.chdir(tmp_path)
    np.save("sound.npy", data.test.audio)
    np.save("clips.npy", data.test.audio)
    np.savez("sound.npz", audio_train=data.train.audio, audio_test=data.test.audio)
    np.savez("clips.npz", audio=data.test.audio, visual=data.test.visual)
    with h5py.File("other.h5", "w") as file:
        file["vggish/mean"], file["frames"] = data.test.audio, data.test.visual
    small = [
        "--trials",
        "1",
        "--set",
        "early_stopping.epochs=2",
        "--set",
        "final.seeds=1",
        "--set",
        "final.reference=none",
    ]
    where = ["--name", "first", "--runner", "inline", "--gpus", "0"]
    assert main(["search", "my_features.h5", "--space", "space.yaml", *small, *where]) == 0
    return tmp_path


def test_the_page_runs(place, capsys):
    commands = 0
    for kind, text in BLOCKS:
        if kind == "python":
            exec(compile(text, "docs/using_a_model.md", "exec"), {})
            continue
        for line in text.splitlines():
            words = shlex.split(line, comments=True)
            assert words[0] == "avtune", line
            commands += 1
            if "onnx" in words and find_spec("onnxruntime") is None:
                assert "pip install 'avtune[onnx]'" in call(capsys, *words[1:], code=2)
            else:
                assert call(capsys, *words[1:]), line
    assert commands == 13
    assert {"z.npz", "z.npy", "z.csv", "z.parquet", "hub", "index", "sounds", "trec"} <= {
        one.name for one in place.iterdir()
    }


def test_the_lines_of_the_readme_run(place, capsys):
    assert len(README) == 3
    for line in README:
        words = [word.replace("yt8m_ave15.h5", "my_features.h5") for word in shlex.split(line, comments=True)[1:]]
        has = "onnx" not in words or find_spec("onnxruntime") is not None
        assert call(capsys, *words, code=0 if has else 2), line
