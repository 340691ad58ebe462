"""Whatever a lane does, the other trials end with the result that they have alone."""

from dataclasses import replace

import pytest
import torch
from engine_of import EngineRun, alone, make_trials

from avtune.engine.lane_store import LaneStore
from avtune.engine.lane_trainer import LaneTrainer
from avtune.engine.memory import Need
from avtune.engine.messages import Orders
from avtune.methods import METHODS
from avtune.methods.cca import CCA
from avtune.methods.triplet import Triplet

BAD = 0.9  # the margin of a trial that misbehaves; those of others are below a half


class Bad(Triplet):
    """Misbehaves in the epochs from its second on where a lane's margin is high."""

    def loss(self, params, buffers, batch, hyper, progress):
        if bool(((hyper["margin"] > 0.5) & (progress.epoch > 0)).any()):
            self.misbehave(params, buffers, batch, hyper, progress)
        return super().loss(params, buffers, batch, hyper, progress)

    def misbehave(self, params, buffers, batch, hyper, progress):
        raise torch.linalg.LinAlgError("svdvals: the matrix has values that are not finite")


@pytest.fixture
def method(monkeypatch):
    """Registers a method under the name `bad`."""

    def method(kind):
        monkeypatch.setitem(METHODS, "bad", kind)

    method(Bad)
    return method


@pytest.fixture
def crowds(monkeypatch):
    """How many lanes each epoch of a group had, and whether it was trained to its end."""
    seen, train = [], LaneTrainer.train_epoch

    def count(self):
        seen.append([self.num_active, False])
        results = train(self)
        seen[-1][1] = True
        return results

    monkeypatch.setattr(LaneTrainer, "train_epoch", count)
    return seen


def with_config(trial, **config):
    return replace(trial, config=trial.config | config)


def margins(count, bad=()):
    return {number: BAD if number in bad else 0.01 * (number + 1) for number in range(count)}


def check_others(engine, bad, said, folds=1):
    """The trials in `bad` failed with `said` and no others; all others have what they have alone."""
    failed = {number: why for number, why in engine.ends.items() if why is not None}
    assert failed.keys() == set(bad)
    assert all(said in why for why in failed.values()), failed
    good = [trial for trial in engine.trials if trial.number not in bad]
    values, weights = alone(good, folds)
    assert {trial.number: engine.values[trial.number] for trial in good} == values
    for number, params in weights.items():
        for name, value in params.items():
            torch.testing.assert_close(engine.weights[number][name], value, rtol=1e-4, atol=1e-6)
    assert not engine.engine.num_trials
    assert engine.engine.step(Orders([], [], over=False)).want == engine.capacity


def test_of_32_lanes_one_raises_and_31_complete_with_the_values_that_they_have_alone(method, crowds):
    engine = EngineRun(make_trials("bad", margins(32, bad={13})), 32).run()
    assert len(engine.ends) == 32
    whole = [size for size, done in crowds if done]
    assert max(whole[1:]) == 16, "half of them go on together"
    assert sum(not done for _, done in crowds) == 6, "32, 16, 8, 4, 2, 1"
    check_others(engine, {13}, "LinAlgError: svdvals")


@pytest.mark.parametrize("bad", [{0, 1}, {0, 7}, {2, 3, 5}, set(range(8))])
def test_several_lanes_raise(bad, method):
    check_others(EngineRun(make_trials("bad", margins(8, bad)), 8).run(), bad, "LinAlgError: svdvals")


def test_every_fold_goes_back(method):
    check_others(EngineRun(make_trials("bad", margins(4, {2})), 4, folds=2).run(), {2}, "LinAlgError", folds=2)


class Late(Bad):
    def misbehave(self, params, buffers, batch, hyper, progress):
        if bool(((hyper["margin"] > 0.5) & (progress.epoch > 4)).any()):
            raise ValueError("late")


def test_they_go_on_from_their_lane_files(method, tmp_path):
    method(Late)
    trials = [
        replace(trial, lane_file=str(tmp_path / f"{trial.number}"), save_at=(4,))
        for trial in make_trials("bad", margins(4, {3}), epochs=7)
    ]
    engine = EngineRun(trials, 4).run()
    again = [epoch for number, epoch in engine.epochs if number == 0]
    assert again == [1, 2, 3, 4, 5, 5, 6, 7], "raised in epoch 6, kept after 4"
    check_others(engine, {3}, "ValueError: late")


