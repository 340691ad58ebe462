"""The anchors' proxies and the triplets of `aadml` against loops over rows."""

import math

import pytest
import torch
from slow_losses import cos, cosine_distances, slow_encoder, slow_triplets, unit
from test_method_conformance import Setting


def slow_proxies(z, labels, k, tau, graph, query=None, key=None):
    proxies = []
    for i, anchor in enumerate(z):
        reachable = [j for j in range(len(z)) if graph == "nearest" or labels[j] == labels[i]]
        nearest = sorted(reachable, key=lambda j: -cos(anchor, z[j]))[:k]
        if query is None:
            scores = [cos(anchor, z[j]) for j in nearest]
        else:
            scores = [float((unit(anchor) @ query) @ (unit(z[j]) @ key)) for j in nearest]
        weights = [math.exp(score / tau) for score in scores]
        proxies.append(sum(w * unit(z[j]) for w, j in zip(weights, nearest, strict=True)) / sum(weights))
    return proxies


@pytest.mark.parametrize("mining", ["all", "hard", "semihard"])
@pytest.mark.parametrize(
    ("attention", "graph"), [("cosine", "nearest"), ("learned", "nearest"), ("cosine", "same_class")]
)
def test_cross_modal_loss_is_the_loop_over_proxies(mining, attention, graph):
    setting = Setting("aadml", {"mining": mining, "attention": attention, "graph": graph})
    setting.hyper["dropout"] *= 0
    setting.hyper["margin"] += 0.3
    setting.hyper["tau"] += torch.tensor([0.0, 0.2, 1.0])
    setting.hyper["k"] = torch.tensor([2.0, 5.0, 64.0]).double()
    losses = setting.loss()
    for lane in range(3):
        labels = setting.batch.labels[lane].tolist()
        h = {name: value[lane].item() for name, value in setting.hyper.items()}
        sides = {}
        if attention == "learned":
            sides = {side: setting.params[f"attention.{side}"][lane].numpy() for side in ("query", "key")}
        z_a, z_v = (slow_encoder(setting, view, lane) for view in ("audio", "visual"))
        total = 0.0
        for anchors, others in ((z_a, z_v), (z_v, z_a)):
            proxies = slow_proxies(anchors, labels, int(h["k"]), h["tau"], graph, **sides)
            total += slow_triplets(cosine_distances(proxies, others), labels, h["margin"], mining) / 2
        assert losses["l_cross"][lane].item() == pytest.approx(total, abs=1e-9)


@pytest.mark.parametrize("mining", ["all", "hard"])
def test_with_one_neighbour_it_is_triplet(mining):
    aadml, triplet = Setting("aadml", {"mining": mining}), Setting("triplet", {"mining": mining})
    aadml.hyper["k"] = torch.ones(3).double()
    for term, value in triplet.loss().items():
        torch.testing.assert_close(aadml.loss()[term], value)
