"""Failed trials that are trained again: the same from the files as in memory, at any moment."""

import json
import random
import shutil
import sys
from pathlib import Path

import optuna
import pytest
from command import call
from test_study import make_folder, make_space, outcome, value_of  # noqa: F401
from user_code import function_search, method_search

from avtune.core.errors import UserError
from avtune.study.folder import StudyFolder
from avtune.study.status import read_status
from avtune.study.study import Study

BROKEN = {1: 0, 4: 2, 5: 1}
"""Trials that a bug fails, and after how many epochs."""


def drive(study, *, broken=None, lanes=1, draw=None, most=10**6):
    """Runs `lanes` trials at a time, at most so many epochs."""
    running = {}
    while most and not study.exhausted:
        while len(running) < lanes and (trial := study.ask()) is not None:
            running[trial.number] = (trial, 0)
        number = draw.choice(sorted(running)) if draw else min(running)
        trial, epoch = running.pop(number)
        if (broken or {}).get(number) == epoch:
            study.tell(number, "SystemExit: 3", "a traceback")
            continue
        most -= 1
        goes_on = study.report(number, epoch + 1, {"val_map": value_of(trial, epoch + 1), "seconds": 0.5})
        if goes_on and epoch + 1 < trial.epochs:
            running[number] = (trial, epoch + 1)
        else:
            study.tell(number)


def failed_study(folder, **more):
    study = Study(folder, make_space(), **more)
    drive(study, broken=BROKEN)
    assert [record.number for record in study.records if record.state == "FAIL"] == sorted(BROKEN)
    return study


def inside(study):
    """All that decides what happens next."""
    rungs = study._rungs.asha.values()
    return outcome(study), rungs, [record.rungs_decided for record in study.records], study._running


def again(study):
    return Study(study.folder, study.space, deterministic=study.deterministic)


def test_epochs_that_were_taken_back_do_not_count(make_folder):  # noqa: F811
    study = failed_study(make_folder())
    study = Study(study.folder, study.space)
    study.retry_failed()
    drive(study)
    status, lines = read_status(study.folder), study.folder.curves.read_text().splitlines()
    count = sum(record.values.last for record in study.records)
    assert (status["epochs"], status["seconds"]) == (count, 0.5 * count)
    trained = sum("epoch" in json.loads(line) for line in lines)
    assert trained == count + sum(BROKEN.values())
    assert (status["epochs_trained"], status["seconds_trained"]) == (trained, 0.5 * trained)


@pytest.mark.parametrize("deterministic", [False, True])
def test_they_are_trained_again_with_their_numbers_seeds_and_configurations(make_folder, deterministic):  # noqa: F811
    study = failed_study(make_folder(), deterministic=deterministic)
    before = [record.trial for record in study.records]
    assert study.retry_failed() == sorted(BROKEN)
    assert not study.exhausted
    assert inside(again(study)) == inside(study)
    states = read_status(study.folder)["states"]
    assert (states["FAIL"], states["RUNNING"]) == (0, 3)
    drive(study)
    assert study.exhausted
    assert study.count("FAIL") == 0
    assert [record.trial for record in study.records] == before
    assert inside(again(study))[0] == outcome(study)
    assert inside(again(study))[1] == inside(study)[1]
    assert study.retry_failed() == []
    assert read_status(study.folder)["states"]["FAIL"] == 0
    log = study.folder.log.read_text()
    assert "trial 4 is trained again; it failed: SystemExit: 3" in log


def test_the_values_that_a_failed_trial_left_at_rungs_go(make_folder):  # noqa: F811
    study = failed_study(make_folder())
    seen = study._rungs.asha.seen(0)
    study.retry_failed()
    assert study._rungs.asha.seen(0) == seen - 2  # trials 4 and 5 had trained an epoch
    drive(study)
    assert study._rungs.asha.seen(0) == len(study.records)


def test_a_trial_that_fails_again_can_be_tried_again(make_folder):  # noqa: F811
    study = failed_study(make_folder())
    study.retry_failed()
    drive(study, broken={4: 1})
    assert again(study).records[4].state == "FAIL"
    assert study.retry_failed() == [4]
    drive(study)
    assert again(study).count("FAIL") == 0


