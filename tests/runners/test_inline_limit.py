"""The time limit of the runner `inline`, which is a signal in the process that trains."""

import signal
import time

import pytest

from avtune.core.trial import TrialFailed
from avtune.runners import inline


class Waits:
    """Is finalised until the first alarm has come; what its handler raises there, Python drops."""

    def __init__(self, came):
        self._came = came

    def __del__(self):
        end = time.monotonic() + 10
        while not self._came and time.monotonic() < end:
            pass


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_limit_that_is_over_in_a_finaliser_comes_again(monkeypatch):
    monkeypatch.setattr(inline, "_AGAIN", 0.05)
    came = []

    def train():
        with inline._limit(0.05):
            handler = signal.getsignal(signal.SIGALRM)

            def noted(number, frame):
                came.append(number)
                handler(number, frame)

            signal.signal(signal.SIGALRM, noted)
            waits = Waits(came)
            del waits
            end = time.monotonic() + 10
            while time.monotonic() < end:
                pass

    with pytest.raises(TrialFailed, match=r"it trained no epoch in 0\.05 s"):
        train()
    assert len(came) == 2
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
