"""Engines and the dispatcher that serves them, in one process and without Ray: any number of engines, in any order."""

import random
import sys

import pytest
import torch
from toy import toy_prepared

from avtune.engine.engine import Engine
from avtune.engine.lane_store import LaneStore
from avtune.engine.lane_trainer import LaneTrainer
from avtune.engine.memory import Need
from avtune.methods import METHODS, hypers_of
from avtune.runners import inline
from avtune.runners._base import Placement
from avtune.runners.dispatcher import Dispatcher
from avtune.runners.lane_files import LaneFiles
from avtune.space.parse import parse
from avtune.study.folder import StudyFolder
from avtune.study.study import Study


def make_space(trials=10):
    return parse(
        "method: triplet\nspace:\n"
        "  margin: {type: float, low: 0.05, high: 1.0}\n  lr: {type: float, low: 1e-3, high: 3e-2, log: true}\n"
        "  dropout: {type: float, low: 0.0, high: 0.6}\n  hidden_dim: {type: choice, values: [8, 12]}\n"
        "  embedding_dim: 4\n  batch_size: 24\n"
        f"search: {{trials: {trials}, seed: 3, startup_trials: 4, lag: 5}}\n"
        "early_stopping: {epochs: 9, grace: 1, factor: 3}\n",
        file="toy.yaml",
        hypers_of=hypers_of,
        method_names=METHODS,
    )


@pytest.fixture
def make_study(tmp_path):
    def make(name, *, deterministic=True, trials=10):
        space = make_space(trials)
        folder = StudyFolder(tmp_path / name)
        folder.create({"format": 1, "space": space.as_dict()}, {})
        return Study(folder, space, deterministic=deterministic)

    return make


class Engines:
    """Engines that take turns at random; any of them may die."""

    def __init__(self, source, data, *, engines, capacity, seed=0):
        self.dispatcher = Dispatcher(source, spare=2, max_failures=3)
        self.data, self.capacity, self.saved = data, capacity, []
        self.draw = random.Random(seed)
        self.engines = {f"engine {index}": self.new() for index in range(engines)}

    def new(self):
        save = lambda trial, params, buffers, epochs: self.saved.append((trial, params))  # noqa: E731
        engine = Engine(self.data, capacity=self.capacity, device="cpu", save=save, lane_files=LaneFiles())
        return engine, engine.start()

    def kill(self, name):
        self.dispatcher.died(name)
        self.engines[name] = self.new()

    def turn(self):
        """One engine's step; returns whether any engine still works."""
        name = self.draw.choice(sorted(self.engines))
        engine, message = self.engines[name]
        orders = self.dispatcher.exchange(name, message)
        if orders.over and not orders.trials and not engine.num_trials:
            del self.engines[name]
        else:
            self.engines[name] = (engine, engine.step(orders))
        while self.draw.random() < 0.3 and self.dispatcher.prepare():
            pass
        return bool(self.engines)

    def run(self):
        while self.turn():
            pass


def outcome(study):
    return [
        (r.state, {epoch: round(value, 4) for epoch, value in r.values.items()}, r.trial.config) for r in study.records
    ]


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    """The study one trial at a time."""
    folder = StudyFolder(tmp_path_factory.mktemp("reference") / "one")
    space = make_space()
    folder.create({"format": 1, "space": space.as_dict()}, {})
    study = Study(folder, space, deterministic=True)
    with inline.opened(Placement(1, 0, 1), 0) as run:
        run(study, [toy_prepared()])
    return study


@pytest.mark.parametrize(("engines", "capacity"), [(1, 1), (1, 8), (2, 3), (5, 2)])
def test_deterministic_mode_gives_one_result_for_any_number_of_engines(reference, make_study, engines, capacity):
    study = make_study("other")
    Engines(study, [toy_prepared()], engines=engines, capacity=capacity, seed=engines).run()
    assert study.exhausted
    assert outcome(study) == outcome(reference)
    assert study.best.number == reference.best.number


@pytest.mark.parametrize("seed", range(4))
def test_trials_of_dead_engines_go_on_elsewhere(reference, make_study, seed):
    study = make_study("other")
    running = Engines(study, [toy_prepared()], engines=3, capacity=2, seed=seed)
    deaths = random.Random(seed).sample(range(5, 30), 2)
    for turn in range(10**6):
        if turn == deaths[0] and "engine 0" in running.engines:
            running.kill("engine 0")
        if turn == deaths[1] and "engine 1" in running.engines:
            running.kill("engine 1")
        if not running.turn():
            break
    assert study.exhausted
    assert outcome(study) == outcome(reference)
    study.close()
    assert not study.folder.lanes.exists(), "lane files of trials that have ended"


