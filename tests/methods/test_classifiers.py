"""`classifiers` against loops over rows and classes."""

import math

import numpy as np
import pytest
import torch
from slow_losses import slow_encoder
from test_method_conformance import Setting, full_config

from avtune.methods import METHODS


def slow_probabilities(logits):
    powers = [math.exp(one) for one in logits]
    return [one / sum(powers) for one in powers]


def test_loss_is_the_cross_entropy_of_each_view_by_loops():
    setting = Setting("classifiers", {})
    setting.hyper["dropout"] *= 0
    setting.hyper["label_smoothing"] = torch.tensor([0.0, 0.1, 0.6]).double()
    losses = setting.loss()
    for lane in range(3):
        smoothing = setting.hyper["label_smoothing"][lane].item()
        labels = setting.batch.labels[lane].tolist()
        total = 0.0
        for view in ("audio", "visual"):
            wanted = 0.0
            for logits, label in zip(slow_encoder(setting, view, lane), labels, strict=True):
                for c, p in enumerate(slow_probabilities(logits)):
                    target = (1 - smoothing) * (c == label) + smoothing / 3
                    wanted -= target * math.log(p) / len(labels)
            assert losses[f"l_{view}"][lane].item() == pytest.approx(wanted, abs=1e-10)
            total += wanted
        assert losses["loss"][lane].item() == pytest.approx(total, abs=1e-10)


def test_embeddings_are_the_class_probabilities_of_training_without_dropout():
    setting = Setting("classifiers", {})
    for view in ("audio", "visual"):  # so that the running statistics are those of the batch
        x = getattr(setting.batch, view)
        setting.buffers[f"{view}.norm.mean"], setting.buffers[f"{view}.norm.var"] = x.mean(1), x.var(1, correction=0)
    made = setting.method.embed(setting.params, setting.buffers, setting.batch.audio, setting.batch.visual)
    for lane in range(3):
        for view, z_LBC in zip(("audio", "visual"), made, strict=True):
            slow = [slow_probabilities(logits) for logits in slow_encoder(setting, view, lane)]
            np.testing.assert_allclose(z_LBC[lane].numpy(), slow, rtol=0, atol=1e-10)


def test_a_view_is_trained_as_if_there_were_no_other():
    setting = Setting("classifiers", {})
    before = setting.loss()
    setting.batch.visual.mul_(-3)
    after = setting.loss()
    assert torch.equal(before["l_audio"], after["l_audio"])
    assert not torch.equal(before["l_visual"], after["l_visual"])


@pytest.mark.parametrize("name", list(METHODS))
def test_the_width_that_a_method_tells_is_that_of_its_embeddings(name):
    setting = Setting(name, {})
    made = setting.method.embed(setting.params, setting.buffers, setting.batch.audio, setting.batch.visual)
    assert {z.shape[-1] for z in made} == {METHODS[name].width(full_config(name), 3)}