def test_a_validation_that_raises(method):
    class Blind(Triplet):
        def embed(self, params, buffers, audio, visual):
            if max(float(value.abs().max()) for value in params.values()) > 3:
                raise ValueError("too large to embed")
            return super().embed(params, buffers, audio, visual)

    method(Blind)
    trials = make_trials("bad", margins(8))
    trials[5] = with_config(trials[5], lr=1.0)
    check_others(EngineRun(trials, 8).run(), {5}, "ValueError: too large to embed")


# --- memory


class Hungry(Bad):
    def misbehave(self, *given):
        raise torch.OutOfMemoryError("no memory left")


def test_a_lane_that_takes_all_memory_fails_and_the_engine_is_as_wide_as_before(method, crowds):
    method(Hungry)
    engine = EngineRun(make_trials("bad", margins(12, bad={5})), 8).run()
    check_others(engine, {5}, "out of memory (OutOfMemoryError: no memory left)")
    assert "8 trials at a time again" in engine.notes[-1]


def test_a_lane_whose_weights_do_not_fit_fails_alone(method, monkeypatch):
    admit = LaneStore.admit

    def full(self, trial, *given):
        if trial.number == 5:
            raise torch.OutOfMemoryError("no memory left")
        admit(self, trial, *given)

    monkeypatch.setattr(LaneStore, "admit", full)
    engine = EngineRun(make_trials("triplet", margins(12)), 8).run()
    check_others(engine, {5}, "out of memory (OutOfMemoryError: no memory left)")


def test_what_other_groups_hold_is_not_its_fault(method, monkeypatch):
    """A trial of another width runs out of memory as long as others are there."""
    trials = make_trials("triplet", margins(6))
    trials[2] = with_config(trials[2], hidden_dim=12)
    engines, train = [], LaneTrainer.train_epoch

    def full(self):
        if self.method.static["hidden_dim"] == 12 and engines[0].engine.num_trials > 1:
            raise torch.OutOfMemoryError("no memory left")
        return train(self)

    monkeypatch.setattr(LaneTrainer, "train_epoch", full)
    engines.append(EngineRun(trials, 4))
    engine = engines[0].run()
    monkeypatch.setattr(LaneTrainer, "train_epoch", train)
    check_others(engine, set(), "")


def test_a_group_that_is_too_large_narrows_the_engine_until_it_has_gone(method, monkeypatch, crowds):
    """Two lanes of a width of 12 are one too many; of a width of 8 there is no end."""
    trials = make_trials("triplet", margins(3)) + make_trials("triplet", dict.fromkeys(range(3, 30), 0.1), epochs=2)
    trials[:3] = [with_config(trial, hidden_dim=12) for trial in trials[:3]]
    train = LaneTrainer.train_epoch

    def full(self):
        if self.method.static["hidden_dim"] == 12 and self.num_active > 1:
            raise torch.OutOfMemoryError("no memory left")
        return train(self)

    monkeypatch.setattr(LaneTrainer, "train_epoch", full)
    engine = EngineRun(trials, 6).run()
    narrow = [at for at, note in enumerate(engine.notes) if "trials at a time, not 6: out of memory" in note]
    assert narrow
    assert "6 trials at a time again" in engine.notes[narrow[-1] :]
    together = max(size for size, done in crowds if done)
    check_others(engine, set(), "")
    assert together == 6


@pytest.mark.parametrize(("kind", "where"), [(LaneTrainer, "train_epoch"), (LaneStore, "admit")])
def test_those_that_take_all_memory_are_tried_alone_once_and_hold_nobody_up(kind, where, method, monkeypatch):
    """Two trials of a group of their own never fit."""
    trials, tried, plain = make_trials("triplet", margins(30), epochs=2), [], getattr(kind, where)
    trials[3:5] = [with_config(trial, hidden_dim=12) for trial in trials[3:5]]

    def full(self, *given):
        if self.method.static["hidden_dim"] == 12:
            tried.append(self)
            raise torch.OutOfMemoryError("no memory left")
        return plain(self, *given)

    monkeypatch.setattr(kind, where, full)
    monkeypatch.setattr("avtune.engine.groups.need", lambda make, trials, device: Need(1, 1))
    engine = EngineRun(trials, 4).run()
    assert len(tried) <= 8
    assert engine.notes[-1] == "4 trials at a time again"
    check_others(engine, {3, 4}, "out of memory (OutOfMemoryError: no memory left)")


