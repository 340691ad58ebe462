"""The files of a study, for processes that see the results folder and for those that send them: the same comes of both.
The calls of the actor are plain calls here."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from avtune.core.errors import StorageError
from avtune.core.output import Output
from avtune.core.trial import Trial
from avtune.lanes.modules import Tensors
from avtune.runners import study_files
from avtune.runners.file_server import FileServer
from avtune.runners.lane_files import LaneFiles
from avtune.runners.study_files import SeenFiles, SentFiles, StudyFiles
from avtune.runners.work import save_weights

STATE: Tensors = {"params.w": torch.arange(60.0).reshape(3, 20), "steps": torch.tensor(7)}


class Broken(Exception):
    """The sender of a part has died."""


def sent(fetch: Callable[[bytes], bytes] = lambda part: part) -> SentFiles:
    server = FileServer(fetch)
    return SentFiles(lambda method, *words: getattr(server, method)(*words), lambda part: part)


@pytest.fixture(params=["seen", "sent"])
def files(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> StudyFiles:
    monkeypatch.setattr(study_files, "PART", 64)  # so that a small file has many
    return SeenFiles() if request.param == "seen" else sent()


@pytest.fixture
def trial(tmp_path: Path) -> Trial:
    lane = tmp_path / "lanes" / "3.safetensors"
    return Trial(
        3, "psd", {}, 1, 9, lane_file=str(lane), save_to=str(tmp_path / "w.safetensors"), output=str(tmp_path / "o.txt")
    )


def test_a_lane_file_comes_back_as_it_was_saved(files: StudyFiles, trial: Trial) -> None:
    lanes = LaneFiles(files)
    assert lanes.load(trial) is None
    lanes.save(trial, [0.1], [STATE])
    lanes.save(trial, [0.1, 0.2], [STATE, {name: value.clone() for name, value in STATE.items()}])
    found = lanes.load(trial)
    assert found is not None
    values, folds = found
    assert values == [0.1, 0.2]
    assert [set(state) for state in folds] == [set(STATE)] * 2
    assert all(torch.equal(value, STATE[name]) for state in folds for name, value in state.items())
    assert lanes.load(replace(trial, seed=2)) is None, "that of another run"
    assert [path.name for path in Path(trial.lane_file or "").parent.iterdir()] == ["3.safetensors"]


def test_weights_are_written_for_this_user_alone(files: StudyFiles, trial: Trial) -> None:
    save_weights(trial, STATE, {}, 2, files)
    path = Path(trial.save_to or "")
    assert torch.equal(load_file(path)["params.params.w"], STATE["params.w"])
    assert path.stat().st_mode & 0o777 == 0o600


def test_what_cannot_be_written_is_said_with_its_path(files: StudyFiles, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    path = tmp_path / "file" / "under" / "it"
    with pytest.raises(StorageError, match=r"file/under.* cannot be written: Not a directory"):
        files.write(path, b"x")


def test_a_sender_that_dies_in_the_middle_leaves_the_file_as_it_was(
    trial: Trial, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(study_files, "PART", 64)
    LaneFiles(sent()).save(trial, [0.1], [STATE])
    left = [2]

    def fetch(part: bytes) -> bytes:
        left[0] -= 1
        if left[0] < 0:
            raise Broken
        return part

    with pytest.raises(Broken):
        LaneFiles(sent(fetch)).save(trial, [0.1, 0.2], [STATE])
    found = LaneFiles(sent()).load(trial)
    assert found is not None
    assert found[0] == [0.1]
    assert [path.name for path in Path(trial.lane_file or "").parent.iterdir()] == ["3.safetensors"]


def test_a_file_that_is_replaced_while_it_travels_is_no_state(trial: Trial, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(study_files, "PART", 64)
    server, calls = FileServer(), [0]
    LaneFiles().save(trial, [0.1], [STATE])

    def call(method: str, *words: object) -> object:
        calls[0] += 1
        if calls[0] == 4:
            LaneFiles().save(trial, [0.1, 0.2], [STATE])
        return getattr(server, method)(*words)

    lanes = LaneFiles(SentFiles(call, lambda part: part))
    assert lanes.load(trial) is None
    assert lanes.load(trial) is not None


def test_what_is_printed_is_in_the_study_once(files: StudyFiles, trial: Trial) -> None:
    here = files.received(trial)
    assert files.received(trial) == here
    output = Output(here.output, "trial 3")
    for line in ("first", "second"):
        with output.captured():
            print(line)
        files.sync()
        files.sync()
    output.close()
    lines = Path(trial.output or "").read_text().splitlines()
    assert lines[0].startswith("--- trial 3, ")
    assert lines[1:] == ["first", "second"]
    files.close()
    assert here.output is not None
    assert os.path.exists(here.output) == (here.output == trial.output)
