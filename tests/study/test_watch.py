"""A study seen from outside, while it runs: the same records as those of who runs it, and nothing is touched."""

import os
import random
from dataclasses import replace

import pytest
from test_study import HYPERS, make_space

from avtune.core.errors import UserError
from avtune.core.files import to_yaml
from avtune.core.hyper import Hyper
from avtune.space.parse import parse
from avtune.space.recorded import recorded_space
from avtune.study.folder import StudyFolder
from avtune.study.horizon import Horizon
from avtune.study.study import Study
from avtune.study.summary import summary
from avtune.study.watch import StudyWatch


def nobody(method):
    raise AssertionError("the defaults are not needed")


def folder_of(root, space, **settings):
    folder = StudyFolder(root / "one")
    given = {"format": 1, "dataset": {"name": "toy", "digest": ""}, "space": space.as_dict(), "precision": "fp32"}
    folder.create(given | {"deterministic": False} | settings, {})
    return folder


def state_of(records):
    return [
        (
            record.number,
            dict(record.trial.config),
            record.state,
            list(record.values.values()),
            record.stopped_at,
            record.rungs_decided,
            tuple(record.trial.save_at),
            record.seconds,
            record.ended_flat,
            record.reason,
        )
        for record in records
    ]


@pytest.mark.parametrize("deterministic", [False, True])
def test_it_sees_what_the_driver_knows_after_every_step(deterministic, tmp_path):
    draw = random.Random(3)
    space = make_space("x: {type: float, low: 0.0, high: 1.0}, kind: {type: choice, values: [a, b]}", trials=20)
    folder = folder_of(tmp_path, space, deterministic=deterministic)
    watch = StudyWatch(folder, nobody)
    assert watch.records == []
    study = Study(folder, space, deterministic=deterministic)
    running = {}
    for step in range(400):
        if len(running) < 5 and (trial := study.ask()) is not None:
            running[trial.number] = trial
        if not running:
            break
        number = draw.choice(sorted(running))
        epoch = study.records[number].values.last + 1
        if draw.random() < 0.02:
            study.tell(number, "it broke")
        elif not study.report(number, epoch, {"val_map": draw.random(), "seconds": 0.5}) or epoch == 9:
            study.tell(number)
        if study.records[number].is_over:
            del running[number]
        if step % 7 == 0:
            watch.look()
            assert state_of(watch.records) == state_of(study.records)
    study.retry_failed()
    watch.look()
    assert state_of(watch.records) == state_of(study.records)
    assert state_of(StudyWatch(folder, nobody).records) == state_of(study.records)
    counted, known = summary(watch.records, 20, watch.horizon), summary(study.records, 20, study.horizon)
    assert counted.best.number == known.best.number
    assert replace(counted, best=None, running=()) == replace(known, best=None, running=())
    assert counted.ended + len(counted.running) == counted.begun == 20
    first = counted.rungs[0]
    assert first.reached == sum(record.values.last >= 1 for record in study.records)
    assert first.stopped == sum(record.stopped_at == 1 for record in study.records)
    study.close()


def test_nothing_is_written_or_locked(tmp_path, monkeypatch):
    space = make_space()
    folder = folder_of(tmp_path, space)
    study = Study(folder, space)
    study.report(study.ask().number, 1, {"val_map": 0.5})
    with folder.curves.open("ab") as file:
        file.write(b'{"torn')
    with folder.journal.open("ab") as file:
        file.write(b'{"torn')
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.root.rglob("*") if path.is_file()}
    opened, flags = os.open, []
    monkeypatch.setattr(os, "open", lambda path, flag, *more: (flags.append(flag), opened(path, flag, *more))[1])
    watch = StudyWatch(folder, nobody)
    watch.look()
    assert [record.values.last for record in watch.records] == [1]
    assert not any(flag & (os.O_WRONLY | os.O_RDWR) for flag in flags)
    after = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.root.rglob("*") if path.is_file()}
    assert after == before


def test_a_study_that_is_given_more_trials_and_epochs_is_seen(tmp_path):
    space = make_space(trials=2)
    folder = folder_of(tmp_path, space)
    study = Study(folder, space)
    for _ in range(2):
        trial = study.ask()
        epoch = 1
        while study.report(trial.number, epoch, {"val_map": epoch / 10 + trial.number}) and epoch < 9:
            epoch += 1
        study.tell(trial.number)
    watch = StudyWatch(folder, nobody)
    longer = parse(
        to_yaml(space.as_dict()),
        file="toy.yaml",
        hypers_of=lambda name: HYPERS,
        method_names=["toy"],
        overrides=["search.trials=4", "early_stopping.epochs=30"],
    )
    folder.study_yaml.unlink()
    folder.study_yaml.write_text(to_yaml(folder_settings(longer)))
    again = Study(folder, longer)
    watch.look()
    assert watch.space.search.trials == 4
    assert state_of(watch.records) == state_of(again.records)
    assert any(record.state == "RUNNING" for record in watch.records)


def folder_settings(space):
    dataset = {"name": "toy", "digest": ""}
    return {"format": 1, "dataset": dataset, "space": space.as_dict(), "precision": "fp32", "deterministic": False}


def test_a_damaged_study_is_named(tmp_path):
    folder = folder_of(tmp_path, make_space())
    folder.curves.write_text('{"trial": 0, "epoch": 1, "val_map": 0.5}\n')
    with pytest.raises(UserError, match=r"curves\.jsonl names trial 0, which journal\.log does not know"):
        StudyWatch(folder, nobody)
    folder.curves.unlink()
    folder.journal.write_text('{"op_code": 99}\n')
    with pytest.raises(UserError, match=r"journal\.log is damaged"):
        StudyWatch(folder, nobody)


BATCHES = {
    "x": Hyper("x", "float", 0.5, 0.0, 1.0),
    "batch_size": Hyper("batch_size", "int", 64, 2, 4096, static=True),
}


@pytest.mark.parametrize("known", [True, False])
def test_rungs_in_steps_of_a_batch_size_that_is_searched(known, tmp_path):
    """They are counted in steps of the default one, which only the method knows."""
    space = parse(
        "method: toy\nspace: {x: 0.5, batch_size: {type: choice, values: [16, 32, 64]}}\nsearch: {trials: 3}",
        file="toy.yaml",
        hypers_of=lambda name: BATCHES,
        method_names=["toy"],
    )
    folder = folder_of(tmp_path, space, rows=640)
    study = Study(folder, space, horizon=Horizon(space, 640))
    for _ in range(3):
        trial = study.ask()
        for epoch in range(1, 8):
            if not study.report(trial.number, epoch, {"val_map": (trial.number + epoch) / 20}):
                study.tell(trial.number)
                break
    watch = StudyWatch(folder, lambda method: {"x": 0.5, "batch_size": 64} if known else None)
    assert (watch.horizon is not None) == known
    assert [record.values.last for record in watch.records] == [record.values.last for record in study.records]
    assert [record.state for record in watch.records] == [record.state for record in study.records]
    if known:
        assert state_of(watch.records) == state_of(study.records)
    else:
        assert summary(watch.records, 3, watch.horizon).rungs == ()


def test_a_recorded_space_is_the_space_but_for_defaults(tmp_path):
    space = make_space("x: {type: float, low: 0.1, high: 0.9}, kind: {type: choice, values: [b, c]}, fixed: 4")
    found = recorded_space(space.as_dict(), tmp_path / "study.yaml")
    assert found == space
    assert found.as_dict() == space.as_dict()
    with pytest.raises(UserError, match=r"study\.yaml does not describe a study"):
        recorded_space({"method": "toy", "space": 3}, tmp_path / "study.yaml")
