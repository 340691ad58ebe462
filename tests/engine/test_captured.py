"""Recorded steps on a CPU: a stand-in takes the place of CUDA graphs. It takes the recorded step again, and checks that
the step would bear recording: it reads nothing back and does the same operations on tensors of the same shapes."""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from avtune.core.trial import Trial
from avtune.engine import captured
from avtune.engine.captured import Captured, padded_lanes
from avtune.engine.lane_trainer import LaneTrainer
from avtune.engine.optimizer import AdamW
from avtune.engine.steps import Plan
from avtune.lanes.noise import row_order
from avtune.methods import METHODS, ClosedForm, check_config, get, static_values
from benchmarks._training import Shape, generated

DATA = generated(Shape(3, 24, 9, audio=6, visual=9))
READS = {"_local_scalar_dense", "nonzero", "is_nonzero", "equal", "masked_select", "_unique2", "unique_dim"}


class Watched(TorchDispatchMode):
    """Notes every operation with the shapes of its results; refuses those that wait for the device."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.overloadpacket.__name__
        if name in READS:
            raise RuntimeError(f"called a synchronizing operation: {name}")
        made = func(*args, **(kwargs or {}))
        shapes = [tuple(x.shape) for x in torch.utils._pytree.tree_leaves(made) if isinstance(x, torch.Tensor)]
        self.seen.append((name, shapes))
        return made


def stand_in(step):
    with Watched() as first:
        step()

    def replay():
        with Watched() as again:
            step()
        assert again.seen == first.seen

    return replay


def trial(method, number, **config):
    values = {"batch_size": 8, "hidden_dim": 8, "embedding_dim": 4, "dropout": 0.2, **config}
    known = {hyper.name for hyper in get(method).hypers}
    varied = {"lr": 1e-3 * (number + 1)}
    config = check_config(get(method), {k: v for k, v in (values | varied).items() if k in known})
    return Trial(number, method, config, seed=number, epochs=9)


def trainer(method, capacity, record=None, **config):
    static = static_values(get(method), trial(method, 0, **config).config)
    made = LaneTrainer(method, static, DATA, capacity=capacity, dtype=torch.float64, block=capacity)
    made._steps._optimizer = AdamW(kernel=False)
    if record:
        made._captured = Captured(made._steps, record, torch.device("cpu"))
    return made


@pytest.fixture
def each_call_is_faster(monkeypatch):
    """Than the one before: a stand-in is no faster."""
    told(monkeypatch, iter(range(1000, 0, -1)))


def told(monkeypatch, seconds):
    def clocked(call, times, device):
        for _ in range(times):
            call()
        return next(seconds)

    monkeypatch.setattr(captured, "clocked", clocked)


def story(lanes, method, **config):
    """Trials come and go; the losses of all epochs and the weights at the end."""
    trials = [trial(method, number, **config) for number in range(6)]
    losses = []
    for one in trials[:5]:
        lanes.store.admit(one)
    for leaves, comes in ((1, None), (0, 5), (2, None), (3, None)):
        losses += [(r.trial.number, r.epoch, r.metrics["loss"]) for r in lanes.train_epoch()]
        lanes.store.release(trials[leaves])
        if comes is not None:
            lanes.store.admit(trials[comes])
    return losses, [lanes.store.weights(one)[0] for one in lanes.store.trials]


def assert_same(found, wanted):
    (losses, weights), (right_losses, right) = found, wanted
    assert [x[:2] for x in losses] == [x[:2] for x in right_losses]
    assert [x[2] for x in losses] == pytest.approx([x[2] for x in right_losses], rel=1e-6)
    for one, other in zip(weights, right, strict=True):
        for name, value in other.items():
            assert torch.allclose(one[name], value, rtol=1e-5, atol=1e-8), name


DEEP = [name for name, kind in METHODS.items() if not issubclass(kind, ClosedForm)]


@pytest.mark.parametrize("method", DEEP)
def test_recorded_steps_give_what_steps_give(method, each_call_is_faster, caplog):
    """And could be recorded on a GPU, as far as a CPU can tell."""
    lanes = trainer(method, 6, stand_in)
    found = story(lanes, method)
    assert caplog.records == []
    assert set(lanes._captured._recordings) == {3, 4, 6}
    assert_same(found, story(trainer(method, 6), method))


def test_the_averaged_teacher_too(each_call_is_faster, caplog):
    found = story(trainer("psd", 6, stand_in, teacher="ema"), "psd", teacher="ema")
    assert caplog.records == []
    assert_same(found, story(trainer("psd", 6, teacher="ema"), "psd", teacher="ema"))


def skips_every_step(step):
    return lambda: None


def uses_the_first_batch_again(step):
    def replay():
        (plan,) = (cell.cell_contents for cell in step.__closure__ if isinstance(cell.cell_contents, Plan))
        plan.step.zero_()
        step()

    return replay


def has_no_memory(step):
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 GiB")


def spoils_the_weights_and_fails(step):
    step()
    raise RuntimeError("operation not permitted when stream is capturing\nsecond line")


@pytest.mark.parametrize(
    ("record", "why"),
    [
        (skips_every_step, "after 2 steps the results differ by 1.0e+00 of the change"),
        (uses_the_first_batch_again, "after 2 steps the results differ by"),
        (has_no_memory, "there is no memory for it"),
        (spoils_the_weights_and_fails, "RuntimeError: operation not permitted when stream is capturing"),
    ],
)
def test_what_cannot_be_recorded_is_trained_in_the_usual_way(record, why, each_call_is_faster, caplog):
    found = story(trainer("triplet", 6, record), "triplet")
    (line,) = [record.getMessage() for record in caplog.records]
    assert line.startswith(f"triplet: steps are launched one by one, a CUDA graph is not used: {why}")
    assert "\n" not in line
    assert_same(found, story(trainer("triplet", 6), "triplet"))


def test_a_recording_that_is_not_faster_is_not_used(monkeypatch, caplog):
    told(monkeypatch, iter([0.01, 0.02]))
    found = story(trainer("triplet", 6, stand_in), "triplet")
    assert "a replayed step takes 2.00 times as long" in caplog.text
    assert_same(found, story(trainer("triplet", 6), "triplet"))


class ReadsBack(get("triplet")):
    """A method that looks at a value on the host."""

    def loss(self, params, buffers, batch, hyper, progress):
        assert bool((hyper["margin"] >= 0).all())
        return super().loss(params, buffers, batch, hyper, progress)


def test_a_method_that_reads_a_value_back_is_not_recorded(monkeypatch, each_call_is_faster, caplog):
    monkeypatch.setitem(METHODS, "triplet", ReadsBack)
    found = story(trainer("triplet", 6, stand_in), "triplet")
    assert "called a synchronizing operation" in caplog.text
    assert_same(found, story(trainer("triplet", 6), "triplet"))


@pytest.mark.parametrize("capacity", [1, 5, 6, 64, 100])
def test_lanes_are_filled_up_by_a_third_at_most_and_to_few_numbers(capacity):
    padded = [padded_lanes(lanes, capacity) for lanes in range(1, capacity + 1)]
    for lanes, most in enumerate(padded, start=1):
        assert lanes <= most <= max(lanes, min(capacity, 1.5 * lanes))
    assert padded == sorted(padded)
    assert len(set(padded)) <= 2 * capacity.bit_length()


def test_orders_drawn_ahead_are_those_that_would_be_drawn(each_call_is_faster):
    lanes = trainer("triplet", 3, stand_in)
    for number in range(3):
        lanes.store.admit(trial("triplet", number))
    lanes.train_epoch()
    ahead = lanes._steps._orders
    assert set(ahead) == {(number, 1, 0) for number in range(3)}
    for (seed, epoch, _), order in ahead.items():
        assert (order == row_order(seed, epoch, 24)).all()
