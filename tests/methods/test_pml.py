"""Losses of pytorch-metric-learning as methods: the library's own value and gradient, in lanes."""

import sys
from pathlib import Path

import pytest
import torch
from command import call
from slow_losses import slow_encoder
from test_method_conformance import DIMS
from toy import write_toy

from avtune.core.errors import UserError
from avtune.engine import user_code
from avtune.methods import METHODS, Batch, defaults
from avtune.methods._contract import Sample, broken
from avtune.methods.pml import method_of
from avtune.space.free import space_of

SMALL = {"hidden_dim": 12, "embedding_dim": 5, "batch_size": 12}


def losses():
    return pytest.importorskip("pytorch_metric_learning.losses", reason="the extra pml is not installed")


def sample_of(name, lanes=3, **config):
    kind = method_of(f"pml:{name}")
    sample = Sample(kind, defaults(kind) | SMALL | config, DIMS, lanes=lanes, rows=12, dtype=torch.float64)
    sample.hyper["dropout"] *= 0
    return sample


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("name", "across", "fused"),
    [
        ("MultiSimilarityLoss", True, True),
        ("GeneralizedLiftedStructureLoss", True, True),
        ("TripletMarginLoss", True, False),
        ("NTXentLoss", True, False),
        ("CircleLoss", True, False),
        ("CosFaceLoss", False, None),
        ("ProxyNCALoss", False, None),
    ],
)
def test_value_and_gradient_are_the_librarys_own(name, across, fused):
    library = getattr(losses(), name)
    sample = sample_of(name)
    params, buffers, batch, hyper, progress = sample.all_lanes()
    leaves = {key: value.clone().requires_grad_() for key, value in params.items()}
    found = sample.method.loss(leaves, buffers, batch, hyper, progress)
    of = torch.autograd.grad(found["loss"].sum(), list(leaves.values()), materialize_grads=True)
    grads = dict(zip(leaves, of, strict=True))
    if fused is not None:
        assert sample.method._fused is fused
    own = [key for key in params if key.startswith("loss.")]
    for lane in range(3):
        sizes = {} if across else {"num_classes": DIMS[2], "embedding_size": 5}
        numbers = {key: hyper[key][lane].item() for key in sample.method.given if key in hyper}
        module = library(**numbers, **sizes).double()
        for key in own:
            getattr(module, key.removeprefix("loss.")).data.copy_(params[key][lane])
        views = [torch.tensor(slow_encoder(sample, view, lane)).requires_grad_() for view in ("audio", "visual")]
        labels = batch.labels[lane]
        if across:
            one, other = (module(views[i], labels, ref_emb=views[1 - i], ref_labels=labels.clone()) for i in (0, 1))
            wanted = (one + other) / 2
        else:
            wanted = module(torch.cat(views), torch.cat([labels, labels]))
        assert found["loss"][lane].item() == pytest.approx(wanted.item(), rel=1e-8)
        wanted.backward()
        for view, z in zip(("audio", "visual"), views, strict=True):
            # The gradient of the last layer's bias is the sum over clips of that of the embeddings.
            torch.testing.assert_close(grads[f"{view}.out.bias"][lane], z.grad.sum(0), rtol=1e-6, atol=1e-9)
        for key in own:
            weight = getattr(module, key.removeprefix("loss."))
            torch.testing.assert_close(grads[key][lane], weight.grad, rtol=1e-6, atol=1e-9)


def test_vmap_and_the_loop_give_the_same():
    losses()
    sample = sample_of("MultiSimilarityLoss")
    values = []
    for fused in (True, False):
        sample.method._fused = fused
        values.append(sample.method.loss(*sample.all_lanes())["loss"])
    torch.testing.assert_close(*values, rtol=1e-10, atol=1e-12)


def test_keeps_to_the_contract_of_methods():
    losses()
    for name in ("MultiSimilarityLoss", "TripletMarginLoss", "ProxyAnchorLoss"):
        kind = method_of(f"pml:{name}")
        assert broken(kind, defaults(kind) | SMALL, DIMS) is None


