"""Event files read back with TensorBoard's own readers."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_file_loader import EventFileLoader
from tensorboard.backend.event_processing.plugin_event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import api_pb2, metadata
from tensorboard.util import tensor_util

from avtune.report import event_files
from avtune.report import tensorboard as board_module
from avtune.report.tensorboard import StudyBoard
from avtune.space.axis import Axis
from avtune.space.space import Space

SPACE = Space(
    "psd",
    axes=(
        Axis("margin", "float", 0.05, 1.0),
        Axis("lr", "float", 1e-5, 1e-2, log=True),
        Axis("epochs_of_warmup", "int", 1, 9),
        Axis("mining", "choice", values=("all", "hard")),
        Axis("batch_size", "choice", values=(512, 256)),
    ),
    fixed={"tau": 0.1, "swap": False, "label_loss": "l2", "embedding_dim": 64},
)
CONFIG = {**SPACE.fixed, "margin": 0.5, "lr": 1e-3, "epochs_of_warmup": 2, "mining": "hard", "batch_size": 512}


@pytest.fixture
def logdir(tmp_path: Path) -> Path:
    return tmp_path / "study" / "tensorboard"


def summaries(folder: Path) -> dict[str, bytes]:
    """The HParams records of a folder: tag to the content of its plugin."""
    return run(folder).PluginTagToContent("hparams")


def run(folder: Path) -> EventAccumulator:
    accumulator = EventAccumulator(str(folder))
    accumulator.Reload()
    return accumulator


def curve(folder: Path, tag: str) -> list[tuple[int, float]]:
    """What TensorBoard draws: step and value."""
    events = run(folder).Tensors(tag)
    return [(event.step, round(float(tensor_util.make_ndarray(event.tensor_proto)), 6)) for event in events]


def test_the_columns_are_written_once_with_their_domains(logdir: Path) -> None:
    for _ in range(2):  # a study and its continuation
        StudyBoard(logdir, SPACE).close()
    assert [path.name for path in logdir.iterdir()] == ["events.out.tfevents.000001"]
    experiment = metadata.parse_experiment_plugin_data(summaries(logdir)[metadata.EXPERIMENT_TAG])
    assert [info.name.tag for info in experiment.metric_infos] == ["map/val_best", "map/val", "usage/epochs"]
    columns = {info.display_name: info for info in experiment.hparam_infos}
    assert list(columns) == [
        *("margin", "lr", "log10_lr", "epochs_of_warmup", "mining", "batch_size"),
        *("tau", "swap", "label_loss", "embedding_dim"),
    ]
    ranges = {
        name: (info.domain_interval.min_value, info.domain_interval.max_value)
        for name, info in columns.items()
        if info.HasField("domain_interval")
    }
    assert ranges == {"margin": (0.05, 1.0), "lr": (1e-5, 1e-2), "log10_lr": (-5.0, -2.0), "epochs_of_warmup": (1, 9)}
    values = {name: list(info.domain_discrete) for name, info in columns.items() if info.HasField("domain_discrete")}
    assert values == {
        "mining": ["all", "hard"],
        "batch_size": [256, 512],
        "tau": [0.1],
        "swap": [False],
        "label_loss": ["l2"],
        "embedding_dim": [64],
    }
    assert columns["swap"].type == api_pb2.DATA_TYPE_BOOL
    assert columns["mining"].type == api_pb2.DATA_TYPE_STRING
    assert [info.display_name for info in experiment.hparam_infos if info.differs] == list(columns)[:6]


def test_a_write_of_the_columns_that_was_cut_short_is_made_good(logdir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(board_module.os, "replace", killed)
        with pytest.raises(KeyboardInterrupt):
            StudyBoard(logdir, SPACE)
    StudyBoard(logdir, SPACE).close()
    assert [path.name for path in logdir.iterdir()] == ["events.out.tfevents.000001"]
    assert metadata.EXPERIMENT_TAG in summaries(logdir)


def test_a_trial_shows_its_configuration_from_its_start(logdir: Path) -> None:
    board = StudyBoard(logdir, SPACE)
    board.start(42, CONFIG)
    content = summaries(logdir / "trial_00042")  # read while the trial is under way
    assert metadata.SESSION_END_INFO_TAG not in content
    info = metadata.parse_session_start_info_plugin_data(content[metadata.SESSION_START_INFO_TAG])
    got = {name: getattr(value, value.WhichOneof("kind")) for name, value in info.hparams.items()}
    assert got == {
        "1.margin": 0.5,
        **{name: value for name, value in CONFIG.items() if name != "margin"},
        "~log10_lr": math.log10(1e-3),
    }
    assert type(got["swap"]) is bool
    assert info.group_name == "trial_00042"
    board.close()


def test_scalars_are_readable_after_every_epoch(logdir: Path) -> None:
    board = StudyBoard(logdir, SPACE)
    board.start(0, CONFIG)
    for epoch, val_map in enumerate((0.2, 0.5, 0.3), start=1):
        board.epoch(0, epoch, {"loss": 1 / epoch, "map/val": val_map})
        assert curve(logdir / "trial_00000", "map/val")[-1] == (epoch, val_map)
    assert curve(logdir / "trial_00000", "loss") == [(1, 1.0), (2, 0.5), (3, 0.333333)]
    assert curve(logdir / "trial_00000", "map/val_best") == [(1, 0.2), (2, 0.5), (3, 0.5)]
    board.close()


def test_values_that_are_not_finite_are_left_out(logdir: Path) -> None:
    board = StudyBoard(logdir, SPACE)
    board.start(0, CONFIG)
    board.epoch(0, 1, {"loss": math.nan, "map/val": math.nan, "r": 0.9})
    board.epoch(0, 2, {"loss": math.inf, "map/val": 0.4, "r": 1e300})
    board.epoch(0, 3, {"loss": 2.0, "map/val": -math.inf, "r": 0.7})
    folder = logdir / "trial_00000"
    assert curve(folder, "loss") == [(3, 2.0)]
    assert curve(folder, "r") == [(1, 0.9), (3, 0.7)]
    assert curve(folder, "map/val") == [(2, 0.4)]
    assert curve(folder, "map/val_best") == [(2, 0.4), (3, 0.4)]
    board.close()


@pytest.mark.parametrize(
    ("status", "shown"),
    [
        ("COMPLETE", api_pb2.STATUS_SUCCESS),
        ("PRUNED", api_pb2.STATUS_SUCCESS),
        ("FAIL", api_pb2.STATUS_FAILURE),
    ],
)
def test_the_end_of_a_trial(logdir: Path, status: str, shown: int) -> None:
    board = StudyBoard(logdir, SPACE)
    board.start(7, CONFIG)
    board.end(7, status)  # type: ignore[arg-type]
    content = summaries(logdir / "trial_00007")[metadata.SESSION_END_INFO_TAG]
    assert metadata.parse_session_end_info_plugin_data(content).status == shown
    board.close()


def test_a_trial_that_goes_on_after_a_kill_replaces_its_repeated_epochs(logdir: Path) -> None:
    folder = logdir / "trial_00003"
    board = StudyBoard(logdir, SPACE)
    board.start(3, CONFIG)
    for epoch in range(1, 6):
        board.epoch(3, epoch, {"map/val": 0.1 * epoch})
    board.close()
    (first,) = folder.iterdir()
    first.write_bytes(first.read_bytes()[:-5])  # killed in the middle of epoch 5

    board = StudyBoard(logdir, SPACE)
    board.start(3, CONFIG, best=0.3, known=3)
    for epoch in range(4, 7):
        board.epoch(3, epoch, {"map/val": 0.25})
    board.end(3, "COMPLETE")
    board.close()

    assert len(list(folder.iterdir())) == 2  # one of epochs 1 to 3, one of those since
    assert curve(folder, "map/val") == [(1, 0.1), (2, 0.2), (3, 0.3), (4, 0.25), (5, 0.25), (6, 0.25)]
    assert curve(folder, "map/val_best") == [(1, 0.1), (2, 0.2), (3, 0.3), (4, 0.3), (5, 0.3), (6, 0.3)]
    info = metadata.parse_session_start_info_plugin_data(summaries(folder)[metadata.SESSION_START_INFO_TAG])
    assert info.hparams["1.margin"].number_value == 0.5
    assert metadata.SESSION_END_INFO_TAG in summaries(folder)


def test_a_trial_may_start_again_in_the_same_process(logdir: Path) -> None:
    board = StudyBoard(logdir, SPACE)
    for val_map in (0.9, 0.1):
        board.start(0, CONFIG)
        for epoch in (1, 2):
            board.epoch(0, epoch, {"map/val": val_map})
    board.close()
    assert curve(logdir / "trial_00000", "map/val") == [(1, 0.1), (2, 0.1)]
    assert curve(logdir / "trial_00000", "map/val_best") == [(1, 0.1), (2, 0.1)]


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="counts open files through /proc")
def test_open_files_are_bounded(logdir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(board_module, "MOST_OPEN", 4)
    board = StudyBoard(logdir, SPACE)
    before = open_files()
    for epoch in (1, 2):
        for number in range(12):
            if epoch == 1:
                board.start(number, CONFIG)
            board.epoch(number, epoch, {"map/val": 0.5})
        assert open_files() == before + 4
    board.end(0, "PRUNED")
    board.start(12, CONFIG)  # takes the place of trial 0
    assert open_files() == before + 4
    for number in range(1, 13):
        board.end(number, "COMPLETE")
    assert open_files() == before
    for number in range(12):
        assert curve(logdir / f"trial_{number:05d}", "map/val") == [(1, 0.5), (2, 0.5)]


def test_records_are_whole_and_carry_the_format_version(logdir: Path) -> None:
    board = StudyBoard(logdir, SPACE)
    board.start(0, CONFIG)
    board.epoch(0, 1, {"map/val": 0.5})
    board.end(0, "COMPLETE")
    board.close()
    (path,) = (logdir / "trial_00000").iterdir()
    events = list(EventFileLoader(str(path)).Load())
    kinds = [event.WhichOneof("what") for event in events]
    assert kinds == ["file_version", "summary", "summary", "summary"]
    assert events[0].file_version == "brain.Event:2"
    assert all(event.wall_time > 0 for event in events)


def test_a_failed_trial_that_is_trained_again_does_not_stay_failed(logdir: Path) -> None:
    for status, shown in (("FAIL", api_pb2.STATUS_FAILURE), ("COMPLETE", api_pb2.STATUS_SUCCESS)):
        board = StudyBoard(logdir, SPACE)
        board.start(0, CONFIG)
        board.epoch(0, 1, {"map/val": 0.5})
        content = summaries(logdir / "trial_00000")
        assert metadata.SESSION_END_INFO_TAG not in content
        board.end(0, status)  # type: ignore[arg-type]
        content = summaries(logdir / "trial_00000")[metadata.SESSION_END_INFO_TAG]
        assert metadata.parse_session_end_info_plugin_data(content).status == shown
    assert curve(logdir / "trial_00000", "map/val") == [(1, 0.5)]


def test_epochs_that_do_not_count_go_at_the_end(logdir: Path) -> None:
    board = StudyBoard(logdir, SPACE)
    board.start(0, CONFIG)
    for epoch in range(1, 6):
        board.epoch(0, epoch, {"map/val": 0.1 * epoch})
    board.end(0, "PRUNED", last=3)
    assert curve(logdir / "trial_00000", "map/val") == [(1, 0.1), (2, 0.2), (3, 0.3)]
    assert curve(logdir / "trial_00000", "map/val_best")[-1] == (3, 0.3)
    assert metadata.SESSION_END_INFO_TAG in summaries(logdir / "trial_00000")


def test_a_thinned_trial_keeps_its_configuration_its_end_and_what_was_named(logdir: Path) -> None:
    board = StudyBoard(logdir, SPACE)
    board.start(0, CONFIG)
    for epoch in range(1, 41):
        board.epoch(0, epoch, {"map/val": 0.01 * epoch, "train/loss": 1.0})
    board.end(0, "COMPLETE")
    folder = logdir / "trial_00000"
    before, size = summaries(folder), sum(path.stat().st_size for path in folder.iterdir())
    for _ in range(2):
        board.thin(0, {3, 9, 40})
        (path,) = folder.iterdir()
        assert path.stat().st_size < size / 4
        assert curve(folder, "map/val") == [(3, 0.03), (9, 0.09), (40, 0.4)]
        assert summaries(folder) == before


def test_a_kill_while_a_file_is_replaced_leaves_what_was_there(logdir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    board = StudyBoard(logdir, SPACE)
    board.start(0, CONFIG)
    for epoch in range(1, 9):
        board.epoch(0, epoch, {"map/val": 0.1 * epoch})
    board.end(0, "COMPLETE")
    folder = logdir / "trial_00000"

    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    for owner, name in ((event_files.os, "replace"), (Path, "unlink")):
        with monkeypatch.context() as patch:
            patch.setattr(owner, name, killed)
            with pytest.raises(KeyboardInterrupt):
                board.thin(0, {8})
        assert curve(folder, "map/val")[-1] == (8, 0.8)
        assert metadata.SESSION_END_INFO_TAG in summaries(folder)
    board.start(0, CONFIG, known=8)  # both files are there
    board.end(0, "COMPLETE")
    assert (8, 0.8) in curve(folder, "map/val")


def test_neither_torch_nor_tensorflow_is_imported() -> None:
    code = "import sys, avtune.report.tensorboard; print(*sys.modules)"
    modules = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "avtune.report.tensorboard" in modules
    assert not {"torch", "tensorflow", "ray"} & set(modules)
