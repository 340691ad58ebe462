"""The verb `curves`: loss and validation MAP against epochs, as a picture, a table and TensorBoard runs."""

import csv
import xml.etree.ElementTree as ET

import matplotlib.image
import numpy as np
import pytest
from command import call
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from toy import toy_dataset, write_toy

from avtune.report import plots
from avtune.report.plots import Panel, comparison
from avtune.workflows.curves import Line, write

SMALL = ["--set", "hidden_dim=8", "--set", "embedding_dim=4", "--set", "batch_size=16", "--epochs", "3"]


def curves(folder, *words):
    where = ["--results", folder / "results", "--runner", "inline", "--gpus", "0"]
    return ["curves", folder / "toy.h5", *SMALL, *where, *words]


def test_the_figure_of_the_paper(tmp_path, capsys):
    write_toy(tmp_path)
    printed = call(capsys, *curves(tmp_path, "--seeds", "2"))
    made = tmp_path / "results" / "curves-toy"
    lines = ["psd all", "psd hard", "aadml all", "aadml hard"]
    for line in lines:
        assert line in printed
    with (made / "curves.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 4 * 2 * 3
    assert list(dict.fromkeys(row["line"] for row in rows)) == lines
    assert {row["mining"] for row in rows} == {"all", "hard"}
    assert all(0 < float(row["val_map"]) <= 1 for row in rows)
    assert ET.fromstring((made / "curves.svg").read_text()).tag.endswith("svg")
    image = matplotlib.image.imread(made / "curves.png")
    assert image.shape[1] > 800
    assert image.std() > 0.01, "something is drawn"
    board = EventAccumulator(str(made / "tensorboard" / "aadml_hard")).Reload()
    assert {"map/val", "train/loss"} <= set(board.Tags()["scalars"])
    events = board.Scalars("map/val")
    assert [event.step for event in events] == [1, 2, 3]
    mine = [float(row["val_map"]) for row in rows if row["line"] == "aadml hard"]
    assert [event.value for event in events] == pytest.approx(np.reshape(mine, (2, 3)).mean(0), abs=1e-6)
    assert "exists" in call(capsys, *curves(tmp_path), code=2)


def test_where_every_line_failed_the_reasons_are_said_and_nothing_is_written(tmp_path):
    lines = [Line("psd", mining, {}, failures=[f"no {mining}", "another"]) for mining in ("all", "hard")]
    assert write(lines, toy_dataset(), tmp_path / "curves") == [
        "",
        "psd all: 2 seeds failed: no all",
        "psd hard: 2 seeds failed: no hard",
        "every line failed; there is nothing to draw, and nothing was written",
    ]
    assert list(tmp_path.iterdir()) == []


def test_the_test_split_takes_no_part(tmp_path, capsys, monkeypatch):
    from toy import toy_dataset

    from avtune.data.dataset import Dataset
    from avtune.data.formats import write_hdf5

    printed = []
    for test in (24, 6):
        folder = tmp_path / str(test)
        folder.mkdir()
        whole: Dataset = toy_dataset(test=24)
        rows = np.arange(test)
        write_hdf5(
            Dataset("toy", whole.train, whole.test.take(rows), whole.class_names, "generated"), folder / "toy.h5"
        )
        call(capsys, *curves(folder, "--seeds", "1", "--mining", "all"))
        printed.append((folder / "results" / "curves-toy" / "curves.csv").read_text())
    assert printed[0] == printed[1]


def test_other_methods_and_tuned_configurations(tmp_path, capsys):
    write_toy(tmp_path)
    (tmp_path / "best.yaml").write_text("trial: 3\nconfig: {margin: 0.7, hidden_dim: 9}\n")
    words = ["--methods", "triplet,clip", "--mining", "semihard", "--best", f"triplet={tmp_path / 'best.yaml'}"]
    printed = call(capsys, *curves(tmp_path, *words, "--seeds", "1"))
    assert "triplet semihard" in printed
    assert "\nclip " in printed
    assert "clip semihard" not in printed


def test_a_method_of_ones_own_beside_ours(workplace, capsys):
    write_toy(workplace)
    words = ["--methods", "own_method:CrossContrast,triplet", "--mining", "all", "--seeds", "1"]
    printed = call(capsys, *curves(workplace, *words))
    assert "\nown_method:CrossContrast " in printed
    assert (workplace / "results" / "curves-toy" / "tensorboard" / "own_method:CrossContrast").is_dir()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--methods", "psd,aadl"], "did you mean 'aadml'"),
        (["--methods", "psd,psd"], "different names"),
        (["--methods", "psd,"], "different names"),
        (["--methods", "psd,cca"], "cca is solved at once"),
        (["--mining", "hardd"], "did you mean 'hard'"),
        (["--set", "margn=1"], "did you mean 'margin'"),
        (["--set", "margin=9"], "margin is 9"),
        (["--set", "margin"], "NAME=VALUE"),
        (["--set", "mining=hard"], "NAME=VALUE"),
        (["--epochs", "0"], "--epochs is 0"),
        (["--seeds", "0"], "--seeds is 0"),
        (["--best", "psd=no.yaml"], "no.yaml cannot be read"),
        (["--best", "clip=no.yaml"], "METHOD=FILE"),
        (["--best", "psd=odd.yaml"], "odd.yaml: hidden_dim is 6"),
        (["--name", "../up"], "--name"),
    ],
)
def test_wrong_words_get_helpful_lines(words, said, tmp_path, capsys, monkeypatch):
    write_toy(tmp_path)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "odd.yaml").write_text("config: {hidden_dim: 6}\n")
    assert said in call(capsys, *curves(tmp_path, *words), code=2)
    assert not (tmp_path / "results").exists()


def test_a_line_that_fails_is_said_and_left_out(tmp_path, capsys):
    write_toy(tmp_path)
    import avtune.runners.work as work

    train = work.train

    def failing(trial, *arguments, **more):
        if trial.config["mining"] == "hard":
            raise RuntimeError("no luck")
        return train(trial, *arguments, **more)

    from avtune.cli.main import main

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(work, "train", failing)
        words = curves(tmp_path, "--methods", "triplet", "--seeds", "2", "--name", "two")
        assert main([str(word) for word in words]) == 1
    assert "triplet hard: 2 seeds failed: RuntimeError: no luck" in capsys.readouterr().out
    assert "triplet hard" not in (tmp_path / "results" / "two" / "curves.csv").read_text()


def test_a_name_that_looks_like_a_formula_is_drawn_as_it_is():
    panels = [[Panel("cost $ & <b>", "loss", [("a$b$ 方法", np.array([[1.0, 0.5]]))])]]
    svg, png = comparison(panels, r"$\frac{$ <svg>")
    ET.fromstring(svg)
    assert png.startswith(b"\x89PNG")


def test_the_same_curves_give_the_same_picture():
    lines = [({1: 0.1, 2: 0.3}, "COMPLETE"), ({1: 0.2}, "PRUNED")]
    assert plots.curves(lines, lines[0][0]) == plots.curves(lines, lines[0][0])
