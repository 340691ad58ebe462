"""Moments and canonical directions against explicit pairs, scipy and scikit-learn."""

import numpy as np
import pytest
import scipy.linalg
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.cross_decomposition import CCA

from avtune.methods._correlation import (
    Moments,
    class_sums,
    cluster_moments,
    directions,
    mixed_moments,
    top_correlations,
)


def views(seed, lanes=2, rows=40, dims=(4, 6), classes=3):
    draw = torch.Generator().manual_seed(seed)
    common = torch.randn(lanes, rows, 3, generator=draw, dtype=torch.float64)
    made = [
        torch.cat([common, torch.zeros(lanes, rows, dim - 3)], 2)
        @ torch.randn(dim, dim, generator=draw, dtype=torch.float64)
        + torch.randn(lanes, rows, dim, generator=draw, dtype=torch.float64)
        for dim in dims
    ]
    return *made, torch.randint(classes, (lanes, rows), generator=draw)


def pairs_of(labels):
    return [(i, j) for i, one in enumerate(labels) for j, other in enumerate(labels) if one == other]


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 10_000), rows=st.integers(2, 30), classes=st.integers(1, 5))
def test_cluster_moments_are_those_of_all_within_class_pairs(seed, rows, classes):
    audio, visual, labels = views(seed, rows=rows, classes=classes)
    got = cluster_moments(audio, visual, labels, classes)
    for lane in range(2):
        pairs = pairs_of(labels[lane].tolist())
        left = np.array([audio[lane, i].numpy() for i, _ in pairs])
        right = np.array([visual[lane, j].numpy() for _, j in pairs])
        both = np.cov(np.hstack([left, right]).T, bias=True)
        np.testing.assert_allclose(got.mean_a[lane], left.mean(0), atol=1e-10)
        np.testing.assert_allclose(got.mean_v[lane], right.mean(0), atol=1e-10)
        np.testing.assert_allclose(got.cov_aa[lane], both[:4, :4], atol=1e-10)
        np.testing.assert_allclose(got.cov_vv[lane], both[4:, 4:], atol=1e-10)
        np.testing.assert_allclose(got.cov_av[lane], both[:4, 4:], atol=1e-10)


@pytest.mark.parametrize("weight", [0.0, 0.2, 1.0])
def test_mixed_moments_are_the_mixture_of_clips_and_enumerated_pairs(weight):
    audio, visual, labels = views(1)
    got = mixed_moments(class_sums(audio, visual, labels, 3), torch.full((2,), weight, dtype=torch.float64))
    for lane in range(2):
        a, v = audio[lane].numpy(), visual[lane].numpy()
        both = np.cov(np.hstack([a, v]).T)
        a, v = a - a.mean(0), v - v.mean(0)
        pairs = pairs_of(labels[lane].tolist())
        cluster = sum(np.outer(a[i], v[j]) for i, j in pairs) / len(pairs)
        np.testing.assert_allclose(got.cov_aa[lane], both[:4, :4], atol=1e-10)
        np.testing.assert_allclose(got.cov_vv[lane], both[4:, 4:], atol=1e-10)
        np.testing.assert_allclose(got.cov_av[lane], weight * both[:4, 4:] + (1 - weight) * cluster, atol=1e-10)


def pair_moments(audio, visual, labels):
    return mixed_moments(class_sums(audio, visual, labels, 3), torch.ones(len(labels)))


def eigen_solution(moments, lane, ridge):
    """(correlations, audio directions) of the generalised eigenproblem C_av C_vv^-1 C_va w = rho^2 C_aa w."""
    aa, vv, av = (x[lane].numpy() for x in (moments.cov_aa, moments.cov_vv, moments.cov_av))
    aa, vv = aa + ridge * np.eye(len(aa)), vv + ridge * np.eye(len(vv))
    squares, vectors = scipy.linalg.eigh(av @ np.linalg.solve(vv, av.T), aa)
    return np.sqrt(squares[::-1].clip(0)), vectors[:, ::-1]


def test_directions_solve_the_generalised_eigenproblem():
    moments = pair_moments(*views(2))
    ridge = torch.tensor([0.1, 2.0])
    w_a, w_v, correlations = directions(moments, ridge, 3)
    for lane in range(2):
        wanted, vectors = eigen_solution(moments, lane, ridge[lane].item())
        np.testing.assert_allclose(correlations[lane], wanted[:3], rtol=1e-6)
        overlap = np.abs((w_a[lane].numpy() * vectors[:, :3]).sum(0))
        np.testing.assert_allclose(
            overlap, np.linalg.norm(w_a[lane], axis=0) * np.linalg.norm(vectors[:, :3], axis=0), rtol=1e-6
        )
        # The views' coordinates correlate with each other by just these values, and with no other.
        cross = w_a[lane].T @ moments.cov_av[lane] @ w_v[lane]
        np.testing.assert_allclose(cross, np.diag(wanted[:3]), atol=1e-7)


