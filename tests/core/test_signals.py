"""An interrupt reaches the command wherever the signal finds it: also where Python drops what a handler raises."""

import gc
import os
import signal
import sys
import threading
import weakref

import pytest

from avtune.core import signals

LONGEST = 60.0  # seconds that a test waits for an interrupt that does not come


class Key:
    """What a weak reference may name."""


class Final:
    """Its finaliser is interrupted."""

    def __init__(self, number):
        self.number = number

    def __del__(self):
        os.kill(os.getpid(), self.number)


def in_a_weak_reference(number):
    key = Key()
    reference = weakref.ref(key, lambda ref: os.kill(os.getpid(), number))
    del key
    assert reference() is None


def in_a_finaliser(number):
    Final(number)


def in_the_collector(number):
    def callback(phase, info):
        gc.callbacks.remove(callback)
        os.kill(os.getpid(), number)

    gc.callbacks.append(callback)
    gc.collect()


def waiting(lose, number):
    """Goes on after the interrupt was dropped, as a search does."""
    lose(number)
    threading.Event().wait(LONGEST)


LOSERS = (in_a_weak_reference, in_a_finaliser, in_the_collector)
NUMBERS = (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGINT)


@pytest.fixture(autouse=True)
def heeded():
    """The signals have the handlers of a command in a terminal: one that runs in the background may ignore some."""
    before = {number: signal.signal(number, signal.SIG_DFL) for number in NUMBERS if number != signal.SIGINT}
    before[signal.SIGINT] = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", NUMBERS, ids=lambda number: number.name)
@pytest.mark.parametrize("lose", LOSERS, ids=lambda lose: lose.__name__)
def test_an_interrupt_that_python_drops_comes_again(lose, number):
    with signals.taken() as came:
        with pytest.raises(KeyboardInterrupt):
            waiting(lose, number)
        assert set(came) <= {number}


def timers(monkeypatch):
    """What would come again is kept, to be called."""
    kept = []

    class Timer:
        def __init__(self, seconds, act):
            kept.append(act)

        def start(self):
            pass

    monkeypatch.setattr(signals.threading, "Timer", Timer)
    return kept


def test_one_that_is_dropped_again_comes_again(monkeypatch):
    kept = timers(monkeypatch)
    with signals.taken():
        handler = signal.getsignal(signal.SIGTERM)
        in_a_weak_reference(signal.SIGTERM)
        signal.signal(signal.SIGTERM, lambda *given: in_a_weak_reference(signal.SIGUSR1))
        kept[0]()
        signal.signal(signal.SIGTERM, handler)
        assert len(kept) == 2
        with pytest.raises(KeyboardInterrupt):
            kept[1]()


def test_in_a_process_of_the_callers_too(monkeypatch):
    from avtune.workflows import python_run

    ended = []
    monkeypatch.setattr(python_run.signal, "raise_signal", ended.append)
    hook = sys.unraisablehook
    with pytest.raises(KeyboardInterrupt):
        python_run.run(lambda: waiting(in_a_weak_reference, signal.SIGTERM))
    assert ended == [signal.SIGTERM]
    assert sys.unraisablehook is hook


def ending_in_order(clean_up):
    """As the runner `inline` does, which raises an interrupt of its own where it has seen a signal."""
    try:
        raise KeyboardInterrupt("of our own")
    finally:
        with pytest.raises(RuntimeError):
            raise RuntimeError("another one, in the clean-up")
        clean_up()


def test_an_orderly_end_is_not_interrupted_by_what_comes_again(monkeypatch):
    kept = timers(monkeypatch)
    with signals.taken() as came:
        in_a_weak_reference(signal.SIGTERM)
        with pytest.raises(KeyboardInterrupt, match="of our own"):
            ending_in_order(kept[0])
        assert came == [signal.SIGTERM]


def test_after_the_block_nothing_comes_and_the_hook_is_the_old_one(monkeypatch):
    kept = timers(monkeypatch)
    before = sys.unraisablehook
    with signals.taken():
        in_a_weak_reference(signal.SIGTERM)
        assert sys.unraisablehook is not before
    assert sys.unraisablehook is before
    kept[0]()  # would end this process: SIGTERM has its old handler


def test_an_interrupt_that_has_arrived_does_not_come_again(monkeypatch):
    kept = timers(monkeypatch)
    with signals.taken(), pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGTERM)
    assert kept == []


def test_other_errors_go_to_the_hook_of_before(monkeypatch):
    said, kept = [], timers(monkeypatch)
    monkeypatch.setattr(sys, "unraisablehook", lambda lost: said.append(lost.exc_type))
    with signals.taken():
        key = Key()
        reference = weakref.ref(key, lambda ref: [].pop())
        del key
        assert reference() is None
    assert said == [IndexError]
    assert kept == []
