"""`avtune finish` and `--stop-when-flat`: searches with fewer trials than they were asked for."""

import contextlib
import os

import pytest
import yaml
from command import call
from test_continue import interrupted
from toy import SPACE, toy_dataset, write_toy

import avtune
import avtune.runners.work as work
from avtune.study.ending import Stopped
from avtune.study.folder import StudyFolder
from avtune.study.holder import this_process
from avtune.workflows import end_early
from avtune.workflows.end_early import still_ended

SMALL = ["--set", "final.finalists=1", "--set", "final.seeds=1", "--trials", "6", "--epochs", "3"]


@pytest.fixture
def toy(tmp_path, monkeypatch):
    write_toy(tmp_path)
    monkeypatch.setattr(end_early, "EVERY", 0.0)
    return tmp_path


def words(folder, *more):
    where = ["--name", "one", "--results", folder / "results", "--gpus", "0", "--runner", "inline"]
    return ["search", folder / "toy.h5", "--space", folder / "space.yaml", *where, *SMALL, *more]


def finish(folder, *more):
    return ["finish", "one", "--results", folder / "results", "--gpus", "0", *more]


def settings(folder):
    return yaml.safe_load((folder / "results" / "one" / "study.yaml").read_text())


@contextlib.contextmanager
def at_training(number, act):
    """Does something when the n-th training begins."""
    train, calls = work.train, []

    def planted(*given, **more):
        calls.append(1)
        if len(calls) == number:
            act()
        return train(*given, **more)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(work, "train", planted)
        yield


def test_an_interrupted_search_is_finished_verified_and_goes_on_with_more_trials(toy, capsys):
    with interrupted(4):
        call(capsys, *words(toy), code=130)
    printed = call(capsys, *finish(toy))
    assert "stopped after 4 of 6 trials: ended by avtune finish" in printed
    assert "retrained winner" in printed
    assert settings(toy)["stopped"] == {"trials": 4, "by": "finish", "seconds": 0.0}
    study = avtune.load_study("one", results=toy / "results")
    assert (study.state, len(study.trials)) == ("finished", 4)
    assert "no difference" in call(capsys, "verify", "one", "--results", toy / "results")
    for command in (finish(toy), words(toy)):
        again = call(capsys, *command)
        assert "this study is finished; here is its result again" in again
        assert "stopped after 4 of 6 trials" in again
    status = call(capsys, "status", "one", "--results", toy / "results")
    assert "4 of 4 ended (" in status
    assert "ended early: 6 were asked for" in " ".join(status.split())
    (toy / "results" / "one" / "finish").write_text("left by a kill\n")
    printed = call(capsys, *words(toy, "--trials", "7"))
    assert "changed: the search goes on; it was stopped after 4 of 6 trials: ended by avtune finish" in printed
    assert "stopped" not in settings(toy)
    assert len(study.trials) == 7


def test_one_that_is_given_more_epochs_goes_on(toy, capsys):
    with interrupted(4):
        call(capsys, *words(toy), code=130)
    call(capsys, *finish(toy))
    study = avtune.load_study("one", results=toy / "results")
    assert list(study.trials["state"][:3]).count("COMPLETE") > 0
    printed = call(capsys, *words(toy, "--epochs", "5"))
    assert "changed: the search goes on; it was stopped after 4 of 6 trials: ended by avtune finish" in printed
    assert "stopped" not in settings(toy)
    assert len(study.trials) == 6
    ended = study.trials[study.trials["state"] == "COMPLETE"]
    assert list(ended["epochs"]) == [5] * len(ended)
    assert len(ended) > 0
    assert "no difference" in call(capsys, "verify", "one", "--results", toy / "results")


def test_its_failed_trials_can_be_trained_again(toy, capsys):
    def fail():
        raise ValueError("planted")

    whole = ["--set", "early_stopping.grace=3"]
    with interrupted(4), at_training(2, fail):
        call(capsys, *words(toy, *whole), code=130)
    call(capsys, *finish(toy))
    study = avtune.load_study("one", results=toy / "results")
    assert list(study.trials["state"][:2]) == ["COMPLETE", "FAIL"]
    call(capsys, *words(toy, "--retry-failed"))
    assert list(study.trials["epochs"][:2]) == [3, 3]
    assert list(study.trials["state"][:2]) == ["COMPLETE", "COMPLETE"]
    assert settings(toy)["stopped"]["again"] == [1]
    assert "no difference" in call(capsys, "verify", "one", "--results", toy / "results")


