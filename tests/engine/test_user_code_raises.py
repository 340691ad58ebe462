"""Whatever a user's own code raises ends its trial, once and with its reason; Ctrl-C and a stop end the run."""

import json
import signal
from pathlib import Path

import pytest
import torch
from command import call
from toy import toy_prepared
from user_code import function_search, method_search

from avtune.cli.main import main
from avtune.core.trial import Trial
from avtune.engine.engine import Engine
from avtune.engine.messages import Orders
from avtune.methods import METHODS
from avtune.methods.triplet import Triplet
from avtune.runners import work


def failures(study="results/one"):
    path = Path(study, "curves.jsonl")
    lines = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    return {line["trial"]: line["reason"] for line in lines if line.get("state") == "FAIL"}


def low_trials(study="results/one"):
    """The trials whose x is below a half, by `trials.csv`."""
    head, *rows = [line.split(",") for line in Path(study, "trials.csv").read_text().splitlines()]
    return {int(row[0]) for row in rows if float(row[head.index("x")]) < 0.5}


@pytest.mark.parametrize(
    ("raised", "said"),
    [
        ("sys.exit(3)", "SystemExit: 3"),
        ("sys.exit(0)", "SystemExit: 0"),
        ("sys.exit('no such file')", "SystemExit: no such file"),
        ("raise KeyboardInterrupt", "KeyboardInterrupt"),
        ("raise GeneratorExit", "GeneratorExit"),
        ("raise asyncio.CancelledError", "CancelledError"),
        ("raise Skipped('gone')", "Skipped: gone"),
    ],
)
def test_what_a_training_function_raises_fails_its_trial(raised, said, workplace, capsys):
    printed = call(capsys, *function_search(f"if config['x'] < 0.5: {raised}"))
    assert "retrained winner" in printed
    assert f"failed: {said} (details" in printed
    assert failures() == dict.fromkeys(low_trials(), said)
    assert low_trials()
    assert "in train" in Path("results/one/log.txt").read_text()


@pytest.mark.parametrize(
    ("raised", "said"), [("sys.exit(3)", "SystemExit: 3"), ("raise KeyboardInterrupt", "Keyboard")]
)
def test_what_a_method_raises_fails_its_trial(raised, said, workplace, capsys):
    assert "retrained winner" in call(capsys, *method_search(f"if hyper['tau'][0] > 0.15: {raised}"))
    assert failures()
    assert all(reason.startswith(said) for reason in failures().values())


def test_code_that_exits_outside_of_a_trial_is_named(workplace, capsys, monkeypatch):
    import avtune.workflows.search

    monkeypatch.setattr(avtune.workflows.search, "finish", lambda *arguments: (_ for _ in ()).throw(SystemExit(3)))
    assert "ended this command (SystemExit: 3)" in call(capsys, *function_search("pass"), code=2)


@pytest.fixture
def interruptible():
    """Ctrl-C acts as on a terminal, also where the tests run in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


SWALLOWED = """import signal
    try:
        signal.raise_signal(signal.SIG)
        report(1, {"val_map": 0.5})
    except BaseException:
        END"""


@pytest.mark.parametrize("end", ["pass", "raise RuntimeError('cleaned up') from None", "return embed"])
@pytest.mark.parametrize(("name", "code"), [("INT", 130), ("TERM", 143)])
def test_ctrl_c_ends_the_run_whatever_the_code_does_with_it(name, code, end, workplace, capsys, interruptible):
    line = SWALLOWED.replace("SIG)", f"SIG{name})").replace("END", end)
    assert main(function_search(line)) == code
    assert "the same command continues" in capsys.readouterr().err
    assert not failures()


class Stop(BaseException):
    """As the `SystemExit` with which Tune ends a function: the report function raises it."""


@pytest.mark.parametrize("caught", ["Exception", "BaseException"])
@pytest.mark.parametrize("goes_on", [True, False])
def test_a_stop_of_the_runner_ends_the_function_also_where_it_catches_everything(caught, goes_on, monkeypatch):
    calls = []

    def train(config, data, report):
        for epoch in (1, 2, 3):
            try:
                report(epoch, data.scores(lambda audio, visual: (audio[:, :2], visual[:, :2])))
            except {"Exception": Exception, "BaseException": BaseException}[caught]:
                if not goes_on:
                    return
        raise RuntimeError("trained on")

    def report(epoch, metrics):
        calls.append(epoch)
        raise Stop

    monkeypatch.setattr(work.user_code, "_functions", {"m:train": train})
    with pytest.raises(Stop):
        work.work(Trial(0, "m:train", {}, 0, 3), [toy_prepared()], report, device="cpu")
    assert calls == [1]


class Bad(Triplet):
    """Leaves with a `SystemExit` where a lane's margin is high."""

    def loss(self, params, buffers, batch, hyper, progress):
        if float(hyper["margin"].max()) > 0.5 and float(progress.epoch.max()) > 0:
            raise SystemExit(3)
        return super().loss(params, buffers, batch, hyper, progress)