@pytest.mark.parametrize("deterministic", [False, True])
def test_a_kill_at_any_line_is_safe(make_folder, deterministic, tmp_path):  # noqa: F811
    study = failed_study(make_folder(), deterministic=deterministic)
    first = len(study.folder.curves.read_bytes().splitlines())
    study.retry_failed()
    drive(study)
    lines = study.folder.curves.read_bytes().splitlines(keepends=True)
    for kept in range(first, len(lines) + 1):
        folder = StudyFolder(tmp_path / f"{kept}")
        shutil.copytree(study.folder.root, folder.root)
        folder.curves.write_bytes(b"".join(lines[:kept]) + lines[kept][:5] if kept < len(lines) else b"".join(lines))
        one = Study(folder, study.space, deterministic=deterministic)
        drive(one)
        assert one.exhausted
        if one.retry_failed():
            drive(one)
        assert one.count("FAIL") == 0
        assert outcome(one) == outcome(study), kept


@pytest.mark.parametrize("seed", range(5))
def test_a_deterministic_study_has_one_result_however_many_train_at_a_time(make_folder, seed):  # noqa: F811
    results = []
    for name, lanes in (("one", 1), ("many", 4)):
        study = Study(make_folder(name), make_space(trials=20, lag=5), deterministic=True)
        draw = random.Random(seed) if lanes > 1 else None
        drive(study, broken=BROKEN, lanes=lanes, draw=draw)
        study.retry_failed()
        drive(study, lanes=lanes, draw=draw)
        longer = Study(study.folder, make_space(trials=28, lag=5), deterministic=True)
        drive(longer, lanes=lanes, draw=draw)
        results.append(outcome(longer))
    assert results[0] == results[1]


def test_a_deterministic_study_retries_when_all_have_ended(make_folder):  # noqa: F811
    study = Study(make_folder(), make_space(), deterministic=True)
    drive(study, broken=BROKEN, most=20)
    before = study.folder.curves.read_bytes()
    with pytest.raises(UserError, match="must all have ended first"):
        study.retry_failed()
    assert study.folder.curves.read_bytes() == before


def test_optunas_journal_has_the_failed_trial_and_the_one_in_its_place(make_folder):  # noqa: F811
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    study = failed_study(make_folder())
    shown = study._sampler._window.get_all_trials(0)
    study.retry_failed()
    drive(study)
    assert len(study._sampler._window.get_all_trials(0)) == len(shown) + len(BROKEN)
    theirs = optuna.load_study(
        study_name=study.folder.root.name, storage=JournalStorage(JournalFileBackend(str(study.folder.journal)))
    )
    assert len(theirs.trials) == len(study.records) + len(BROKEN)
    last = {trial.user_attrs["trial"]: trial for trial in theirs.trials}
    for record in study.records:
        assert last[record.number].state.name == record.state
        assert last[record.number].params["x"] == record.trial.config["x"]
    reopened = again(study)
    assert len(reopened._sampler._journal._storage.get_all_trials(0)) == len(theirs.trials), "told once"
    assert [t.params for t in reopened._sampler._window.get_all_trials(0)] == [
        t.params for t in study._sampler._window.get_all_trials(0)
    ]