def test_a_running_search_is_asked_to_end(toy, capsys):
    with at_training(3, lambda: said.append(call(capsys, *finish(toy)))):
        said = []
        printed = call(capsys, *words(toy))
    assert "asked process" in said[0]
    assert "trials that are running end with their next epoch, and the finals follow" in " ".join(said[0].split())
    assert "stopped after 3 of 6 trials: ended by avtune finish" in printed
    study = avtune.load_study("one", results=toy / "results")
    assert (study.state, len(study.trials)) == ("finished", 3)
    assert list(study.trials["epochs"])[2] == 1
    assert not (toy / "results" / "one" / "finish").exists()
    assert "no difference" in call(capsys, "verify", "one", "--results", toy / "results")


def test_an_end_while_the_last_trials_are_running_is_said(toy, capsys):
    with at_training(2, lambda: call(capsys, *finish(toy))):
        printed = call(capsys, *words(toy, "--trials", "2"))
    assert printed.count("ended by avtune finish while 1 of 2 trials were running") == 2, "then, and with the result"
    assert settings(toy)["stopped"]["running"] == 1
    again = call(capsys, *words(toy, "--trials", "2"))
    assert "this study is finished; here is its result again" in again
    assert "ended by avtune finish while 1 of 2 trials were running" in again
    assert "no difference" in call(capsys, "verify", "one", "--results", toy / "results")


@pytest.mark.parametrize(("suggested", "goes_on"), [(2, False), (1, True)])
def test_more_time_has_one_go_on_only_where_trials_were_not_suggested(suggested, goes_on):
    stopped = Stopped(suggested, "time", 60.0, running=int(not goes_on))
    before = {"space": {"search": {"trials": 2}}, "stopped": stopped.to_json()}
    for seconds in (None, 90.0):
        kept, said = still_ended(before, False, seconds, finish=False)
        assert (kept == {}, bool(said)) == (goes_on, goes_on)
        assert kept in ({}, {"stopped": stopped.to_json()})


def test_one_whose_finals_are_under_way_is_not_asked(toy, capsys):
    with at_training(3, lambda: said.append(call(capsys, *finish(toy)))):
        said = []
        call(capsys, *words(toy, "--trials", "2"))
    assert "is over, and its finals are under way: there is nothing to end" in " ".join(said[0].split())
    assert not (toy / "results" / "one" / "finish").exists()


def test_a_request_to_a_process_that_has_ended_does_not_end_the_next_search(toy, capsys):
    with interrupted(3):
        call(capsys, *words(toy), code=130)
    (toy / "results" / "one" / "finish").write_text("process 7 on elsewhere is asked to end the search\n")
    printed = " ".join(call(capsys, *words(toy)).split())
    assert "avtune finish had asked process 7 on elsewhere, which has ended, to end its search" in printed
    assert "stopped" not in settings(toy)
    assert len(avtune.load_study("one", results=toy / "results").trials) == 6
    assert not (toy / "results" / "one" / "finish").exists()


@pytest.mark.parametrize(("after", "kept"), [(-1_000_000_000, False), (1_000_000_000, True)])
def test_a_request_to_this_process_counts_if_it_came_after_the_lock(tmp_path, after, kept):
    """A process may have the number of an earlier one, e.g. 1 in a container."""
    folder = StudyFolder(tmp_path)
    with folder.locked():
        folder.finish.write_text(f"{this_process()} is asked to end the search\n")
        then = folder.lock.stat().st_mtime_ns + after
        os.utime(folder.finish, ns=(then, then))
        assert bool(end_early.drop_request(folder)) != kept
        assert folder.finish.exists() == kept


