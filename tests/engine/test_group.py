"""The epoch loop: curves, folds, the best epoch, and ends."""

import pytest
import torch
from toy import toy_prepared

from avtune.core.seeds import mix
from avtune.core.trial import Trial, TrialFailed
from avtune.engine.group import Group, lane_trials_of
from avtune.engine.lane_trainer import EpochResult, LaneTrainer
from avtune.engine.trainer import train
from avtune.methods import METHODS, static_values

SMALL = {"hidden_dim": 8, "embedding_dim": 4, "batch_size": 16}


def trial(**changes):
    return Trial(0, "triplet", SMALL, seed=3, **({"epochs": 5} | changes))


@pytest.fixture
def curve(monkeypatch):
    """Each epoch adds 1 to every weight and has the next of these values of `val_map`; None for a trial that fails."""

    def use(*values):
        def epoch(self):
            (one,), number = self.store.trials, int(self.store.epochs[0]) + 1
            self.store.epochs[0] = number
            for value in self.store.view(slice(0, 1)).params.values():
                value.fill_(float(number))
            failed = "loss is nan" if values[number - 1] is None else None
            return [EpochResult(one, number, {"val_map": values[number - 1], "seconds": 1.0}, failed)]

        monkeypatch.setattr(LaneTrainer, "train_epoch", epoch)

    return use


def level(trained):
    return {value.unique().item() for value in trained.params.values()}


@pytest.mark.parametrize(("keep_best", "epochs"), [(True, 2), (False, 5)])
def test_the_weights_are_those_of_the_best_epoch_or_the_last(curve, keep_best, epochs):
    curve(0.1, 0.5, 0.2, 0.5, 0.3)  # of two equal ones the first
    trained = train(trial(keep_best=keep_best), toy_prepared(), lambda epoch, metrics: True)
    assert (trained.epochs, level(trained)) == (epochs, {float(epochs)})


def test_a_trial_ends_where_it_is_told_to(curve):
    curve(0.1, 0.2, 0.3, 0.4, 0.5)
    seen = []
    trained = train(trial(), toy_prepared(), lambda epoch, metrics: seen.append(epoch) or epoch < 2)
    assert (seen, trained.epochs) == ([1, 2], 2)


def test_a_trial_that_fails_has_no_result(curve):
    curve(0.1, None, 0.3)
    seen = []
    with pytest.raises(TrialFailed, match="loss is nan"):
        train(trial(), toy_prepared(), lambda epoch, metrics: seen.append(epoch) or True)
    assert seen == [1]


def test_folds_have_seeds_of_their_own_and_their_metrics_are_averaged(curve):
    curve(0.25)
    lane_trials = lane_trials_of(trial(epochs=1), 3)
    assert [one.seed for one in lane_trials] == [3, mix(3, "fold", 1), mix(3, "fold", 2)]
    seen = []
    train(trial(epochs=1), [toy_prepared(seed) for seed in range(3)], lambda epoch, metrics: seen.append(metrics))
    assert seen == [{"val_map": 0.25, "seconds": 3.0}]


def test_a_trial_enters_all_folds_or_none():
    static = static_values(METHODS["triplet"], lane_trials_of(trial(), 1)[0].config)
    group = Group([LaneTrainer("triplet", static, toy_prepared(seed)) for seed in range(2)])
    with pytest.raises(ValueError, match="another group"):
        group.enter(trial(), lane_trials_of(trial(), 2), [None, {"params.odd": torch.zeros(1)}], [])
    assert [fold.num_active for fold in group.folds] == [0, 0]
    assert len(group) == 0
