"""What every runner must do with whatever a source gives out; with Ray in the marked tests."""

import json
import re

import numpy as np
import pytest

import avtune.runners.work
from avtune.core import log
from avtune.core.errors import StorageError
from avtune.core.trial import Trial, TrialFailed
from avtune.data.dataset import Split
from avtune.data.prepare import Prepared
from avtune.runners import inline
from avtune.runners import lanes as lanes_runner
from avtune.runners import processes as processes_runner
from avtune.runners._base import Placement
from avtune.runners.costs import Costs, EpochCost
from avtune.runners.simulate import Simulation


class Trained:
    """A workload of the runner `simulate` that trains: first to the end, then told epoch by epoch."""

    def begin(self, trial, rows):
        told = []
        failure = avtune.runners.work.work(
            trial, rows, lambda epoch, metrics: told.append(metrics) or True, device="cpu"
        )
        for epoch, metrics in enumerate(told, 1):
            yield metrics, failure is None and epoch == len(told)
        raise TrialFailed(failure.line)


class Simulated:
    """The runner `simulate`, as a module like the others."""

    @staticmethod
    def opened(placement, data_bytes):
        costs = Costs(lambda trial: EpochCost(0.1, 0.02, 0.01), start=1.0, suggestion=0.05)
        return Simulation(Trained(), costs).opened(placement, data_bytes)


RUNNERS = [
    pytest.param(inline, id="inline"),
    pytest.param(Simulated, id="simulate"),
    pytest.param(processes_runner, id="processes", marks=pytest.mark.ray),
    pytest.param(lanes_runner, id="lanes", marks=pytest.mark.ray),
]


def data():
    draw = np.random.default_rng(0)
    labels = np.arange(40) % 4
    parts = [
        Split(draw.normal(size=(40, 6)).astype(np.float32), draw.normal(size=(40, 8)).astype(np.float32), labels)
        for _ in range(2)
    ]
    return [Prepared(parts[0], parts[1], 4)]


class Recorder:
    """A source over a list of trials that remembers everything."""

    def __init__(self, trials, stop_after=None):
        self.waiting = list(trials)
        self.stop_after = stop_after or {}
        self.reports = {trial.number: [] for trial in trials}
        self.ends = {}
        self.where = {}
        self.independent = len(self.waiting)

    def ask(self):
        return self.waiting.pop(0) if self.waiting else None

    def trained_on(self, number, where):
        assert number not in self.ends, "a place after the end"
        self.where[number] = where

    def report(self, number, epoch, metrics):
        assert number not in self.ends, "a report after the end"
        self.reports[number].append((epoch, metrics))
        return epoch < self.stop_after.get(number, 10**9)

    def should_stop(self, number):
        return bool(self.reports[number]) and self.reports[number][-1][0] >= self.stop_after.get(number, 10**9)

    def tell(self, number, failure=None, details=""):
        self.ends.setdefault(number, (failure, details))

    def note(self, text, *, shown=False):
        raise AssertionError(text)

    @property
    def exhausted(self):
        return not self.waiting and len(self.ends) == len(self.reports)


def trials(count, epochs=3, **config):
    small = {"hidden_dim": 8, "embedding_dim": 4, "batch_size": 16}
    return [Trial(n, "triplet", small | config, seed=n, epochs=epochs) for n in range(count)]


@pytest.fixture(scope="module", params=RUNNERS)
def run(request):
    """Runs a source on a runner, which is opened once for all tests of this file, as with `--verbose`."""
    runner = request.param
    placement = Placement(1 if runner is inline else 2, 0, 1, 2 if runner in (lanes_runner, Simulated) else 1)
    with log.shown(), runner.opened(placement, 1 << 20) as call:

        def run(source, rows=None):
            call(source, rows or data())
            return source

        yield run


def test_every_trial_reports_every_epoch_and_ends(run):
    source = run(Recorder(trials(3)))
    assert source.exhausted
    assert source.ends == dict.fromkeys(range(3), (None, ""))
    for reports in source.reports.values():
        assert [epoch for epoch, _ in reports] == [1, 2, 3]
        assert all(0 < metrics["val_map"] <= 1 for _, metrics in reports)
    where = {number: one.device for number, one in source.where.items()}
    assert where in (dict.fromkeys(range(3), "CPU"), {}), "a simulation trains nowhere"


