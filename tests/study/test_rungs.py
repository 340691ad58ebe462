"""Rung policies by themselves: when a trial is compared, with which others, and when it has its end."""

from test_study import drive, make_folder, make_space  # noqa: F401

from avtune.core.trial import Trial
from avtune.study import study as study_module
from avtune.study.asha import Asha
from avtune.study.record import Record, Training
from avtune.study.rungs import Asynchronous, Deterministic, RungPolicy
from avtune.study.study import Study

RUNGS = (1, 3)


def joined(policy, count):
    """So many records in the policy, which keeps one in 2 at each rung."""
    records = [Record(Trial(number, "toy", {}, 0, 9, save_at=RUNGS)) for number in range(count)]
    for record in records:
        policy.added(record)
    return records


def train(policy, record, epochs, value):
    for _ in range(epochs):
        record.add_epoch(record.values.last + 1, value, 0.5)
        policy.changed(record)


def finish(policy, record, failure=None):
    """Its training is over; returns the numbers of the trials that have their end now."""
    record.end_training(failure)
    policy.changed(record)
    settled = policy.settled(record)
    for one in settled:
        one.end()
    return [one.number for one in settled]


def test_asynchronous_compares_a_trial_with_those_that_came_before_it():
    policy = Asynchronous(Asha(2))
    first, second, third = joined(policy, 3)
    train(policy, third, 1, 0.5)
    train(policy, first, 1, 0.4)
    train(policy, second, 1, 0.3)
    assert [record.stopped_at for record in (third, first, second)] == [None, 1, 1]
    assert finish(policy, second) == [1]
    assert second.state == "PRUNED"


def test_deterministic_compares_in_the_order_of_numbers():
    policy = Deterministic(Asha(2))
    first, second, third = joined(policy, 3)
    train(policy, third, 2, 0.5)
    train(policy, second, 1, 0.3)
    assert [record.rungs_decided for record in (first, second, third)] == [0, 0, 0]
    train(policy, first, 1, 0.4)
    assert [record.stopped_at for record in (first, second, third)] == [None, 1, None]
    assert policy.asha.values() == [[0.3, 0.4, 0.5]]


def test_a_deterministic_trial_that_is_over_has_its_end_when_its_rungs_are_decided():
    policy = Deterministic(Asha(2))
    first, second, third = joined(policy, 3)
    train(policy, second, 9, 0.3)
    assert finish(policy, second) == []
    assert second.is_over
    assert second.state == "RUNNING"
    train(policy, third, 1, 0.1)
    assert finish(policy, third, "it broke") == []
    train(policy, first, 1, 0.4)
    assert [one.number for one in policy.settled(first)] == [], "its next rung may come before theirs"
    assert finish(policy, first, "it broke") == [0, 1, 2]
    assert [record.state for record in (first, second, third)] == ["FAIL", "PRUNED", "PRUNED"]
    assert (second.stopped_at, second.values.last, second.seconds) == (1, 1, 0.5)


def test_what_a_restarted_trial_left_at_rungs_goes():
    for kind in (Asynchronous, Deterministic):
        policy = kind(Asha(2))
        first, second = joined(policy, 2)
        train(policy, first, 4, 0.4)
        finish(policy, first, "it broke")
        policy.restarted(first)
        first.begin_again()
        assert policy.asha.values() == [[], []]
        assert (first.state, first.training, first.rungs_decided, first.seconds) == ("RUNNING", Training.OPEN, 0, 0)
        train(policy, first, 9, 0.6)
        train(policy, second, 1, 0.5)
        assert second.stopped_at == 1
        assert finish(policy, first) == [0]


class NeverStops(RungPolicy):
    """What a policy of one's own looks like."""

    def added(self, record):
        pass

    def changed(self, record):
        pass

    def settled(self, record):
        return [record] if record.is_over else []


def test_a_third_policy_is_a_class_and_a_name(make_folder, monkeypatch):  # noqa: F811
    monkeypatch.setattr(study_module, "rung_policy", lambda deterministic, factor: NeverStops(Asha(factor)))
    study = Study(make_folder(), make_space())
    drive(study, lanes=3)
    assert {record.state for record in study.records} == {"COMPLETE"}
    again = Study(study.folder, study.space)
    assert [record.values for record in again.records] == [record.values for record in study.records]
