"""Numbers that a dataset or another setting leaves no room for are said before anything is trained, never clamped
without a word."""

import pytest
from command import call
from toy import write_toy

from avtune.core.hyper import Hyper
from avtune.space.parse import parse
from avtune.study.horizon import Horizon
from avtune.study.limits import batch_note, limits

HYPERS = {
    "x": Hyper("x", "float", 0.5, 0.0, 1.0),
    "batch_size": Hyper("batch_size", "int", 256, 8, 65536, static=True),
}
LARGER = "batch_size 256 is more than the 100 training rows: a step takes all of them, and is an epoch"


def limits_of(batch: str, stopping: str = "{epochs: 9}", rows: int = 100) -> list[str]:
    space = parse(
        f"method: toy\nspace: {{x: {{type: float, low: 0.0, high: 1.0}}, {batch}}}\nearly_stopping: {stopping}",
        file="toy.yaml",
        hypers_of=lambda name: HYPERS,
        method_names=["toy"],
    )
    return limits(Horizon(space, rows))


def test_a_batch_above_the_training_rows_is_said() -> None:
    assert limits_of("") == [LARGER]
    assert limits_of("batch_size: 256") == [LARGER]
    assert limits_of("batch_size: 100") == []
    assert limits_of("", rows=0) == []  # of a study that did not record them
    assert batch_note({"batch_size": 256}, 100) == [LARGER]
    assert batch_note({}, 100) == []


@pytest.mark.parametrize(
    ("axis", "largest"),
    [
        ("{type: int, low: 32, high: 512, log: true}", 512),
        ("{type: choice, values: [64, 128]}", 128),
        ("{type: choice, values: [64, 100]}", None),
    ],
)
def test_so_is_one_that_is_searched(axis: str, largest: int | None) -> None:
    said = limits_of(f"batch_size: {axis}")
    if largest is None:
        assert said == []
    else:
        assert said == [
            f"batch_size is searched up to {largest}, and there are 100 training rows: with a larger one a step takes "
            "all of them, and is an epoch"
        ]


def test_fewer_steps_than_the_epochs_that_every_trial_may_train_are_said() -> None:
    few = "{epochs: auto, steps: 100}"
    assert limits_of("batch_size: 10", few) == [
        "early_stopping.steps is 100, but a trial may train 27 epochs however many steps they take, 270 here; a number "
        "of early_stopping.epochs has no such rule"
    ]
    assert limits_of("batch_size: 10", "{epochs: auto, steps: 261}") == []  # 27 epochs
    assert limits_of("batch_size: 10", "{epochs: auto, steps: 260}") != []  # 26
    assert limits_of("batch_size: 10", "{epochs: 9}") == []


SMALL = ["--runner", "inline", "--gpus", "0"]
QUICK = [
    "--trials",
    "1",
    "--set",
    "early_stopping.epochs=1",
    "--set",
    "final.seeds=1",
    "--set",
    "final.reference=none",
    "--set",
    "final.finalists=1",
]


def test_every_command_that_trains_says_it(tmp_path, capsys) -> None:
    data, space = write_toy(tmp_path)  # 60 rows, 45 of them in the search
    here = ["--results", tmp_path, *SMALL]
    said = call(
        capsys, "search", data, "--space", space, "--name", "one", *QUICK, "--set", "space.batch_size=64", *here
    )
    wanted = "batch_size 64 is more than the {} training rows: a step takes all of them, and is an epoch"
    assert f"note       {wanted.format(45)}\n" in said
    assert "steps an epoch" not in said
    assert f"note: {wanted.format(60)}\n" in call(capsys, "retrain", "one", *here)
    words = ["curves", data, "--methods", "triplet", "--mining", "all", "--epochs", "1", "--seeds", "1"]
    said = call(capsys, *words, "--set", "batch_size=64", *here)
    assert f"note: triplet all: {wanted.format(48)}\n" in said
    words = ["bench", data, "--methods", "triplet", "--no-reference", "--trials", "1", "--epochs", "1", "--seeds", "1"]
    said = call(capsys, *words, "--space", f"triplet={space}", *here)
    assert "batch_size" not in said
    space.write_text(space.read_text().replace("batch_size: 16", "batch_size: 64"))
    said = call(capsys, *words, "--space", f"triplet={space}", "--name", "other", *here)
    assert f"note: {wanted.format(48)}\n" in said


def test_ranks_beyond_the_clips_are_named(tmp_path, capsys) -> None:
    data, space = write_toy(tmp_path)
    call(capsys, "search", data, "--space", space, "--name", "one", *QUICK, "--results", tmp_path, *SMALL)
    said = call(capsys, "evaluate", tmp_path / "one", data, "--at", "1,24,25,100")
    assert "note: nothing at 25, 100: there are 24 clips\n" in said
    assert "note: nothing at" not in call(capsys, "evaluate", tmp_path / "one", data, "--at", "1,24")
