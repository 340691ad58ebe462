"""The same command continues a study: what it takes from the record, what may change, and what a full disk does."""

import contextlib
import errno
import json
import os
import shutil

import pytest
import yaml
from toy import write_toy

import avtune.runners.work as work
from avtune.cli.main import main
from avtune.workflows.choose_runner import RUNNERS

SMALL = ["--set", "final.finalists=1", "--set", "final.seeds=1", "--trials", "4"]


def search(folder, *words):
    where = ["--name", "one", "--results", folder / "results"]
    return [str(word) for word in ("search", folder / "toy.h5", *where, "--gpus", "0", *words)]


def new(folder, *words):
    return search(folder, "--space", folder / "space.yaml", "--runner", "inline", *words)


def call(capsys, words, code=0):
    assert main([str(word) for word in words]) == code
    said = capsys.readouterr()
    assert "Traceback" not in said.err
    return said.err if code else said.out


def settings(folder):
    return yaml.safe_load((folder / "results" / "one" / "study.yaml").read_text())


def scored(folder):
    return json.loads((folder / "results" / "one" / "final" / "metrics.json").read_text())["test"]


@contextlib.contextmanager
def interrupted(at, error=KeyboardInterrupt):
    """The n-th training is interrupted."""
    train, calls = work.train, []

    def planted(*words, **more):
        calls.append(1)
        if len(calls) == at:
            raise error
        return train(*words, **more)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(work, "train", planted)
        yield


@pytest.fixture
def toy(tmp_path):
    write_toy(tmp_path)
    return tmp_path


def test_a_study_goes_on_with_its_recorded_settings_when_none_are_given(toy, capsys):
    with interrupted(3):
        call(capsys, new(toy, *SMALL, "--deterministic"), code=130)
    before = settings(toy)
    assert before["overrides"] == ["final.finalists=1", "final.seeds=1", "search.trials=4"]
    (toy / "space.yaml").rename(toy / "elsewhere.yaml")
    printed = call(capsys, search(toy))  # neither space, settings, runner nor mode
    assert "changed:" not in printed
    assert settings(toy) == before
    assert len(scored(toy)["map"]["seeds"]) == 1


def test_with_the_space_named_again_its_overrides_still_hold(toy, capsys):
    with interrupted(3):
        call(capsys, new(toy, *SMALL), code=130)
    call(capsys, new(toy))
    assert len(scored(toy)["map"]["seeds"]) == 1
    text = (toy / "space.yaml").read_text()
    (toy / "space.yaml").write_text(text.replace("batch_size: 16", "batch_size: 32"))
    assert "space.batch_size: 16 -> 32" in call(capsys, new(toy), code=2)


def test_what_changes_is_said_and_recorded(toy, capsys):
    call(capsys, new(toy, *SMALL))
    printed = call(capsys, search(toy, "--set", "final.seeds=2", "--trials", "5"))
    assert "changed: final.seeds: 1 -> 2" in printed
    assert "changed: search.trials: 4 -> 5" in printed
    assert settings(toy)["changes"] == ["search.trials: 4 -> 5", "final.seeds: 1 -> 2"]
    assert len(scored(toy)["map"]["seeds"]) == 2
    assert "final.seeds: 2" not in call(capsys, search(toy)), "the new value is the recorded one"
    assert settings(toy)["overrides"] == ["final.finalists=1", "final.seeds=2", "search.trials=5"]


def test_another_runner_is_recorded_when_something_runs(toy, capsys, monkeypatch):
    with interrupted(3):
        call(capsys, new(toy, *SMALL), code=130)
    monkeypatch.setitem(RUNNERS, "processes", RUNNERS["inline"])
    call(capsys, search(toy, "--runner", "processes"))
    assert settings(toy)["runner"] == "processes"
    assert any(line.startswith("runner: inline -> processes") for line in settings(toy)["changes"])
    before = settings(toy)
    call(capsys, search(toy, "--runner", "inline"))
    assert settings(toy) == before, "a finished study is shown again, nothing runs"