@pytest.mark.parametrize("lines", [1, 2, -1])
def test_a_kill_while_the_one_in_its_place_is_written(make_folder, lines):  # noqa: F811
    """`lines` of it are in the journal."""
    study = failed_study(make_folder())
    before = len(study.folder.journal.read_bytes().splitlines())
    study.retry_failed()
    drive(study)
    whole = study.folder.journal.read_bytes().splitlines(keepends=True)
    codes = [json.loads(line)["op_code"] for line in whole[before:]]
    added = whole[before : before + codes.index(6) + 1]  # of the first of them, up to its end
    assert codes[0] == 4
    study.folder.journal.write_bytes(b"".join(whole[:before] + added[:lines]))
    reopened = again(study)
    assert inside(reopened) == inside(study)
    told = [(t.user_attrs["trial"], t.state.name) for t in reopened._sampler._journal._storage.get_all_trials(0)]
    assert sorted(told) == sorted(
        [(one.number, one.state) for one in study.records] + [(number, "FAIL") for number in BROKEN]
    )


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ({"again": [0]}, "trial 0 has ended before"),
        ({"again": [1, 1]}, "neither an epoch nor an end"),
        ({"again": [99]}, "neither an epoch nor an end"),
        ({"again": ["1"]}, "it names no trial"),
        ({"again": []}, "it names no trial"),
        ({"again": True}, "it names no trial"),
        ({"trial": 1, "again": [1]}, "trial 1 has ended before"),
    ],
)
def test_a_line_that_retries_what_has_not_failed_is_damage(make_folder, line, said):  # noqa: F811
    study = failed_study(make_folder())
    with study.folder.curves.open("a") as file:
        file.write(json.dumps(line) + "\n")
    with pytest.raises(UserError, match=said):
        again(study)


def counts():
    return read_status(StudyFolder(Path("results/one")))["states"]


def test_a_search_says_how_and_the_same_command_with_it_mends_the_study(workplace, capsys, forget):
    words = function_search("if config['x'] < 0.5: sys.exit(3)", "--trials", "6")
    printed = call(capsys, *words)
    failed = counts()["FAIL"]
    assert failed
    assert f"{failed} of 6 trials failed (first: trial " in printed
    assert "the same command with --retry-failed" in printed.splitlines()[-1]
    assert "--retry-failed" in call(capsys, *words), "also when it is shown again"
    forget()
    sys.modules.pop("mine")
    function_search("pass")
    printed = call(capsys, *words, "--retry-failed")
    assert "changed: trained again after failing: trial" in printed
    assert "[6/6] trial" in printed
    assert "[7/6]" not in printed
    assert "trials failed" not in printed
    assert counts() == {"COMPLETE": 6, "PRUNED": 0, "FAIL": 0, "RUNNING": 0}
    rows = Path("results/one/trials.csv").read_text().splitlines()[1:]
    assert all(",COMPLETE," in row for row in rows)
    printed = call(capsys, *words, "--retry-failed")
    assert "nothing to retry: no trial and no finalist of this study has failed" in printed
    assert "finished" in printed


def test_where_every_trial_failed(workplace, capsys, forget):
    words = function_search("raise RuntimeError('a bug')")
    assert "with --retry-failed" in call(capsys, *words, code=1)
    forget()
    sys.modules.pop("mine")
    function_search("pass")
    assert "with --retry-failed" in call(capsys, *words, code=1), "without it they stay failed"
    assert "retrained winner" in call(capsys, *words, "--retry-failed")


NOT_OF_THE_SEARCH = "data.seed not in (7396195398841668208, 608502472262218981, 964133096545002028)"


def test_failed_finalists_are_run_again(workplace, capsys, forget):
    bug = f"if {NOT_OF_THE_SEARCH} and not __import__('os').path.exists('mended'): raise RuntimeError('a bug')"
    words = function_search(bug, "--trials", "3")
    printed = call(capsys, *words, code=1)
    assert "every finalist failed; the first: RuntimeError: a bug" in printed
    assert "with --retry-failed" in printed
    Path("mended").touch()
    assert "every finalist failed" in call(capsys, *words, code=1), "without it they stay failed"
    printed = call(capsys, *words, "--retry-failed")
    assert "changed: trained again after failing: 1 run of finalists or retrainings" in printed
    assert "retrained winner" in printed


def test_runs_of_finalists_by_other_code_are_other_runs(workplace, capsys, forget):
    words = function_search(f"if {NOT_OF_THE_SEARCH}: raise RuntimeError('a bug')", "--trials", "3")
    assert "every finalist failed" in call(capsys, *words, code=1)
    forget()
    sys.modules.pop("mine")
    function_search("pass")
    printed = call(capsys, *words)
    assert "its earlier trials ran the old code" in printed
    assert "retrained winner" in printed


def test_a_new_study_has_nothing_to_retry(workplace, capsys):
    assert "nothing to retry" in call(capsys, *method_search("pass", "--retry-failed", "--trials", "1"))