def test_a_trial_that_takes_two_engines_down_fails(make_study):
    study = make_study("one", deterministic=False, trials=3)
    dispatcher = Dispatcher(study, spare=0, max_failures=2)
    for _ in range(2):
        engine = Engine([toy_prepared()], capacity=1, device="cpu", save=None)
        orders = dispatcher.exchange("engine 0", engine.start())
        assert [trial.number for trial in orders.trials] == [0]
        dispatcher.died("engine 0")
    assert study.records[0].state == "FAIL"
    assert "engine" in study.records[0].reason


def test_without_deterministic_mode_every_trial_ends_too(make_study):
    study = make_study("one", deterministic=False)
    Engines(study, [toy_prepared()], engines=2, capacity=3).run()
    assert study.exhausted
    assert study.count("PRUNED") > 0


def test_folds_are_trained_side_by_side(make_study):
    study, alone = make_study("lanes", trials=4), make_study("alone", trials=4)
    folds = [toy_prepared(seed) for seed in range(3)]
    Engines(study, folds, engines=2, capacity=2).run()
    with inline.opened(Placement(1, 0, 1), 0) as run:
        run(alone, folds)
    assert outcome(study) == outcome(alone)


def test_out_of_memory_halves_the_lanes_and_nothing_is_lost(reference, make_study, monkeypatch):
    train = LaneTrainer.train_epoch
    crowds = []

    def narrow(self):
        crowds.append(self.num_active)
        if self.num_active > 2:
            raise torch.OutOfMemoryError("no memory left")
        return train(self)

    monkeypatch.setattr(LaneTrainer, "train_epoch", narrow)
    study = make_study("narrow")
    Engines(study, [toy_prepared()], engines=1, capacity=8).run()
    assert max(crowds) > 2
    assert "out of memory" in study.folder.log.read_text()
    assert study.count("FAIL") == 0
    assert outcome(study) == outcome(reference)


@pytest.mark.parametrize("lanes", [0, 2])
def test_as_many_trials_as_there_is_memory_for(reference, make_study, monkeypatch, lanes):
    """The space has two groups; what one holds is missing to the other."""
    crowds = []
    train = LaneTrainer.train_epoch

    def count(self):
        crowds.append(self.num_active)
        return train(self)

    monkeypatch.setattr(LaneTrainer, "train_epoch", count)
    monkeypatch.setattr("avtune.engine.groups.need", lambda make, trials, device: Need(100, 50))
    monkeypatch.setattr("avtune.engine.groups.free_bytes", lambda device: 50 + 50 * lanes)
    study = make_study("short")
    Engines(study, [toy_prepared()], engines=1, capacity=8).run()
    assert max(crowds) == max(lanes, 1)
    assert f"engine 0: {max(lanes, 1)} trials at a time, not 8: triplet takes" in study.folder.log.read_text()
    assert outcome(study) == outcome(reference)


def test_no_memory_for_a_new_lane_waits_for_one(reference, make_study, monkeypatch):
    refused = []
    admit = LaneStore.admit

    def narrow(self, *given):
        if self.num_active >= 2:
            refused.append(self.num_active)
            raise torch.OutOfMemoryError("no memory left")
        admit(self, *given)

    monkeypatch.setattr(LaneStore, "admit", narrow)
    study = make_study("narrow")
    Engines(study, [toy_prepared()], engines=1, capacity=8).run()
    assert refused
    assert "not 8: no memory for another" in study.folder.log.read_text()
    assert study.count("FAIL") == 0
    assert outcome(study) == outcome(reference)


def test_one_trial_too_large_for_the_device_fails_alone(make_study, monkeypatch):
    def full(self):
        raise torch.OutOfMemoryError("no memory left")

    monkeypatch.setattr(LaneTrainer, "train_epoch", full)
    study = make_study("one", deterministic=False, trials=2)
    Engines(study, [toy_prepared()], engines=1, capacity=4).run()
    assert [record.reason for record in study.records] == [
        "out of memory (OutOfMemoryError: no memory left); lower batch_size or the widths"
    ] * 2


def test_an_error_of_the_method_fails_its_trials_with_the_traceback(make_study, monkeypatch):
    def broken(self):
        raise ValueError("shapes\nand more")

    monkeypatch.setattr(LaneTrainer, "train_epoch", broken)
    study = make_study("one", deterministic=False, trials=2)
    Engines(study, [toy_prepared()], engines=1, capacity=4).run()
    assert [record.reason for record in study.records] == ["ValueError: shapes"] * 2
    assert "Traceback" in study.folder.log.read_text()


def test_an_engine_does_not_import_what_it_does_not_need():
    import subprocess

    others = ("ray", "optuna", "scipy", "sklearn")
    code = f"import sys, avtune.engine.engine, avtune.engine.trainer; print([m for m in {others} if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