def test_the_result_of_before_is_not_taken_for_the_result_of_more_trials(toy, capsys):
    call(capsys, new(toy, *SMALL))
    with interrupted(3):  # in the finalists: two trials run first
        call(capsys, search(toy, "--trials", "6"), code=130)
    assert "interrupted; to continue" in call(capsys, ["status", "one", "--results", toy / "results"])
    assert "finished" not in call(capsys, search(toy))
    assert "finished" in call(capsys, search(toy))


def test_status_of_an_interrupted_study_says_how_to_continue(toy, capsys):
    with interrupted(3):
        call(capsys, new(toy, *SMALL), code=130)
    printed = call(capsys, ["status", "one", "--results", toy / "results"])
    command = printed.partition("to continue: avtune ")[2].split()
    assert command == ["search", str(toy / "toy.h5"), "--name", "one", "--results", str(toy / "results")]
    call(capsys, [*command, "--gpus", "0"])
    facts = json.loads(call(capsys, ["status", "one", "--results", toy / "results", "--json"]))
    assert facts["finished"]
    assert facts["running"] is None


def test_a_retraining_that_failed_is_done_again(toy, capsys):
    with interrupted(7, RuntimeError("the sky fell")):  # four trials, a finalist and the default before it
        assert "retraining failed: RuntimeError: the sky fell" in call(capsys, new(toy, *SMALL), code=1)
    call(capsys, search(toy))
    assert scored(toy)


def disk_is_full(patch, folder, after):
    """Writing below the folder fails from the n-th time on."""
    write, left = os.write, [after]

    def full(handle, data):
        if str(folder) in os.readlink(f"/proc/self/fd/{handle}"):
            left[0] -= 1
            if left[0] < 0:
                raise OSError(errno.ENOSPC, "No space left on device")
        return write(handle, data)

    patch.setattr(os, "write", full)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed")
    write_toy(folder)
    assert main(new(folder, *SMALL)) == 0
    return scored(folder)


@pytest.mark.parametrize("after", [0, 3, 12, 25])
def test_a_full_disk_ends_a_search_with_one_line_and_the_same_command_continues(
    toy, capsys, undisturbed, monkeypatch, after
):
    with monkeypatch.context() as patch:
        disk_is_full(patch, toy / "results", after)
        printed = call(capsys, new(toy, *SMALL), code=2).splitlines()
    assert "cannot be written: No space left on device" in printed[0]
    assert printed[1:] == ["the study keeps what it has; the same command continues"]
    call(capsys, search(toy))
    assert scored(toy) == undisturbed


def test_a_study_folder_that_vanishes_is_said(toy, capsys, monkeypatch):
    train = work.train

    def vanishing(trial, *words, **more):
        if trial.number == 2:
            shutil.rmtree(toy / "results")
        return train(trial, *words, **more)

    monkeypatch.setattr(work, "train", vanishing)
    printed = call(capsys, new(toy, *SMALL), code=2)
    assert "No such file or directory" in printed
    assert len(printed.splitlines()) == 1
    assert not (toy / "results").exists()


def test_tensorboard_files_that_cannot_be_written_are_no_traceback(toy, capsys, monkeypatch):
    from avtune.report import event_files

    def full(*words):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(event_files, "append", full)
    printed = call(capsys, new(toy, *SMALL), code=2)
    assert "tensorboard cannot be written: No space left" in printed


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--max-failures", "0"], "--max-failures is 0; allowed: a whole number from 1"),
        (["--trial-timeout", "0"], "--trial-timeout is 0; allowed: seconds from 0.01 to 1e8 (three years)"),
        (["--trial-timeout", "nan"], "--trial-timeout is nan"),
    ],
)
def test_limits_out_of_range_are_refused(toy, capsys, words, said):
    assert said in call(capsys, new(toy, *words), code=2)
    assert not (toy / "results").exists()
