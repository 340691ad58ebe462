"""The state of a trial's lanes on disk: another engine goes on from it as if nothing had happened."""

import random
from dataclasses import replace

import pytest
import torch
from toy import toy_prepared

from avtune.core.trial import Trial
from avtune.engine.engine import Engine
from avtune.engine.lane_trainer import LaneTrainer
from avtune.engine.messages import Orders
from avtune.engine.trainer import train
from avtune.methods import METHODS, check_config, static_values
from avtune.runners.lane_files import LaneFiles

KIND = METHODS["psd"]


def make_trial(number, folder, **changes):
    small = {"hidden_dim": 8, "embedding_dim": 4, "batch_size": 24, "dropout": 0.1 * number, "teacher": "ema"}
    trial = Trial(number, "psd", check_config(KIND, small), seed=number, epochs=9)
    return replace(trial, lane_file=str(folder / f"{number}.safetensors"), save_at=(2, 4), **changes)


def make_lanes(trial, data, capacity=3):
    return LaneTrainer("psd", static_values(KIND, trial.config), data, capacity=capacity)


def losses(results):
    return {
        result.trial.number: (result.epoch, result.metrics["loss"], result.metrics["val_map"]) for result in results
    }


def test_a_restored_lane_trains_as_the_one_that_was_saved(tmp_path):
    data, files = toy_prepared(), LaneFiles()
    trials = [make_trial(number, tmp_path) for number in range(3)]
    lanes = make_lanes(trials[0], data)
    for trial in trials:
        lanes.store.admit(trial)
    for _ in range(4):
        lanes.train_epoch()
    files.save(trials[2], [0.1, 0.2, 0.3, 0.4], [lanes.store.state(trials[2])])
    wanted = [losses(lanes.train_epoch())[2] for _ in range(3)]
    values, (state,) = files.load(trials[2])
    assert values == [0.1, 0.2, 0.3, 0.4]
    other = make_lanes(trials[0], data)
    other.store.admit(trials[1])
    other.store.admit(trials[2], state, len(values))
    got = [losses(other.train_epoch())[2] for _ in range(3)]
    assert [one[0] for one in got] == [5, 6, 7]
    for mine, theirs in zip(got, wanted, strict=True):
        assert mine == pytest.approx(theirs, rel=1e-5)


def work(trial, data, epochs, stop_at=None):
    """What a lone engine reports of a trial in so many epochs: (epoch, loss)."""
    engine = Engine(data, capacity=2, device="cpu", save=None, lane_files=LaneFiles())
    seen, orders = [], Orders([], [trial], over=False)
    for _ in range(epochs):
        message = engine.step(orders)
        seen += [(epoch, metrics["loss"]) for _, epoch, metrics in message.reports]
        orders = Orders([trial.number] if seen[-1][0] == stop_at else [], [], over=False)
    return seen


@pytest.mark.parametrize("folds", [1, 2])
def test_another_engine_goes_on_from_the_last_state_whose_results_are_known(tmp_path, folds):
    data = [toy_prepared()] * folds
    trial = make_trial(1, tmp_path)
    undisturbed = work(replace(trial, lane_file=None), data, 9)
    assert work(trial, data, 4) == undisturbed[:4]  # killed after epoch 4, saved after 2
    assert work(replace(trial, known=4), data, 3) == undisturbed[2:5]  # saved after 4 this time
    assert work(replace(trial, known=4), data, 5) == undisturbed[4:]
    # The results up to epoch 4 are not on record: from the start.
    assert work(replace(trial, known=3), data, 2) == undisturbed[:2]


def test_an_engine_whose_machine_is_about_to_go_saves_its_trials_at_any_epoch(tmp_path):
    data, trial = [toy_prepared()], make_trial(1, tmp_path)
    undisturbed = work(replace(trial, lane_file=None), data, 5)
    engine = Engine(data, capacity=2, device="cpu", save=None, lane_files=LaneFiles())
    for given in ([trial], [], []):
        engine.step(Orders([], given, over=False))
    message = engine.step(Orders([], [], over=False, leave=True))
    assert (message.returned, message.reports, message.want, engine.num_trials) == ([1], [], 0, 0)
    assert work(replace(trial, known=3), data, 2) == undisturbed[3:], "3 is no epoch at which it would be saved"


def test_a_trial_that_is_stopped_at_the_epoch_is_not_saved(tmp_path):
    work(make_trial(1, tmp_path), [toy_prepared()], 3, stop_at=2)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("damage", ["cut", "empty", "other trial", "other format"])