def test_a_trial_stops_when_the_source_says_so(run):
    source = run(Recorder(trials(3, epochs=6), stop_after={0: 1, 1: 4}))
    assert source.exhausted
    assert [len(source.reports[number]) for number in range(3)] == [1, 4, 6]


def test_what_is_logged_where_a_trial_runs_is_shown_here(run, capsys):
    run(Recorder(trials(2)))
    lines = capsys.readouterr().err.splitlines()
    for number in range(2):
        assert any(
            re.search(rf" DEBUG avtune\.[a-z_.]+: ((process|engine) \d+: )?trial {number}: ", line) for line in lines
        )


def test_a_trial_that_raises_fails_alone_with_one_line(run):
    listed = trials(3)
    listed[1] = Trial(1, "no_such_method", {}, 0, 3)
    source = run(Recorder(listed))
    assert source.exhausted
    assert "no_such_method" in source.ends[1][0]
    assert "\n" not in source.ends[1][0]
    assert source.ends[0] == source.ends[2] == (None, "")


def test_a_loss_that_is_not_finite_fails_the_trial(run):
    rows = data()
    rows[0].train.visual[:, 2] = np.nan
    source = run(Recorder(trials(2)), rows)
    assert source.exhausted
    assert [failure for failure, _ in source.ends.values()] == ["loss is nan in epoch 1"] * 2
    assert not source.reports[0]


def test_weights_are_saved_where_the_trial_says(run, tmp_path):
    import safetensors.numpy

    listed = [Trial(0, "triplet", trials(1)[0].config, 0, 2, save_to=str(tmp_path / "weights"))]
    run(Recorder(listed))
    tensors = safetensors.numpy.load_file(tmp_path / "weights")
    assert tensors["params.head.weight"].shape == (4, 4)


def test_weights_that_cannot_be_saved_end_the_run_and_not_the_trial(run, tmp_path):
    listed = [Trial(0, "triplet", trials(1)[0].config, 0, 2, save_to=str(tmp_path / "gone" / "away" / "weights"))]
    source = Recorder(listed)
    with pytest.raises(StorageError, match=r"away cannot be written: No such file or directory"):
        run(source)
    assert not source.ends
    run(Recorder(trials(2)))


def test_all_runners_agree_on_every_number(run):
    here, there = Recorder(trials(3)), run(Recorder(trials(3)))
    with inline.opened(Placement(1, 0, 1), 0) as call:
        call(here, data())
    for number in range(3):
        for (epoch, ours), (other_epoch, theirs) in zip(here.reports[number], there.reports[number], strict=True):
            assert epoch == other_epoch
            for name in ("loss", "val_map", "val_map_a2v", "lr"):
                assert ours[name] == pytest.approx(theirs[name], abs=1e-4)


def test_a_trial_that_hangs_in_python_fails_where_it_is_the_only_process(monkeypatch):
    real = avtune.runners.work.train

    def hangs(trial, *words, **more):
        if trial.number == 1:
            while True:
                pass
        return real(trial, *words, **more)

    monkeypatch.setattr(avtune.runners.work, "train", hangs)
    source = Recorder(trials(3))
    with inline.opened(Placement(1, 0, 1, timeout=2.0), 0) as call:
        call(source, data())
    assert [failure for failure, _ in source.ends.values()] == [None, "it trained no epoch in 2 s", None]


def test_an_error_of_the_report_function_is_not_taken_for_the_trials(monkeypatch):
    class Stop(BaseException):
        pass

    def report(epoch, metrics):
        raise Stop

    with pytest.raises(Stop):
        avtune.runners.work.work(trials(1)[0], data(), report, device="cpu")

    def full(epoch, metrics):
        raise OSError("no space left")

    with pytest.raises(OSError, match="no space"):
        avtune.runners.work.work(trials(1)[0], data(), full, device="cpu")


def test_a_failure_has_one_line_and_the_traceback_behind(monkeypatch):
    def broken(*arguments, **more):
        raise RuntimeError("first line\nsecond line")

    monkeypatch.setattr(avtune.runners.work, "train", broken)
    failure = avtune.runners.work.work(trials(1)[0], data(), lambda *a: True, device="cpu")
    assert failure.line == "RuntimeError: first line"
    assert "Traceback" in failure.details
    monkeypatch.setattr(avtune.runners.work, "train", lambda *a, **m: (_ for _ in ()).throw(TrialFailed("nan")))
    assert avtune.runners.work.work(trials(1)[0], data(), lambda *a: True, device="cpu").line == "nan"
    assert json.dumps(failure.line)