def test_a_seed_gives_one_first_value_of_the_losss_own_weights():
    losses()
    method = sample_of("ProxyAnchorLoss").method
    first, again, other = (method.init(torch.Generator().manual_seed(seed))[0]["loss.proxies"] for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_hyper_parameters_and_space_come_from_the_signature():
    losses()
    kind = method_of("pml:MultiSimilarityLoss")
    ours = {hyper.name: hyper for hyper in kind.hypers}
    assert (ours["alpha"].default, ours["beta"].default, ours["base"].default) == (2, 50, 0.5)
    assert (ours["base"].low, ours["base"].high) == (0.05, 5)
    from avtune.methods import hypers_of
    from avtune.space.files import load

    like = load("psd", hypers_of=hypers_of, method_names=METHODS)
    text = space_of("pml:MultiSimilarityLoss", ours, like)
    assert "beta: {" in text.replace("\n      ", "{") or "beta:" in text
    assert method_of("pml:FastAPLoss").given["num_bins"].static


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["LargeMarginSoftmaxLoss", "SphereFaceLoss"])
def test_a_margin_that_the_library_cuts_is_a_whole_number_from_1(name):
    losses()
    kind = method_of(f"pml:{name}")
    margin = kind.given["margin"]
    assert (margin.kind, margin.default, margin.low, margin.high, margin.static) == ("int", 4, 1, 40, False)
    for value in (margin.low, margin.high):
        assert broken(kind, defaults(kind) | SMALL | {"margin": value}, DIMS) is None


def test_what_has_no_effect_is_said():
    losses()
    given = method_of("pml:MarginLoss").given
    assert "without effect with learn_beta" in given["beta"].doc
    assert "without effect but with learn_beta" in given["nu"].doc
    values = {}
    for learn in (False, True):
        for beta in (0.3, 1.2):
            sample = sample_of("MarginLoss", beta=beta, learn_beta=learn)
            values[learn, beta] = sample.method.loss(*sample.lane(0))["loss"].item()
    assert values[False, 0.3] != values[False, 1.2]
    assert values[True, 0.3] == values[True, 1.2]


def test_a_search_over_a_loss_by_its_name(workplace, capsys):
    losses()
    write_toy(workplace)
    sets = ["space.hidden_dim=8", "space.embedding_dim=4", "space.batch_size=16", "early_stopping.epochs=2"]
    sets += ["early_stopping.grace=2", "final.finalists=1", "final.seeds=1", "final.reference=none"]
    words = ["search", "toy.h5", "--method", "pml:MultiSimilarityLoss", "--trials", "1", "--name", "one"]
    words += [word for one in sets for word in ("--set", one)]
    printed = call(capsys, *words, "--runner", "inline", "--gpus", "0")
    assert "pml:MultiSimilarityLoss; searches alpha, beta, base, dropout, lr" in printed
    assert user_code.code_of("pml:MultiSimilarityLoss")
    assert Path("results/one/final/model.safetensors").is_file()


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("MultiSimilartyLoss", "did you mean 'MultiSimilarityLoss'"),
        ("VICRegLoss", "is not trained with labels"),
        ("DynamicSoftMarginLoss", "keeps a histogram over the steps"),
        ("RankedListLoss", "it must be given margin, Tn"),
    ],
)
def test_what_cannot_be_trained_is_said(name, said):
    losses()
    with pytest.raises(UserError) as caught:
        user_code.register(user_code.METHOD, f"pml:{name}")
    assert said in str(caught.value)


def test_without_the_extra_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "pytorch_metric_learning", None)
    with pytest.raises(UserError, match=r"pip install 'avtune\[pml\]'"):
        method_of("pml:TripletMarginLoss")


def test_lanes_of_other_labels_do_not_touch_each_other():
    losses()
    sample = sample_of("TripletMarginLoss")
    params, buffers, batch, hyper, progress = sample.all_lanes()
    whole = sample.method.loss(params, buffers, batch, hyper, progress)["loss"]
    labels = batch.labels.clone()
    labels[1:] = 0
    other = sample.method.loss(
        params, buffers, Batch(batch.audio, batch.visual, labels, batch.dropout_keys), hyper, progress
    )["loss"]
    assert whole[0] == other[0]
    assert whole[1] != other[1]
