"""Closed-form canonical correlation: `cca`, `c_cca` and `kcca`."""

import math

import numpy as np
import pytest
import scipy.linalg
import torch
from test_method_conformance import solve
from toy import toy_prepared

from avtune.data import load
from avtune.data.prepare import Prepared, Scalers
from avtune.lanes.noise import init_generator
from avtune.methods import METHODS
from avtune.methods._correlation import Moments, cluster_moments, directions
from avtune.metrics import retrieval_scores

# A->V and V->A of the reference, ten directions, ridge 0.1, on the test split.
FIGURES = {
    ("yt8m_ave15.h5", "cca"): (0.416, 0.399),
    ("yt8m_ave15.h5", "c_cca"): (0.517, 0.505),
    ("yt8m_10s.h5", "cca"): (0.451, 0.416),
    ("yt8m_10s.h5", "c_cca"): (0.595, 0.553),
}


def embedded(solution, split):
    method, *weights = solution
    one = ({key: value[None] for key, value in part.items()} for part in weights)
    return [z[0].numpy() for z in method.embed(*one, torch.tensor(split.audio)[None], torch.tensor(split.visual)[None])]


@pytest.fixture(scope="module")
def scaled(real_data):
    """`scaled(name)`: the training and the test rows of a real file, scaled as for a final model."""

    def prepare(name):
        dataset = load(str(real_data(name)))
        scalers = Scalers.fit(dataset.train)
        return Prepared(scalers.apply(dataset.train), scalers.apply(dataset.test), dataset.num_classes)

    return prepare


@pytest.mark.parametrize(("file", "name"), FIGURES)
def test_reproduces_the_reference_figures(scaled, file, name):
    data = scaled(file)
    solution = solve(name, data, embedding_dim=10, ridge=0.1, power=0)
    scores = retrieval_scores(*embedded(solution, data.validation), data.validation.labels)
    assert (scores.map_a2v, scores.map_v2a) == pytest.approx(FIGURES[file, name], abs=0.005)


def slow_solution(audio, visual, ridge, rank):
    """Audio and visual directions by two generalised eigenproblems; signs from the cross-covariance."""
    a, v = audio - audio.mean(0), visual - visual.mean(0)
    aa, vv = np.cov(a.T) + ridge * np.eye(a.shape[1]), np.cov(v.T) + ridge * np.eye(v.shape[1])
    av = a.T @ v / (len(a) - 1)
    w_a = scipy.linalg.eigh(av @ np.linalg.solve(vv, av.T), aa)[1][:, ::-1][:, :rank]
    w_v = scipy.linalg.eigh(av.T @ np.linalg.solve(aa, av), vv)[1][:, ::-1][:, :rank]
    return w_a, w_v * np.sign(np.diag(w_a.T @ av @ w_v))


@pytest.mark.parametrize("pairs", ["clips", "classes"])
def test_embeddings_are_an_independent_eigen_solution(pairs):
    data = toy_prepared(classes=5, clips=80)
    name = "cca" if pairs == "clips" else "c_cca"
    z_a, z_v = embedded(solve(name, data, embedding_dim=3, ridge=0.3), data.validation)
    audio, visual = (x.astype(np.float64) for x in (data.train.audio, data.train.visual))
    rows = [
        (i, j)
        for i, one in enumerate(data.train.labels)
        for j, other in enumerate(data.train.labels)
        if (i == j if pairs == "clips" else one == other)
    ]
    left, right = np.array([audio[i] for i, _ in rows]), np.array([visual[j] for _, j in rows])
    # Over pairs the covariances have no correction for the mean.
    correction = 1 if pairs == "clips" else (1 - 1 / len(rows)) ** 0.5
    w_a, w_v = slow_solution(left * correction, right * correction, 0.3, 3)
    wanted_a = (data.validation.audio - left.mean(0)) @ w_a
    wanted_v = (data.validation.visual - right.mean(0)) @ w_v
    signs = np.sign((z_a * wanted_a).sum(0))
    np.testing.assert_allclose(z_a, wanted_a * signs, atol=1e-4)
    np.testing.assert_allclose(z_v, wanted_v * signs, atol=1e-4)


def test_power_scales_the_directions_by_their_correlations():
    data = toy_prepared()
    plain, scaled = (solve("c_cca", data, embedding_dim=3, power=power) for power in (0, 2))
    rows = [torch.tensor(x)[None] for x in (data.train.audio, data.train.visual, data.train.labels)]
    correlations = directions(cluster_moments(*rows, data.num_classes), torch.ones(1), 3)[2]
    for view in ("audio", "visual"):
        for part in ("weight", "bias"):
            name = f"{view}.{part}"
            torch.testing.assert_close(scaled[1][name], plain[1][name] * correlations[0].float() ** 2)


def test_kernel_features_have_the_kernel_as_their_mean_product():
    data = toy_prepared()
    method = METHODS["kcca"]({"embedding_dim": 2, "fourier_dim": 8192}, data.audio_dim, data.visual_dim, 4)
    one = {key: value[None] for key, value in method._solve_buffers({"bandwidth": 1.7}, init_generator(0)).items()}
    for view, dim in (("audio", data.audio_dim), ("visual", data.visual_dim)):
        x = torch.tensor(getattr(data.validation, view)[:6])
        features = method._inputs(one, view, x[None])[0]
        wanted = torch.exp(-torch.cdist(x, x).square() / (2 * 1.7**2 * dim))
        torch.testing.assert_close(features @ features.T / 8192, wanted, atol=0.06, rtol=0)


def test_kernel_cca_is_cca_of_its_features():
    data = toy_prepared()
    solution = solve("kcca", data, embedding_dim=2, fourier_dim=12, ridge=0.5)
    method, _, buffers = solution
    one = {key: value[None].double() for key, value in buffers.items()}

    def features(split):
        return [
            method._inputs(one, view, torch.tensor(getattr(split, view))[None].double())[0].numpy()
            for view in ("audio", "visual")
        ]

    train, held_out = features(data.train), features(data.validation)
    weights = slow_solution(*train, 0.5, 2)
    wanted = [(new - old.mean(0)) @ w for new, old, w in zip(held_out, train, weights, strict=True)]
    got = embedded(solution, data.validation)
    signs = np.sign((got[0] * wanted[0]).sum(0))
    for view in (0, 1):
        np.testing.assert_allclose(got[view], wanted[view] * signs, atol=1e-4)


def test_kernel_features_come_from_the_seed_alone():
    one, again, other = (solve("kcca", toy_prepared(), seed=seed, fourier_dim=8)[2] for seed in (1, 1, 2))
    assert all(torch.equal(one[key], again[key]) for key in one)
    assert not torch.equal(one["audio.frequency"], other["audio.frequency"])


def test_untrained_closed_forms_are_random_projections():
    method = METHODS["cca"]({"embedding_dim": 5}, 400, 900, 3)
    params, buffers = method.init(init_generator(0))
    assert buffers == {}
    assert params["audio.weight"].std().item() == pytest.approx(1 / math.sqrt(400), rel=0.1)
    assert params["visual.weight"].shape == (900, 5)


def test_moments_have_lanes():
    rows = torch.randn(2, 12, 3, dtype=torch.float64), torch.randn(2, 12, 4, dtype=torch.float64)
    labels = torch.randint(3, (2, 12))
    both = cluster_moments(*rows, labels, 3)
    alone = cluster_moments(*(x[1:] for x in rows), labels[1:], 3)
    assert isinstance(both, Moments)
    torch.testing.assert_close(both.cov_av[1:], alone.cov_av)
