"""How many lanes fit, from what one and two of them take."""

from dataclasses import replace

import pytest
import torch
from toy import toy_prepared

from avtune.core.trial import Trial
from avtune.engine import memory as engine_memory
from avtune.engine.blocks import BLOCK_BYTES
from avtune.engine.lane_trainer import LaneTrainer
from avtune.engine.memory import Need, free_bytes, is_wide, need
from avtune.methods import METHODS, check_config, static_values


@pytest.mark.parametrize(("free", "lanes"), [(99, 0), (100, 1), (119, 1), (120, 2), (1000, 46)])
def test_as_many_lanes_as_their_bytes_allow(free, lanes):
    assert Need(first=100, further=20).lanes(free) == lanes


def make_trial(method):
    return Trial(0, method, check_config(METHODS[method], {"embedding_dim": 4}), seed=0, epochs=2)


def maker(trial, made=None):
    def make(lanes):
        static = static_values(METHODS[trial.method], trial.config)
        group = LaneTrainer(trial.method, static, toy_prepared(), capacity=lanes)
        if made is not None:
            made.append(group)
        return group

    return make


@pytest.mark.parametrize(("method", "copies"), [("psd", 3), ("cca", 1)])
def test_on_a_cpu_a_lane_takes_its_weights_its_moments_and_a_batch(method, copies):
    trial, made = make_trial(method), []
    found = need(maker(trial, made), [trial] * 5, "cpu")
    params, buffers = made[0].store.weights(trial)
    state = copies * sum(v.nbytes for v in params.values()) + sum(v.nbytes for v in buffers.values())
    rows = (10 + 14) * 4 + 8  # bytes of a clip and its label
    assert found.further == 5 * state + (48 * rows if method == "psd" else 0)  # a batch has all 48 clips
    assert found.first - found.further == 6 * BLOCK_BYTES + 48 * rows  # those validated on, or solved for


@pytest.mark.parametrize(("batch", "matrices"), [(48, 0), (495, 0), (2048, 16)])
def test_the_similarities_of_large_batches_count(batch, matrices):
    trial = make_trial("psd")
    small, large = (
        need(maker(one), [one], "cpu") for one in (trial, replace(trial, config=trial.config | {"batch_size": batch}))
    )
    more = large.further - small.further
    assert more == pytest.approx(matrices * 4 * batch**2, abs=6 * BLOCK_BYTES / 16)
    assert (more > 0) == (matrices > 0)


def test_a_block_of_wide_lanes_is_larger(monkeypatch):
    monkeypatch.setattr(engine_memory, "_STEPS", 1)
    monkeypatch.setattr(engine_memory, "_MATRICES", 0)
    trial, made = make_trial("psd"), []
    found = need(maker(trial, made), [trial], "cpu")
    batch, rows = made[0].copied_bytes
    assert found.first - found.further == 4 * (found.further - batch) + rows


def test_on_a_gpu_one_lane_and_two_are_measured(monkeypatch):
    """A made-up allocator: 1,000 bytes held before, 500 an epoch, 70 MB a lane."""
    made = []
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda device: None)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: 1000)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: 1500 + 70_000_000 * made[-1].num_active)
    trial = make_trial("triplet")
    found = need(maker(trial, made), [trial], "cuda:0")
    assert [group.num_active for group in made[1:]] == [1, 2]
    assert found == Need(first=70_000_500, further=70_000_000)
    state = made[0].store.lane_bytes
    assert need(maker(trial, made), [trial] * 3, "cuda:0") == Need(70_000_500 + 2 * state, 70_000_000 + 2 * state)


def test_what_torch_keeps_on_a_gpu_is_free(monkeypatch):
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (100, 1000))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: 500)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: 300)
    assert free_bytes("cuda:0") == 270


def test_an_engine_takes_its_threads_share_of_a_cpus_memory(monkeypatch):
    monkeypatch.setattr(engine_memory, "available_memory", lambda: 1000)
    monkeypatch.setattr(engine_memory, "usable_cores", lambda: 4)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    assert free_bytes("cpu") == 225
    monkeypatch.setattr(torch, "get_num_threads", lambda: 8)
    assert free_bytes("cpu") == 900


@pytest.mark.parametrize("method", ["psd", "cca", "acmr"])
def test_a_lane_is_wide_by_the_bytes_of_its_weights(method, monkeypatch):
    config = check_config(METHODS[method], {"embedding_dim": 4})
    dims = (8, 10, 3)
    params, _ = METHODS[method](static_values(METHODS[method], config), *dims).init(torch.Generator())
    taken = sum(value.float().nbytes for value in params.values())
    monkeypatch.setattr(engine_memory, "WIDE_BYTES", taken)
    assert not is_wide(method, config, dims)
    monkeypatch.setattr(engine_memory, "WIDE_BYTES", taken - 1)
    assert is_wide(method, config, dims)