def lanes_of(margins, capacity):
    """What becomes of trials of `Bad` that an engine trains together: (reports, failures, final weights)."""
    config = {"hidden_dim": 8, "embedding_dim": 4, "batch_size": 16}
    trials = [Trial(n, "bad", config | {"margin": margin}, n, 3, save_to=str(n)) for n, margin in margins.items()]
    saved = {}
    save = lambda trial, params, buffers, epochs: saved.update({trial.number: params})  # noqa: E731
    engine = Engine([toy_prepared()], capacity=capacity, device="cpu", save=save)
    reports, ends, orders = {}, {}, Orders([], trials, False)
    while len(ends) < len(trials):
        message = engine.step(orders)
        assert not message.returned
        reports |= {(number, epoch): metrics["val_map"] for number, epoch, metrics in message.reports}
        ends |= {number: failure for number, failure, _ in message.ends}
        orders = Orders([], [], False)
    assert not engine.num_trials
    assert engine.step(orders).want == capacity
    return reports, ends, saved


def test_a_lane_that_raises_fails_alone_and_its_neighbours_end_as_they_would_have(monkeypatch):
    monkeypatch.setitem(METHODS, "bad", Bad)
    good = {0: 0.1, 2: 0.3}
    reports, ends, saved = lanes_of({**good, 1: 0.9}, 4)
    assert ends == {0: None, 1: "SystemExit: 3", 2: None}
    alone_reports, _, alone = lanes_of(good, 4)
    assert {key: value for key, value in reports.items() if key[0] != 1} == pytest.approx(alone_reports)
    for number in good:
        assert all(torch.allclose(saved[number][name], value, atol=1e-5) for name, value in alone[number].items())


@pytest.mark.ray
@pytest.mark.parametrize("runner", [pytest.param("processes", marks=pytest.mark.long), "lanes"])
def test_under_ray_too_and_what_is_printed_is_kept(runner, workplace, capsys):
    if runner == "processes":
        words = function_search(
            "print('hello'); warnings.warn('care ' + str(config)); config['x'] < 0.5 and sys.exit(3)", runner=runner
        )
    else:
        words = method_search("print('hello')\n        if hyper['tau'].max() > 0.15: sys.exit(3)", runner=runner)
    assert "retrained winner" in call(capsys, *words), Path("results/one/log.txt").read_text()
    assert set(failures().values()) == {"SystemExit: 3"}
    if runner == "processes":
        assert set(failures()) == low_trials()
    files = sorted(path.name for path in Path("results/one/output").iterdir())
    # The engine that starts first may take every trial, so which one has a file is chance.
    assert "trial_0.txt" in files if runner == "processes" else {"engine_0.txt", "engine_1.txt"} & set(files)
    for path in Path("results/one/output").iterdir():
        assert "hello" in path.read_text()
        assert runner == "lanes" or "UserWarning: care" in path.read_text()
