"""Schedules over the epochs of a trial: where they lead, that they stay there, and who has them."""

import pytest
import torch

from avtune.methods import METHODS, Progress, check_config, get, static_values

SCHEDULED = {"acmr": {}, "two_stage": {}, "psd": {"r_schedule": "linear"}}


def schedules(name, config, epoch, horizon=10):
    config = check_config(get(name), config)
    method = get(name)(static_values(get(name), config), 5, 7, 3)
    hyper = {one.name: torch.tensor([float(config[one.name])]) for one in method.hypers if not one.static}
    return method.schedules(hyper, Progress(torch.tensor([float(epoch)]), torch.tensor([float(horizon)])))


@pytest.mark.parametrize(("name", "config"), [*SCHEDULED.items(), ("psd", {"r_schedule": "cosine"})])
def test_a_schedule_keeps_its_last_value_beyond_its_horizon(name, config):
    last = schedules(name, config, 10)
    assert last
    for epoch in (11, 30, 1000):
        for key, value in schedules(name, config, epoch).items():
            assert value == pytest.approx(last[key])
    assert any(value != last[key] for key, value in schedules(name, config, 1).items())


def test_those_that_have_one_say_so():
    for name, kind in METHODS.items():
        config = check_config(kind, SCHEDULED.get(name, {}))
        assert kind.lays_out(config) == (name in SCHEDULED)
    assert not METHODS["psd"].lays_out(check_config(METHODS["psd"], {}))
