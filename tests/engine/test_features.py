"""One copy of the features a process, none on a CPU; nobody writes to it."""

import numpy as np
import pytest
import torch
from engine_of import EngineRun, alone, make_trials
from toy import toy_prepared

from avtune.core.trial import Trial
from avtune.data.dataset import Split
from avtune.data.prepare import Prepared
from avtune.engine import groups
from avtune.engine.engine import Engine
from avtune.engine.features import Features, Rows
from avtune.engine.lane_trainer import LaneTrainer
from avtune.engine.messages import Orders
from avtune.methods import METHODS, check_config
from avtune.methods._in_place import ChangedInPlace, unchanged


def is_same_memory(tensor, array):
    return tensor.data_ptr() == array.ctypes.data


def read_only(data):
    """As arrays are that come from Ray's object store."""
    for split in (data.train, data.validation):
        for array in (split.audio, split.visual, split.labels):
            array.setflags(write=False)
    return data


@pytest.mark.parametrize("writable", [True, False])
def test_on_a_cpu_the_arrays_themselves_are_read(writable):
    data = toy_prepared() if writable else read_only(toy_prepared())
    found = Features.of(data, "cpu")
    for rows, split in ((found.train, data.train), (found.validation, data.validation)):
        assert is_same_memory(rows.audio, split.audio)
        assert is_same_memory(rows.visual, split.visual)
        assert is_same_memory(rows.labels, split.labels)
    assert Features.of(Prepared(data.train, None, data.num_classes), "cpu").validation is None


def test_arrays_that_torch_cannot_read_are_copied():
    data = toy_prepared().train
    turned = Split(data.audio[::-1], np.asfortranarray(data.visual), data.labels[::-1])
    rows = Rows.of(turned, torch.device("cpu"), torch.float64)
    for found, array in ((rows.audio, turned.audio), (rows.visual, turned.visual), (rows.labels, turned.labels)):
        np.testing.assert_array_equal(found.numpy(), array)
    assert (rows.audio.dtype, rows.labels.dtype) == (torch.float64, torch.int64)


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_all_groups_of_an_engine_share_them(device, monkeypatch):
    """`meta` stands for a GPU: there the features are copied, once."""
    made, of = [], Features.of
    monkeypatch.setattr(groups.Features, "of", lambda data, device: made.append(of(data, device)) or made[-1])
    monkeypatch.setattr(groups, "need", lambda make, trials, device: groups.Need(1, 1))
    monkeypatch.setattr(groups, "free_bytes", lambda device: 1 << 30)
    held = groups.Groups([toy_prepared(seed) for seed in range(3)], lanes=2, device=device)
    for width in (8, 12):
        config = check_config(METHODS["triplet"], {"hidden_dim": width, "embedding_dim": 4, "batch_size": 16})
        group = held.for_trial([Trial(0, "triplet", config, 0, 3)] * 3, "fp32")
        assert [lanes._features for lanes in group.folds] == made
    assert len(made) == 3
    assert len(list(held)) == 2


def test_training_on_read_only_arrays_is_the_same(monkeypatch):
    trials = make_trials("triplet", {0: 0.1, 1: 0.2}) + make_trials("cca", {})
    values, _ = alone(trials)
    monkeypatch.setattr("engine_of.toy_prepared", lambda seed: read_only(toy_prepared(seed)))
    assert EngineRun(trials, 2).run().values == values


def test_a_copy_that_was_written_to_is_told():
    rows = Features.of(toy_prepared(), "cpu").train
    for name in ("audio", "visual", "labels"):
        given = rows.copy()
        rows.check_copy(given, "embed")
        getattr(given, name).numpy()[-1] += 1
        with pytest.raises(ChangedInPlace, match=f"^embed changes {name} in place, which other lanes or steps read"):
            rows.check_copy(given, "embed")


def test_a_view_counts_as_the_tensor():
    whole = torch.zeros(3, 4)
    with unchanged("loss", {"x": whole[1:]}):
        whole.sum()
    with pytest.raises(ChangedInPlace, match="loss changes x in place"), unchanged("loss", {"x": whole[1:]}):
        whole[0].add_(1)
    with pytest.raises(ZeroDivisionError), unchanged("loss", {"x": whole}):
        raise ZeroDivisionError


def test_groups_without_trials_are_dropped():
    """A static whole number is searched: every trial has a group of its own."""
    engine = Engine([toy_prepared()], capacity=2, device="cpu", save=None)
    for number in range(6):
        trial = Trial(number, "triplet", {"hidden_dim": 8 + number, "embedding_dim": 4}, number, epochs=1)
        message = engine.step(Orders([], [trial], over=False))
        assert message.ends == [(number, None, "")]
        assert not list(engine._groups)


def test_lanes_make_their_own_where_none_are_given():
    data = toy_prepared()
    lanes = LaneTrainer("triplet", {"hidden_dim": 8, "embedding_dim": 4, "batch_size": 16, "mining": "all"}, data)
    assert is_same_memory(lanes._features.train.audio, data.train.audio)