def test_a_file_that_is_not_this_trials_state_is_none(tmp_path, damage):
    trial = make_trial(1, tmp_path, known=9)
    undisturbed = work(trial, [toy_prepared()], 3)
    path = tmp_path / "1.safetensors"
    data = path.read_bytes()
    if damage == "cut":
        path.write_bytes(data[: len(data) // 2])
    elif damage == "empty":
        path.write_bytes(b"")
    elif damage == "other trial":
        trial = replace(trial, config={**trial.config, "lr": 2e-3})
        assert work(trial, [toy_prepared()], 1)[0][0] == 1
        return
    else:
        path.write_bytes(data.replace(b"avtune lane 3", b"avtune lane 9"))
    assert LaneFiles().load(trial) is None
    assert work(trial, [toy_prepared()], 3) == undisturbed


def test_a_trial_whose_state_has_another_shape_starts_again(tmp_path):
    trial = make_trial(1, tmp_path, known=9)
    files = LaneFiles()
    undisturbed = work(replace(trial, lane_file=None), [toy_prepared()] * 2, 3)
    lanes = make_lanes(trial, toy_prepared())
    lanes.store.admit(trial)
    # The first fold's would fit.
    files.save(trial, [0.1, 0.2], [lanes.store.state(trial), {"params.odd": torch.zeros(3)}])
    assert work(trial, [toy_prepared()] * 2, 3) == undisturbed


def quick(trial, **changes):
    """The trial with an open horizon, and a learning rate with which its curve is flat soon."""
    return replace(trial, config={**trial.config, "lr": 0.05}, epochs=300, horizon=9, **changes)


def until_its_end(trial, data):
    """The epochs that a lone engine reports until the trial ends."""
    engine = Engine(data, capacity=2, device="cpu", save=None, lane_files=LaneFiles())
    message = engine.step(Orders([], [trial], over=False))
    epochs = [epoch for _, epoch, _ in message.reports]
    while not message.ends:
        message = engine.step(Orders([], [], over=False))
        epochs += [epoch for _, epoch, _ in message.reports]
    return epochs


@pytest.mark.parametrize("folds", [1, 2])
def test_a_trial_with_an_open_horizon_ends_at_the_same_epoch_alone_and_after_a_resume(tmp_path, folds):
    data = [toy_prepared()] * folds
    trial = quick(make_trial(1, tmp_path), patience=4)
    lone = []
    train(replace(trial, lane_file=None), data, lambda epoch, metrics: lone.append(epoch) or True)
    assert 5 <= len(lone) < 300
    assert until_its_end(replace(trial, lane_file=None), data) == lone
    work(trial, data, 5)  # killed after epoch 5, saved after 4
    assert until_its_end(replace(trial, known=5), data) == lone[4:]


def test_it_does_not_end_before_it_has_gone_through_its_schedule(tmp_path):
    trial = quick(make_trial(1, tmp_path), patience=2, lane_file=None)
    short = until_its_end(trial, [toy_prepared()])
    assert len(until_its_end(replace(trial, least=len(short) + 7), [toy_prepared()])) >= len(short) + 7


def damaged(data, draw):
    """A lane file with one change: a byte, a cut, bytes that are missing or twice."""
    at, size = draw.randrange(len(data)), draw.randrange(1, 40)
    kind = draw.choice(["byte", "bit", "cut", "missing", "twice"])
    if kind == "cut":
        return data[:at]
    if kind == "missing":
        return data[:at] + data[at + size :]
    if kind == "twice":
        return data[: at + size] + data[at:]
    changed = bytearray(data)
    changed[at] ^= draw.randrange(1, 256) if kind == "byte" else 1 << draw.randrange(8)
    return bytes(changed)


@pytest.mark.parametrize("seed", range(3))
def test_a_file_that_is_damaged_anywhere_is_no_state(tmp_path, seed):
    """As the numbers too have a checksum, nothing of a damaged file is trained on."""
    trial = make_trial(1, tmp_path, known=9)
    undisturbed = work(trial, [toy_prepared()], 3)
    path = tmp_path / "1.safetensors"
    data, draw = path.read_bytes(), random.Random(seed)
    resumed = work(trial, [toy_prepared()], 1)
    assert resumed[0][0] == 3, "the file as it was saved is one"
    header = int.from_bytes(data[:8], "little")
    for turn in range(80):
        # Every second change is in the header, which is small.
        part = slice(None) if turn % 2 else slice(0, 8 + header)
        bad = damaged(data[part], draw) + (b"" if turn % 2 else data[8 + header :])
        path.write_bytes(bad)
        epoch, loss = work(trial, [toy_prepared()], 1)[0]
        # What the file says besides its states, e.g. a name of safetensors' own, may change without a loss.
        assert (epoch, loss) in (undisturbed[0], resumed[0]), (seed, turn)


@pytest.mark.parametrize(
    "change", ["value", "nan", "dtype", "name", "shape", "fold", "values", "no checksum", "other epoch"]
)
def test_states_that_are_not_what_was_saved_are_none(tmp_path, change):
    trial = make_trial(1, tmp_path, known=9)
    undisturbed = work(trial, [toy_prepared()] * 2, 3)
    files = LaneFiles()
    values, folds = files.load(trial)
    first = folds[0]
    name = next(name for name, value in first.items() if value.ndim > 1)
    if change == "value":
        first[name].view(torch.int32).flatten()[0] ^= 1
    elif change == "nan":
        first[name].flatten()[0] = float("nan")
    elif change == "dtype":
        first[name] = first[name].bfloat16()
    elif change == "name":
        first[name + "x"] = first.pop(name)
    elif change == "shape":
        first[name] = first[name].flatten()
    elif change == "fold":
        folds = folds[:1]
    elif change == "values":
        values = [values[0] + 1e-9, *values[1:]]
    elif change == "no checksum":
        del first["checksum"]
    else:
        values = values[:1]
    files.save(trial, values, folds)
    assert work(trial, [toy_prepared()] * 2, 3) == undisturbed


def test_a_damaged_file_of_one_trial_leaves_its_neighbours_alone(tmp_path):
    trials = [make_trial(number, tmp_path) for number in range(3)]
    for trial in trials:
        work(trial, [toy_prepared()], 3)
    path = tmp_path / "1.safetensors"
    data = path.read_bytes()
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    engine = Engine([toy_prepared()], capacity=4, device="cpu", save=None, lane_files=LaneFiles())
    message = engine.step(Orders([], [replace(trial, known=3) for trial in trials], over=False))
    assert [(number, epoch) for number, epoch, _ in message.reports] == [(0, 3), (1, 1), (2, 3)]
