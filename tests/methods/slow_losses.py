"""Losses written as loops over rows, from their equations: what the methods' tests compare with."""

import math

import numpy as np


def rows(batch, view, lane):
    """The batch's features of one view and lane as a list of float64 vectors."""
    return list(getattr(batch, view)[lane].numpy())


def cos(x, y):
    return float(x @ y) / math.sqrt(float(x @ x) * float(y @ y))


def unit(x):
    return x / math.sqrt(float(x @ x))


def pairs(z_a, z_v):
    """Mean Euclidean distance of the two views of a clip."""
    return sum(math.dist(a, v) for a, v in zip(z_a, z_v, strict=True)) / len(z_a)


def slow_labelled(z_a, z_v, labels, num_classes, head, bias=None):
    """Mean over clips of both views' Euclidean distance of P z to the one-hot label."""
    total = 0.0
    for i, label in enumerate(labels):
        one_hot = [float(c == label) for c in range(num_classes)]
        for z in (z_a[i], z_v[i]):
            total += math.dist(z @ head + (0 if bias is None else bias), one_hot)
    return total / len(labels)


def slow_likelihood(xs, ys, target):
    """Mean over all (i, j) of log(1 + exp(Th)) - T Th, Th half the cosine."""
    terms = [
        math.log(1 + math.exp(cos(x, y) / 2)) - target[i][j] * cos(x, y) / 2
        for i, x in enumerate(xs)
        for j, y in enumerate(ys)
    ]
    return sum(terms) / len(terms)


def slow_triplets(distance, labels, margin, mining):
    """Mean over the valid triplets of one direction; `distance[i][j]` of anchor i to item j. Classes of the anchors and
    of the items are the same list."""
    terms = []
    for i, row in enumerate(distance):
        positives = [row[p] for p in range(len(row)) if labels[p] == labels[i]]
        negatives = [row[n] for n in range(len(row)) if labels[n] != labels[i]]
        if not positives or not negatives:
            continue
        if mining == "hard":
            terms.append(max(0.0, max(positives) - min(negatives) + margin))
        for p in positives:
            if mining == "semihard":
                farther = [n for n in negatives if n > p]
                terms.append(max(0.0, p - (min(farther) if farther else max(negatives)) + margin))
            if mining == "all":
                terms += [max(0.0, p - n + margin) for n in negatives]
    return sum(terms) / len(terms) if terms else 0.0


def cosine_distances(xs, ys):
    return [[1 - cos(x, y) for y in ys] for x in xs]


def slow_encoder(setting, view, lane):
    """Training-mode outputs of `lanes.modules.encoder` without dropout, by numpy."""
    p = {name.removeprefix(f"{view}."): value[lane].numpy() for name, value in setting.params.items() if view in name}
    x = getattr(setting.batch, view)[lane].numpy()
    x = (x - x.mean(0)) / np.sqrt(x.var(0) + 1e-5)
    for layer in (0, 1):
        x = x @ p[f"{layer}.weight"] + p[f"{layer}.bias"]
        x = (x - x.mean(1, keepdims=True)) / np.sqrt(x.var(1, keepdims=True) + 1e-5)
        x = np.tanh(x * p[f"{layer}.norm.gain"] + p[f"{layer}.norm.bias"])
    return list(x @ p["out.weight"] + p["out.bias"])