def test_a_search_that_is_under_way_ignores_a_request_to_another_process(toy, capsys):
    def ask():
        (toy / "results" / "one" / "finish").write_text("process 7 on elsewhere is asked to end the search\n")

    with at_training(3, ask):
        call(capsys, *words(toy))
    assert "stopped" not in settings(toy)
    assert not (toy / "results" / "one" / "finish").exists()


def test_what_works_on_a_study_without_searching_is_not_asked(toy, capsys):
    with interrupted(3):
        call(capsys, *words(toy), code=130)
    said, inline = [], ["--runner", "inline", "--gpus", "0"]
    with at_training(1, lambda: said.append(call(capsys, *finish(toy), code=2))):
        call(capsys, "retrain", "one", "--results", toy / "results", "--trial", "0", "--seeds", "1", *inline)
    assert f"has no search to end: {this_process()} is retraining trial 0" in " ".join(said[0].split())
    folder = StudyFolder(toy / "results" / "one")
    with folder.locked("retraining trial 0"):
        with pytest.raises(avtune.UserError, match="is retraining trial 0"):
            avtune.finish("one", results=toy / "results")
        with pytest.raises(avtune.UserError, match=r", which is retraining trial 0\); wait"), folder.locked():
            pytest.fail("it is held")
        assert avtune.load_study("one", results=toy / "results").state == "stopped"
    assert not folder.finish.exists()


def test_a_lock_of_an_earlier_version_is_one_of_a_search(tmp_path):
    folder = StudyFolder(tmp_path)
    with folder.locked("retraining trial 0"):
        assert (folder.search_owner(), folder.owner()) == (None, this_process())
        folder.lock.write_text("process 7 on host")
        assert folder.search_owner() == folder.owner() == "process 7 on host"


def test_one_that_came_too_late_leaves_nothing(toy, capsys):
    call(capsys, *words(toy, "--trials", "1"))
    (toy / "results" / "one" / "finish").write_text("process 7 is asked to end the search\n")
    call(capsys, *words(toy, "--trials", "1"))
    assert not (toy / "results" / "one" / "finish").exists()
    assert "stopped" not in settings(toy)


def test_what_cannot_be_finished_is_said(toy, capsys):
    with interrupted(1):
        call(capsys, *words(toy), code=130)
    assert "no trial of" in call(capsys, *finish(toy), code=2)
    (toy / "results" / "bench.yaml").write_text("format: 1\n")
    assert "is part of a bench" in call(capsys, *finish(toy), code=2)
    said = call(capsys, "finish", "tow", "--results", toy / "results", code=2)
    assert "no study is called 'tow'" in said


def test_python_finishes_a_study_of_arrays(toy):
    small = {"trials": 5, "epochs": 2, "set": {"final.finalists": 1, "final.seeds": 1}, "quiet": True, "gpus": 0}
    how = {"space": yaml.safe_load(SPACE), "results": toy / "results", "name": "one", "runner": "inline"}
    with interrupted(3), pytest.raises(KeyboardInterrupt):
        avtune.search(toy_dataset(), **how, **small)
    study = avtune.finish("one", data=toy_dataset(), results=toy / "results", gpus=0, quiet=True)
    assert (study.state, len(study.trials)) == ("finished", 3)
    with pytest.raises(avtune.UserError, match=r"^no study"):
        avtune.finish("tow", results=toy / "results")


def test_a_search_whose_best_is_flat_says_so_and_more_patience_continues_it(toy, capsys):
    flat = ["--trials", "30", "--set", "search.startup_trials=1", "--stop-when-flat", "2"]
    printed = call(capsys, *words(toy, *flat))
    study = avtune.load_study("one", results=toy / "results")
    ended = len(study.trials)
    assert f"stopped after {ended} of 30 trials: best has not risen for 2" in printed
    assert ended < 30
    assert settings(toy)["space"]["search"]["stop_when_flat"] == 2
    assert "no difference" in call(capsys, "verify", "one", "--results", toy / "results")
    printed = call(capsys, *words(toy, "--trials", "30", "--set", "search.startup_trials=1", "--stop-when-flat", "3"))
    assert "changed: search.stop_when_flat: 2 -> 3" in printed
    assert len(study.trials) > ended
