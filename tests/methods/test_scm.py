"""`scm` against scikit-learn's logistic regression on the coordinates of `cca` and `c_cca`."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from test_method_conformance import full_config, solve
from toy import toy_prepared

from avtune.methods import METHODS
from avtune.methods.scm import softmax_regression


def embedded(method, params, buffers, rows):
    one = [{key: value[None].double() for key, value in part.items()} for part in (params, buffers)]
    return [z[0].numpy() for z in method.embed(*one, *(torch.tensor(x)[None].double() for x in rows))]


@pytest.mark.parametrize(("correlation", "projection"), [("clips", "cca"), ("classes", "c_cca")])
def test_embeddings_are_the_probabilities_of_sklearns_regression(correlation, projection):
    data = toy_prepared()
    rows, unseen = ((split.audio, split.visual) for split in (data.train, data.validation))
    sizes = {"ridge": 2.0, "embedding_dim": 4}
    made = embedded(*solve("scm", data, l2=0.02, correlation=correlation, **sizes), unseen)
    projected = solve(projection, data, **sizes)
    for train, validation, z in zip(embedded(*projected, rows), embedded(*projected, unseen), made, strict=True):
        sklearn = LogisticRegression(C=1 / (0.02 * len(train)), tol=1e-10, max_iter=5000)
        sklearn.fit(train, data.train.labels)
        np.testing.assert_allclose(z, sklearn.predict_proba(validation), rtol=0, atol=2e-5)


def test_the_regression_is_where_the_gradient_is_zero():
    draw = np.random.default_rng(0)
    x, labels = torch.tensor(draw.normal(size=(40, 3))), torch.tensor(draw.integers(0, 3, 40))
    solved = softmax_regression(x, labels, 3, 0.1)
    p = (x @ solved["weight"] + solved["bias"]).softmax(1).numpy()
    for c in range(3):
        miss = p[:, c] - (labels == c).numpy()
        slope = (miss[:, None] * x.numpy()).mean(0) + 0.1 * solved["weight"][:, c].numpy()
        np.testing.assert_allclose([*slope, miss.mean()], 0, atol=1e-6)


def test_a_class_without_rows_has_no_probability():
    x, labels = torch.randn(20, 2, generator=torch.Generator().manual_seed(0)).double(), torch.tensor([0, 2] * 10)
    solved = softmax_regression(x, labels, 3, 0.1)
    p = (x @ solved["weight"] + solved["bias"]).softmax(1)
    assert (p[:, 1] == 0).all()
    assert torch.isfinite(p).all()


def test_it_takes_what_cca_takes_but_the_power():
    assert {"ridge", "embedding_dim", "l2", "correlation"} == {hyper.name for hyper in METHODS["scm"].hypers}
    assert full_config("scm")["correlation"] == "clips"