def test_without_a_ridge_the_correlations_are_scikit_learns():
    audio, visual, labels = views(3, lanes=1, rows=200)
    _, _, got = directions(pair_moments(audio, visual, labels), torch.tensor([1e-12]), 2)
    peer = CCA(2, max_iter=5000, tol=1e-12).fit(audio[0].numpy(), visual[0].numpy())
    x, y = peer.transform(audio[0].numpy(), visual[0].numpy())
    wanted = [np.corrcoef(x[:, k], y[:, k])[0, 1] for k in range(2)]
    np.testing.assert_allclose(got[0], wanted, atol=1e-4)


def test_directions_beyond_the_smaller_view_are_zero():
    w_a, w_v, correlations = directions(pair_moments(*views(4)), torch.ones(2), 7)
    assert w_a.shape == (2, 4, 7)
    assert w_v.shape == (2, 6, 7)
    assert (w_a[..., 4:] == 0).all()
    assert (w_v[..., 4:] == 0).all()
    assert (correlations[:, 4:] == 0).all()


def test_directions_without_correlation_do_not_hang_on_rounding():
    audio, visual, labels = views(5, classes=2)
    exact = cluster_moments(audio, visual, labels, 2)
    noise = 1 + 1e-15 * torch.randn(exact.cov_av.shape, generator=torch.Generator().manual_seed(0)).double()
    rounded = Moments(exact.mean_a, exact.mean_v, exact.cov_aa, exact.cov_vv, exact.cov_av * noise)
    for one, other in zip(directions(exact, torch.ones(2), 4), directions(rounded, torch.ones(2), 4), strict=True):
        torch.testing.assert_close(one.abs(), other.abs(), rtol=1e-3, atol=1e-5)


def test_top_correlations_are_the_singular_values_of_the_whitened_covariance():
    moments = pair_moments(*views(6))
    got = top_correlations(moments, torch.tensor([0.1, 0.5]), 2)
    for lane, ridge in enumerate((0.1, 0.5)):
        assert got[lane].item() == pytest.approx(eigen_solution(moments, lane, ridge)[0][:2].sum())


def test_the_gradient_of_equal_correlations_is_finite_and_right():
    labels = torch.zeros(1, 8, dtype=torch.int64)
    basis = torch.linalg.qr(
        torch.randn(8, 8, generator=torch.Generator().manual_seed(0)).double() - torch.ones(8, 1).double()
    ).Q[None]
    # Three coordinates that correlate equally and one that does not.
    audio = (basis[..., :4] - basis[..., :4].mean(1, keepdim=True)).requires_grad_()
    visual = audio.detach() * torch.tensor([1.0, 1.0, 1.0, 0.0]) + basis[..., 4:]

    def total(x):
        return top_correlations(pair_moments(x, visual, labels), torch.tensor([0.5]).double(), 4)

    assert torch.autograd.gradcheck(total, (audio,))
    equal = Moments(torch.zeros(1, 3), torch.zeros(1, 3), *(torch.eye(3)[None].double().clone() for _ in range(3)))
    equal.cov_av.requires_grad_()
    (gradient,) = torch.autograd.grad(top_correlations(equal, torch.zeros(1), 3).sum(), equal.cov_av)
    torch.testing.assert_close(gradient[0], torch.eye(3).double())


def test_a_lane_that_is_not_finite_leaves_the_others_alone():
    audio, visual, labels = views(7)
    alone = top_correlations(pair_moments(audio[:1], visual[:1], labels[:1]), torch.ones(1), 2)
    audio[1, 0, 0] = torch.nan
    audio.requires_grad_()
    moments = pair_moments(audio, visual, labels)
    got = top_correlations(moments, torch.ones(2), 2)
    assert got.isnan().tolist() == [False, True]
    torch.testing.assert_close(got[:1], alone)
    assert torch.autograd.grad(got[0], audio)[0][0].isfinite().all()
    w_a, w_v, _ = directions(moments, torch.ones(2), 2)
    for weight in (w_a, w_v):
        assert weight[0].isfinite().all()
        assert weight[1].isnan().any()
