"""The dispatcher against engines that die, by messages alone: nothing is trained."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from avtune.core.trial import Trial
from avtune.engine.messages import Message
from avtune.runners.dispatcher import Dispatcher


class Source:
    """Gives out trials of three epochs; the worst case for a dispatcher: it never has a reason to stop one."""

    independent = 0

    def __init__(self, count, epochs=3):
        self.waiting = [Trial(number, "toy", {}, number, epochs) for number in range(count)]
        self.count = count
        self.ends, self.notes = {}, []

    def ask(self):
        return self.waiting.pop(0) if self.waiting else None

    def report(self, number, epoch, metrics):
        return True

    def should_stop(self, number):
        return number in self.ends

    def tell(self, number, failure=None, details=""):
        self.ends.setdefault(number, failure)

    def note(self, text, *, shown=False):
        self.notes.append(text)

    @property
    def exhausted(self):
        return len(self.ends) == self.count


class Engine:
    """Trains by counting. Returns False from `turn` when it is dead or has gone home."""

    def __init__(self, name, dispatcher, room, poison, length=3):
        self.name, self.dispatcher, self.room, self.poison = name, dispatcher, room, poison
        self.length = length
        self.epochs, self.message = {}, Message(room)

    def turn(self):
        orders = self.dispatcher.exchange(self.name, self.message)
        if orders.over:
            return False
        for number in orders.stop:
            self.epochs.pop(number, None)
        assert len(orders.trials) <= self.message.want + len(orders.stop), "more than there is room for"
        self.epochs |= {trial.number: 0 for trial in orders.trials}
        if self.poison & set(self.epochs):
            self.crowd = len(self.epochs)
            return False
        self.epochs = {number: epoch + 1 for number, epoch in self.epochs.items()}
        done = [number for number, epoch in self.epochs.items() if epoch == self.length]
        reports = [(number, epoch, {}) for number, epoch in self.epochs.items()]
        for number in done:
            del self.epochs[number]
        self.message = Message(self.room - len(self.epochs), reports, [(number, None, "") for number in done])
        return True


def serve(source, *, engines, room, poison, max_failures, seed=0):
    """Runs engines in random turns until the source is exhausted; a dead one starts anew. Returns the crowds of those
    that died."""
    dispatcher = Dispatcher(source, spare=2, max_failures=max_failures)
    running = [Engine(f"engine {index}", dispatcher, room, poison) for index in range(engines)]
    draw, crowds = random.Random(seed), []
    for _ in range(10_000):
        if source.exhausted:
            return crowds
        place = draw.randrange(engines)
        if not running[place].turn() and not source.exhausted:
            crowds.append(running[place].crowd)
            dispatcher.died(running[place].name)
            running[place] = Engine(running[place].name, dispatcher, room, poison)
    raise AssertionError("it does not end")


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("max_failures", [2, 3, 5])
def test_only_the_trials_that_take_engines_down_fail(max_failures, seed):
    source = Source(20)
    crowds = serve(source, engines=3, room=6, poison={4, 11}, max_failures=max_failures, seed=seed)
    failed = {number: reason for number, reason in source.ends.items() if reason}
    assert failed == dict.fromkeys((4, 11), f"its engine died ({max_failures} times)")
    assert crowds.count(1) >= 2, "the last attempt of each is alone on its engine"


def test_with_one_attempt_every_trial_of_a_dead_engine_fails():
    source = Source(6)
    serve(source, engines=1, room=3, poison={1}, max_failures=1)
    assert [source.ends[number] for number in range(6)] == ["its engine died"] * 3 + [None] * 3


def test_every_trial_may_be_poison():
    source = Source(7)
    serve(source, engines=2, room=3, poison=set(range(7)), max_failures=3)
    assert set(source.ends.values()) == {"its engine died (3 times)"}


def test_why_an_engine_died_is_in_the_reason_and_in_the_log():
    source, told = Source(1), []
    source.tell = lambda *words: told.append(words)
    dispatcher = Dispatcher(source, spare=0, max_failures=1)
    dispatcher.exchange("engine 0", Message(1))
    assert dispatcher.died("engine 0", "trained no epoch in 5 s", "its stack") == 1
    assert told == [(0, "its engine trained no epoch in 5 s", "its stack")]


def test_trials_that_an_engine_never_got_are_given_back_without_blame():
    source = Source(1)
    dispatcher = Dispatcher(source, spare=0, max_failures=1)
    dispatcher.exchange("engine 0", Message(1))
    dispatcher.give_back("engine 0")
    assert [trial.number for trial in dispatcher.exchange("engine 1", Message(1)).trials] == [0]
    assert not source.ends


def test_what_an_engine_notes_reaches_the_source_by_its_name():
    source = Source(1)
    Dispatcher(source, spare=0, max_failures=1).exchange("engine 1", Message(0, notes=["two", "lines"]))
    assert source.notes == ["engine 1: two", "engine 1: lines"]


def test_what_it_decides_is_logged_for_developers(caplog):
    caplog.set_level("DEBUG", "avtune.runners.dispatcher")
    source = Source(3)
    dispatcher = Dispatcher(source, spare=0, max_failures=2)
    dispatcher.exchange("engine 0", Message(2))
    source.tell(1)
    dispatcher.exchange("engine 0", Message(0))
    dispatcher.exchange("engine 0", Message(0))
    dispatcher.died("engine 0", "died")
    assert caplog.messages == [
        "engine 0, with room for 2: stops trials [], takes [0, 1], has 2",
        "engine 0, with room for 0: stops trials [1], takes [2], has 2",
        "engine 0 died; of its trials [0, 2], 0 failed and the others return",
    ]


def test_preempted_machines_take_no_attempt_from_a_trial():
    """The third preemption of a machine fails no good trial, whether it has neighbours or not."""
    source = Source(3)
    dispatcher = Dispatcher(source, spare=0, max_failures=3)
    for _ in range(5):
        assert len(dispatcher.exchange("engine 0", Message(3)).trials) == 3
        assert dispatcher.lost_machine("engine 0") == 0
    assert len(dispatcher.exchange("engine 0", Message(3)).trials) == 3, "not alone, as after a death that counts"
    assert source.ends == {}


def test_a_trial_that_takes_machines_down_fails_in_the_end():
    source = Source(1)
    dispatcher = Dispatcher(source, spare=0, max_failures=3)
    failed, machines = 0, 0
    while not failed:
        assert len(dispatcher.exchange("engine 0", Message(1)).trials) == 1
        failed, machines = dispatcher.lost_machine("engine 0"), machines + 1
    assert (failed, machines) == (1, 10)
    assert source.ends == {0: "10 machines died while it was trained alone on them"}


def test_an_engine_whose_machine_is_about_to_go_returns_its_trials_and_gets_none():
    source = Source(3)
    dispatcher = Dispatcher(source, spare=0, max_failures=1)
    dispatcher.exchange("engine 0", Message(2))
    reports = [(number, 1, {}) for number in (0, 1)]
    orders = dispatcher.exchange("engine 0", Message(0, reports), leaves=True)
    assert (orders.leave, orders.trials, orders.over) == (True, [], False)
    assert dispatcher.exchange("engine 0", Message(2, returned=[0, 1]), leaves=True).trials == []
    there = dispatcher.exchange("engine 1", Message(3)).trials
    assert sorted((trial.number, trial.known) for trial in there) == [(0, 1), (1, 1), (2, 0)]
    assert dispatcher.lost_machine("engine 0") == 0
    assert source.ends == {}


class Runs(Source):
    """Runs that do not learn from each other."""

    def __init__(self, count, epochs=3):
        super().__init__(count, epochs)
        self.independent = count

    def trained_on(self, number, where):
        """It is not kept."""


@pytest.mark.parametrize(
    ("runs", "room", "shares"), [(3, 4, [2, 1]), (6, 4, [3, 3]), (8, 4, [4, 4]), (1, 8, [1, 0]), (20, 64, [7, 7, 6])]
)
def test_independent_runs_are_shared_out_among_engines_that_have_room_for_more(runs, room, shares):
    source = Runs(runs)
    dispatcher = Dispatcher(source, spare=0, max_failures=1, engines=len(shares))
    given = [len(dispatcher.exchange(str(place), Message(room)).trials) for place in range(len(shares))]
    assert given == shares
    again = [len(dispatcher.exchange(str(place), Message(room - had)).trials) for place, had in enumerate(given)]
    assert again == [0] * len(shares)


def test_the_last_of_them_are_shared_out_too():
    source = Runs(10, epochs=20)
    dispatcher = Dispatcher(source, spare=0, max_failures=1, engines=2)
    engines = [Engine(str(place), dispatcher, 3, set(), length=20) for place in range(2)]
    under_way = []
    while not source.exhausted:
        for engine in engines:
            engine.turn()
        under_way.append(tuple(len(engine.epochs) for engine in engines))
    assert list(dict.fromkeys(under_way)) == [(3, 3), (0, 0), (2, 2)], "and not (3, 1), which takes as long as (3, 3)"


def test_an_engine_that_never_comes_leaves_its_share_to_the_others():
    source = Runs(9)
    dispatcher = Dispatcher(source, spare=0, max_failures=1, engines=4)
    engine = Engine("the only one", dispatcher, 5, set())
    while not source.exhausted:
        assert engine.turn() or source.exhausted
    assert set(source.ends.values()) == {None}


@given(runs=st.integers(1, 40), rooms=st.lists(st.integers(1, 9), min_size=1, max_size=5), seed=st.integers(0, 99))
@settings(max_examples=60)
def test_no_engine_waits_while_runs_do_and_each_run_is_done_once(runs, rooms, seed):
    source, draw = Runs(runs), random.Random(seed)
    told = []
    source.tell = lambda number, failure=None, details="": (told.append(number), Source.tell(source, number, failure))
    dispatcher = Dispatcher(source, spare=1, max_failures=2, engines=len(rooms))
    engines = [Engine(str(place), dispatcher, room, set()) for place, room in enumerate(rooms)]
    while not source.exhausted:
        engine = draw.choice(engines)
        waiting = bool(source.waiting or dispatcher._ready)
        engine.turn()
        assert engine.epochs or engine.message.ends or not waiting
        dispatcher.prepare()
    assert sorted(told) == list(range(runs))
