"""The virtual clock of the runner `simulate`, by hand. That it treats sources as every runner does is tested in
`test_runner_conformance.py`."""

import itertools

import pytest

from avtune.core.errors import StorageError
from avtune.core.trial import Trial, TrialFailed
from avtune.runners._base import Placement
from avtune.runners.costs import DEVICES, Costs, EpochCost, Size
from avtune.runners.simulate import Clock, FromCurves, Simulation


class Runs:
    """A source over trials, of which a new one may need ends of others."""

    independent = 0

    def __init__(self, epochs, *, width=64, needs=None):
        self.trials = [
            Trial(number, "toy", {"hidden_dim": width if number % 2 else 64}, number, each)
            for number, each in enumerate(epochs)
        ]
        self.needs = needs or {}
        self.given, self.order, self.failures = 0, [], {}

    def ask(self):
        if self.given == len(self.trials) or len(self.failures) < self.needs.get(self.given, 0):
            return None
        self.given += 1
        return self.trials[self.given - 1]

    def trained_on(self, number, where):
        raise AssertionError("nothing is trained")

    def report(self, number, epoch, metrics):
        self.order.append((number, epoch, round(metrics["seconds"], 6)))
        return True

    def should_stop(self, number):
        return number in self.failures

    def tell(self, number, failure=None, details=""):
        self.failures[number] = failure

    def note(self, text, *, shown=False):
        raise AssertionError(text)

    @property
    def exhausted(self):
        return len(self.failures) == len(self.trials)


class Constant:
    def values(self, trial):
        return itertools.repeat(0.5)


def simulated(source, *, lanes=1, engines=1, workload=None, **costs):
    clock = Clock()
    costs = Costs(**{"epoch_of": lambda trial: EpochCost(1.0, 0.5, 0.25), **costs})
    with Simulation(workload or FromCurves(Constant()), costs, clock).opened(
        Placement(engines, 0, 1, lanes, lanes), 0
    ) as run:
        run(source, ())
    return clock


def test_an_epoch_costs_its_fixed_part_once_and_the_rest_for_every_lane():
    source = Runs([3, 1])
    clock = simulated(source, lanes=2)
    # Two lanes train for 2.5 s, then one for 1.75 s twice.
    assert clock.now == pytest.approx(2.5 + 2 * 1.75)
    assert source.order == [(0, 1, 1.25), (1, 1, 1.25), (0, 2, 1.75), (0, 3, 1.75)]
    assert (clock.busy, clock.epochs, clock.suggestions) == (pytest.approx(6.0), 4, 2)


def test_trials_that_share_no_tensors_are_trained_one_group_after_the_other():
    assert simulated(Runs([1, 1], width=128), lanes=2).now == pytest.approx(2 * 1.75)


def test_engines_work_at_the_same_time_and_take_what_comes_next():
    source = Runs([1, 2, 1])
    assert simulated(source, engines=2).now == pytest.approx(2 * 1.75)
    assert [(number, epoch) for number, epoch, _ in source.order] == [(0, 1), (1, 1), (2, 1), (1, 2)]


def test_the_first_call_waits_for_the_start_and_later_ones_do_not():
    clock = Clock()
    costs = Costs(lambda trial: EpochCost(1.0, 0.0, 0.0), start=10.0)
    with Simulation(FromCurves(Constant()), costs, clock).opened(Placement(1, 0, 1), 0) as run:
        run(Runs([1]), ())
        assert clock.now == pytest.approx(11.0)
        run(Runs([1, 1]), ())
    assert clock.now == pytest.approx(13.0)


def test_the_driver_makes_one_suggestion_at_a_time():
    # Four engines at once: the last one waits for four suggestions. Nothing is left to be asked ahead.
    assert simulated(Runs([1] * 4), engines=4, suggestion=2.0).now == pytest.approx(4 * 2.0 + 1.75)


def test_suggestions_are_made_ahead_while_engines_train():
    # One engine, a spare trial: only the first suggestion is waited for, the others are made during epochs.
    assert simulated(Runs([1, 1, 1]), suggestion=1.0).now == pytest.approx(1.0 + 3 * 1.75)


def test_an_engine_without_work_takes_it_up_when_another_trial_has_ended():
    source = Runs([2, 1, 1], needs={1: 1, 2: 1})
    assert simulated(source, engines=2).now == pytest.approx(3 * 1.75)
    assert source.exhausted


def test_a_source_that_waits_for_ever_is_a_mistake_of_ours():
    with pytest.raises(AssertionError, match="every engine waits"):
        simulated(Runs([1, 1], needs={1: 2}), engines=2)


def test_a_workload_that_raises_fails_its_trial_and_a_full_disk_the_run():
    class Breaks:
        def __init__(self, error):
            self.error = error

        def begin(self, trial, data):
            yield {"val_map": 0.5}, False
            raise self.error if trial.number else TrialFailed("loss is nan")

    source = Runs([2, 2])
    simulated(source, lanes=2, workload=Breaks(ValueError("odd")))
    assert source.failures == {0: "loss is nan", 1: "ValueError: odd"}
    with pytest.raises(StorageError):
        simulated(Runs([2, 2]), lanes=2, workload=Breaks(StorageError("full")))


def test_a_simulation_gives_the_same_again():
    def once():
        source = Runs([n % 7 + 1 for n in range(60)])
        return simulated(source, lanes=3, engines=4, suggestion=0.3).now, source.order

    assert once() == once()


def test_costs_by_size_are_near_what_was_measured():
    """Trials of 27 epochs an hour, from the reports that the devices name."""
    vegas = {"hidden_dim": 1024, "embedding_dim": 64, "batch_size": 256}
    ave, demo = vegas | {"hidden_dim": 512}, {"hidden_dim": 128, "embedding_dim": 32, "batch_size": 128}
    for rows, config, device, fp32, lanes, measured in (
        ((17985, 4497), vegas, "gpu", False, 64, 12000),
        ((17985, 4497), vegas, "gpu", True, 64, 7890),
        ((17985, 4497), vegas, "gpu", False, 1, 1990),
        ((1330, 333), ave, "gpu", False, 64, 338000),
        ((1330, 333), ave, "gpu", True, 64, 252000),
        ((1330, 333), ave, "gpu", False, 1, 13100),
        ((1330, 333), ave, "cpu", False, 16, 1225),
        ((1330, 333), ave, "cpu", True, 16, 815),
        ((1413, 353), demo, "cpu", False, 4, 2220),
    ):
        cost = Size(*rows, (128, 1024)).epoch(DEVICES[device], config, fp32=fp32)
        assert 3600 * lanes / (27 * cost.seconds(lanes)) == pytest.approx(measured, rel=0.25)
