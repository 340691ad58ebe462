"""A trained model is read back whatever its widths, and a file that declares more than it holds allocates nothing."""

import numpy as np
import pytest
import torch

from avtune.core.errors import UserError
from avtune.core.files import read_yaml, to_yaml
from avtune.data.prepare import Scalers
from avtune.data.split import Scaler
from avtune.engine.allocation import AtMost, TooMany
from avtune.engine.model import CONFIG, Model, load_model, untrained
from avtune.methods import METHODS, Hyper, check_config, get
from avtune.methods.psd import PSD

DIMS = (12, 1024, 3)


def scaler(size):
    return Scaler(np.zeros(size, np.float32), np.ones(size, np.float32))


def saved(folder, method, **config):
    full = check_config(get(method), config)
    trained = untrained(method, full, DIMS, 0)
    scalers = Scalers(scaler(DIMS[0]), scaler(DIMS[1]))
    Model(method, full, trained, scalers, ("a", "b", "c"), {}).save(folder)
    return trained


@pytest.mark.parametrize(
    ("method", "config"),
    [
        ("psd", {"hidden_dim": 16, "embedding_dim": 256}),
        ("psd", {"hidden_dim": 8, "embedding_dim": 4096}),
        ("clip", {"hidden_dim": 8, "embedding_dim": 1024}),
        ("acmr", {"hidden_dim": 8, "second_dim": 1024}),
    ],
)
def test_wide_embeddings_over_narrow_layers_are_read_back(method, config, tmp_path):
    trained = saved(tmp_path, method, **config)
    found = load_model(tmp_path).trained
    assert found.params.keys() == trained.params.keys()
    assert all(torch.equal(value, trained.params[name]) for name, value in found.params.items())


class Wide(PSD):
    """Makes far more than its configuration's `_dim` says."""

    name = "wide"
    hypers = (
        *PSD.hypers,
        Hyper("tables", "int", 1, 1, 1 << 40, static=True),
        Hyper("unrelated_dim", "int", 1, 1, 1 << 40, static=True),
    )

    def init(self, generator):
        params, buffers = super().init(generator)
        for table in range(self.static["tables"]):
            buffers[f"table.{table}"] = torch.randn(1 << 20, generator=generator)[:2].clone()
        return params, buffers


def test_any_hyper_parameter_that_declares_more_than_the_file_holds_is_refused(tmp_path, monkeypatch):
    monkeypatch.setitem(METHODS, "wide", Wide)
    saved(tmp_path, "wide", hidden_dim=8, embedding_dim=4, unrelated_dim=1 << 40)
    load_model(tmp_path)
    facts = read_yaml(tmp_path / CONFIG)
    facts["config"]["tables"] = 1 << 40
    (tmp_path / CONFIG).write_text(to_yaml(facts))
    with pytest.raises(UserError, match="do not fit the configuration beside them, by which a wide has many more"):
        load_model(tmp_path)


def test_an_operation_that_would_make_too_much_does_not_run():
    huge = 1 << 50  # no machine has it
    with AtMost(100), pytest.raises(TooMany):
        torch.randn(huge, generator=torch.Generator())
    for too_much in (lambda x: x.expand(huge, 10).clone(), lambda x: x.repeat(huge), lambda x: x.new_zeros(huge)):
        with pytest.raises(TooMany), AtMost(100):
            too_much(torch.ones(10))


def test_what_has_its_shape_from_values_is_counted_once_it_is_there():
    with AtMost(150), pytest.raises(TooMany):
        torch.ones(100).nonzero()  # 100 and 100 more
    with AtMost(250):
        assert len(torch.ones(100).nonzero()) == 100


def test_views_and_writes_in_place_are_free_and_draws_are_as_outside():
    def drawn():
        generator = torch.Generator().manual_seed(1)
        made = torch.empty(40).uniform_(generator=generator)
        for _ in range(9):
            made = made.view(8, 5).t().mul_(2)[:, :4].reshape(-1) if len(made) == 40 else made.add_(1)
        return made, torch.randperm(10, generator=generator), torch.rand((), generator=generator).item()

    with AtMost(100):
        found = drawn()
    wanted = drawn()
    assert torch.equal(found[0], wanted[0])
    assert torch.equal(found[1], wanted[1])
    assert found[2] == wanted[2]
