"""The loss of `acmr` against loops over rows, and its reversed gradient against a hand-made one."""

import math

import numpy as np
import pytest
import torch
from slow_losses import cos, rows
from test_method_conformance import Setting

from avtune.methods import Progress
from avtune.methods.acmr import reverse_gradient


def layers(p, name, x, activation):
    for layer in range(3):
        x = activation(x @ p[f"{name}.{layer}.weight"] + p[f"{name}.{layer}.bias"])
    return x


def cross_entropy(logits, label):
    return math.log(sum(math.exp(value) for value in logits)) - logits[label]


@pytest.mark.parametrize("hinge", ["batch", "clip"])
def test_loss_is_the_sum_of_its_terms_by_loops(hinge):
    setting = Setting("acmr", {"hinge": hinge})
    setting.hyper["dropout"] *= 0
    setting.hyper["alpha"] = torch.tensor([5.0, 1.0, 0.5]).double()
    losses = setting.loss()
    for lane in range(3):
        labels = setting.batch.labels[lane].tolist()
        p = {name: value[lane].numpy() for name, value in setting.params.items()}
        h = {name: value[lane].item() for name, value in setting.hyper.items()}
        x_a, x_v = (rows(setting.batch, view, lane) for view in ("audio", "visual"))
        z_a, z_v = ([layers(p, view, x, np.tanh) for x in xs] for view, xs in (("audio", x_a), ("visual", x_v)))
        everyone = range(len(labels))
        l_lab = l_adv = l_cross = 0.0
        for which, z in enumerate((z_a, z_v)):
            for i in everyone:
                l_lab += cross_entropy(z[i] @ p["head.weight"] + p["head.bias"], labels[i]) / len(labels)
                l_adv += cross_entropy(layers(p, "modality", z[i], lambda x: x), which) / len(labels)
        for x, anchors, others in ((x_a, z_a, z_v), (x_v, z_v, z_a)):
            gaps = []
            for i in everyone:
                negatives = [j for j in everyone if labels[j] != labels[i]]
                if negatives:
                    n = max(negatives, key=lambda j: cos(x[i], x[j]))
                    gaps.append(
                        h["alpha"] * math.dist(anchors[i], others[i]) ** 2 / 2
                        - math.dist(anchors[i], others[n]) ** 2 / 2
                    )
            if hinge == "batch":
                l_cross += max(0.0, h["margin"] + sum(gaps))
            else:
                l_cross += sum(max(0.0, h["margin"] + gap) for gap in gaps)
        assert losses["l_lab"][lane].item() == pytest.approx(l_lab, abs=1e-10)
        assert losses["l_adv"][lane].item() == pytest.approx(l_adv, abs=1e-10)
        assert losses["l_cross"][lane].item() == pytest.approx(l_cross, abs=1e-9)
        wanted = h["w_lab"] * l_lab + h["w_cross"] * l_cross + l_adv
        assert losses["loss"][lane].item() == pytest.approx(wanted, abs=1e-8)


def test_anchors_without_another_class_do_not_count():
    setting = Setting("acmr", {})
    setting.batch.labels[:] = 1
    assert setting.loss()["l_cross"].tolist() == [0, 0, 0]


def test_lambda_rises_from_0_to_1_with_each_lanes_progress():
    setting = Setting("acmr", {})
    progress = Progress(torch.tensor([0.0, 5.0, 20.0]).double(), torch.tensor([9.0, 10.0, 20.0]).double())
    made = setting.method.schedules({"reversal": torch.tensor([1.0, 1.0, 0.5]).double()}, progress)["lambda"]
    wanted = [0.0, 2 / (1 + math.exp(-5)) - 1, 0.5 * (2 / (1 + math.exp(-10)) - 1)]
    torch.testing.assert_close(made, torch.tensor(wanted).double())


def test_reversal_keeps_values_and_turns_gradients():
    x = torch.randn(3, 4, 2, dtype=torch.float64, requires_grad=True)
    factor = torch.tensor([0.0, 0.5, 2.0]).double()
    weight = torch.randn(3, 4, 2, dtype=torch.float64)
    made = reverse_gradient(x, factor)
    assert torch.equal(made, x)
    (grad,) = torch.autograd.grad((made * weight).sum(), x)
    assert torch.equal(grad, weight * -factor[:, None, None])


def test_the_classifier_descends_what_the_encoders_climb(monkeypatch):
    setting = Setting("acmr", {})
    setting.progress = Progress(torch.tensor([0.0, 4.0, 8.0]).double(), torch.full((3,), 9.0).double())
    factor = setting.method.schedules(setting.hyper, setting.progress)["lambda"]

    def gradients():
        leaves = {key: value.clone().requires_grad_() for key, value in setting.params.items()}
        grads = torch.autograd.grad(setting.loss(leaves)["l_adv"].sum(), list(leaves.values()), materialize_grads=True)
        return dict(zip(leaves, grads, strict=True))

    made = gradients()
    monkeypatch.setattr("avtune.methods.acmr.reverse_gradient", lambda x, _: x)
    for name, plain in gradients().items():
        scale = 1 if name.startswith("modality") else -factor.view(-1, *[1] * (plain.dim() - 1))
        torch.testing.assert_close(made[name], plain * scale)
    assert made["audio.0.weight"][0].abs().max() == 0
    assert made["audio.0.weight"][1].abs().max() > 0