# --- writing to what is shared


class Writes(Bad):
    def misbehave(self, params, buffers, batch, hyper, progress):
        self.write(batch, hyper, progress)


@pytest.mark.parametrize(
    ("write", "said"),
    [
        (lambda batch, hyper, progress: batch.audio.mul_(0), "loss or after_step changes batch.audio in place"),
        (lambda batch, hyper, progress: batch.labels[0].fill_(0), "changes batch.labels in place"),
        (lambda batch, hyper, progress: batch.dropout_keys.zero_(), "changes batch.dropout_keys in place"),
        (lambda batch, hyper, progress: hyper["lr"].clamp_(max=1e-9), "changes hyper['lr'] in place"),
        (lambda batch, hyper, progress: progress.epoch.add_(9), "changes progress.epoch in place"),
    ],
)
def test_a_loss_that_writes_to_what_other_steps_read_fails_its_trial(write, said, method):
    class Kind(Writes):
        def write(self, batch, hyper, progress):
            write(batch, hyper, progress)

    method(Kind)
    check_others(EngineRun(make_trials("bad", margins(4, {1})), 4).run(), {1}, said)


def test_a_dict_of_hyper_parameters_that_is_changed_reaches_no_other_step(method):
    class Kind(Triplet):
        def loss(self, params, buffers, batch, hyper, progress):
            losses = super().loss(params, buffers, batch, hyper, progress)
            hyper["margin"] = hyper["margin"] * 0
            return losses

    trials = make_trials("triplet", margins(3))
    plain = EngineRun(trials, 4).run()
    method(Kind)
    changed = EngineRun([replace(trial, method="bad") for trial in trials], 4).run()
    assert changed.values == plain.values


@pytest.mark.parametrize("through", ["itself", "data", "numpy"])
@pytest.mark.parametrize("view", ["audio", "visual"])
@pytest.mark.parametrize("lanes", [1, 4])
def test_an_embed_that_writes_to_the_features_fails_its_trial(through, view, lanes, method):
    class Kind(Triplet):
        def embed(self, params, buffers, audio, visual):
            if any(float(value.abs().max()) > 3 for value in params.values()):
                mine = {"audio": audio, "visual": visual}[view][0]
                {"itself": mine, "data": mine.data, "numpy": mine.numpy()}[through][:] *= 0.5
            return super().embed(params, buffers, audio, visual)

    method(Kind)
    trials = make_trials("bad", margins(5))
    trials[2] = with_config(trials[2], lr=1.0)
    check_others(EngineRun(trials, lanes).run(), {2}, f"embed changes {view} in place")


@pytest.mark.parametrize("name", ["params", "buffers"])
def test_an_embed_that_writes_to_the_weights_fails_its_trial(name, method):
    class Kind(Triplet):
        def embed(self, params, buffers, audio, visual):
            if max(float(value.abs().max()) for value in params.values()) > 3:
                next(iter({"params": params, "buffers": buffers}[name].values())).mul_(0.5)
            return super().embed(params, buffers, audio, visual)

    method(Kind)
    trials = make_trials("bad", margins(4))
    trials[2] = with_config(trials[2], lr=1.0)
    check_others(EngineRun(trials, 4).run(), {2}, f"embed changes {name}[")


@pytest.mark.parametrize("written", ["audio", "visual", "labels"])
@pytest.mark.parametrize("lanes", [1, 4])
def test_a_solution_that_writes_to_the_features_fails_its_trial(written, lanes, method):
    class Kind(CCA):
        def solve(self, audio_NA, visual_NV, labels_N, hyper, generator):
            if hyper["ridge"] > 0.5:
                {"audio": audio_NA, "visual": visual_NV, "labels": labels_N}[written].numpy()[:] = 1
            return super().solve(audio_NA, visual_NV, labels_N, hyper, generator)

    method(Kind)
    trials = make_trials("bad", margins(5), epochs=2)
    configs = [{"embedding_dim": 4, "ridge": 0.9 if number == 1 else 0.1 / (1 + number)} for number in range(5)]
    trials = [replace(trial, config=config) for trial, config in zip(trials, configs, strict=True)]
    check_others(EngineRun(trials, lanes).run(), {1}, f"solve changes {written} in place")
