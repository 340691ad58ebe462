"""What every registered method must do. A new method is tested by being registered."""

import dataclasses

import numpy as np
import pytest
import torch
from toy import toy_prepared

from avtune.core.trial import Trial
from avtune.engine.lane_trainer import LaneTrainer
from avtune.lanes.noise import init_generator
from avtune.methods import METHODS, Batch, Progress, static_values
from avtune.methods._closed_form import ClosedForm
from avtune.methods._contract import Sample, broken
from avtune.metrics import retrieval_scores
from benchmarks import _agreement
from benchmarks._agreement import apart, changes, run, run_alone, some_trials

SMALL = {"hidden_dim": 12, "embedding_dim": 5, "batch_size": 12, "fourier_dim": 64}
DIMS = (6, 9, 3)
# No multiples of a vector's width: kernels treat what is left over otherwise, and what is left over differs by lanes.
ODD = {"hidden_dim": 67, "embedding_dim": 13, "batch_size": 37, "fourier_dim": 65}


CASES = [
    pytest.param(name, change, id=f"{name}-{label}")
    for name, method in METHODS.items()
    for label, change in changes(method)
    if not issubclass(method, ClosedForm)
]
BY_NAME = [pytest.param(name, id=name) for name in METHODS]
TRAINED = [pytest.param(name, id=name) for name, method in METHODS.items() if not issubclass(method, ClosedForm)]
SOLVED = [pytest.param(name, id=name) for name, method in METHODS.items() if issubclass(method, ClosedForm)]


def full_config(name, change=None, **more):
    """The method's defaults with `change`, and with those of the small sizes and `more` that the method knows."""
    return _agreement.full_config(name, SMALL | more, change)


class Setting(Sample):
    """A method with L lanes of random weights, hyper-parameters and one batch, in float64."""

    def __init__(self, name, change, lanes=3, rows=12):
        super().__init__(METHODS[name], full_config(name, change), DIMS, lanes=lanes, rows=rows, dtype=torch.float64)
        if "r_init" in self.hyper:
            self.hyper["r_init"] = torch.linspace(0.3, 0.8, lanes).double()
            self.hyper["r_shrink"] = torch.linspace(0.99, 0.9, lanes).double()

    def loss(self, params=None, lanes=slice(None), batch=None):
        batch = batch or self.batch
        one = Batch(batch.audio[lanes], batch.visual[lanes], batch.labels[lanes], batch.dropout_keys[lanes])
        buffers = {name: value[lanes].clone() for name, value in self.buffers.items()}
        hyper = {name: value[lanes] for name, value in self.hyper.items()}
        progress = Progress(self.progress.epoch[lanes], self.progress.epochs[lanes])
        chosen = {name: value[lanes] for name, value in (params or self.params).items()}
        return self.method.loss(chosen, buffers, one, hyper, progress)


@pytest.mark.parametrize(("name", "change"), [*CASES, *(pytest.param(*p.values, {}, id=p.id) for p in SOLVED)])
def test_keeps_to_what_a_users_method_is_asked_for(name, change):
    assert broken(METHODS[name], full_config(name, change), DIMS) is None


@pytest.mark.parametrize(("name", "change"), CASES)
def test_loss_has_a_value_for_every_lane(name, change):
    losses = Setting(name, change).loss()
    assert "loss" in losses
    assert len(losses) > 1
    for term, value in losses.items():
        assert value.shape == (3,), term
        assert torch.isfinite(value).all(), term


@pytest.mark.parametrize(("name", "change"), CASES)
def test_gradient_agrees_with_finite_differences(name, change, monkeypatch):
    # A reversed gradient is no gradient of the loss: its own test is in test_acmr.py.
    monkeypatch.setattr("avtune.methods.acmr.reverse_gradient", lambda x, _: x)
    setting = Setting(name, change)
    leaves = {key: value.clone().requires_grad_() for key, value in setting.params.items()}
    total = setting.loss(leaves)["loss"].sum()
    grads = dict(zip(leaves, torch.autograd.grad(total, list(leaves.values()), materialize_grads=True), strict=True))
    draw = torch.Generator().manual_seed(0)
    if setting.method.static.get("soft_labels"):
        # Soft labels are constants to the gradient, so they have to be constants to the differences too.
        frozen = setting.method._soft_labels
        kept = []

        def soft(*arguments):
            if not kept:
                kept.append(frozen(*arguments))
            return kept[0]

        setting.method._soft_labels = soft
        setting.loss()
    step = 2e-7  # so small that hardly ever a triplet crosses its kink within it
    for _ in range(3):
        ray = {k: torch.randn(v.shape, generator=draw, dtype=v.dtype) for k, v in setting.params.items()}
        up, down = (
            setting.loss({k: v + sign * step * ray[k] for k, v in setting.params.items()})["loss"].sum()
            for sign in (1, -1)
        )
        slope = sum((grads[k] * ray[k]).sum() for k in grads)
        torch.testing.assert_close(slope, (up - down) / (2 * step), rtol=2e-5, atol=1e-7)


@pytest.mark.parametrize(("name", "change"), CASES)
def test_a_lane_has_the_loss_and_gradient_it_has_alone(name, change):
    setting = Setting(name, change)
    leaves = {key: value.clone().requires_grad_() for key, value in setting.params.items()}
    together = setting.loss(leaves)
    grads = torch.autograd.grad(together["loss"].sum(), list(leaves.values()), materialize_grads=True)
    for lane in range(3):
        part = slice(lane, lane + 1)
        alone_leaves = {key: value.clone().requires_grad_() for key, value in setting.params.items()}
        alone = setting.loss(alone_leaves, part)
        for term, value in alone.items():
            torch.testing.assert_close(together[term][part], value, rtol=1e-10, atol=1e-12)
        alone_grads = torch.autograd.grad(alone["loss"].sum(), list(alone_leaves.values()), materialize_grads=True)
        for one, other in zip(grads, alone_grads, strict=True):
            torch.testing.assert_close(one[part], other[part], rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", BY_NAME)
def test_embeddings_of_a_clip_do_not_depend_on_the_others(name):
    setting = Setting(name, {})
    batch = setting.batch
    z_a, z_v = setting.method.embed(setting.params, setting.buffers, batch.audio, batch.visual)
    order = torch.randperm(batch.audio.shape[1], generator=torch.Generator().manual_seed(1))
    moved = setting.method.embed(setting.params, setting.buffers, batch.audio[:, order], batch.visual[:, order])
    torch.testing.assert_close(z_a[:, order], moved[0])
    torch.testing.assert_close(z_v[:, order], moved[1])
    first = setting.method.embed(setting.params, setting.buffers, batch.audio[:, :1], batch.visual[:, :1])
    torch.testing.assert_close(z_a[:, :1], first[0])
    assert z_a.shape == z_v.shape


@pytest.mark.parametrize("name", BY_NAME)
def test_hyper_parameters_are_documented_and_their_defaults_legal(name):
    method = METHODS[name]
    names = [hyper.name for hyper in method.hypers]
    assert len(names) == len(set(names))
    training = {"lr", "weight_decay", "batch_size"} & set(names)
    assert len(training) == (0 if issubclass(method, ClosedForm) else 3)
    for hyper in method.hypers:
        assert hyper.check(hyper.default) == hyper.default
        assert hyper.doc
        assert hyper.static or hyper.kind in ("float", "int")
    assert method.summary
    assert method.source
    assert method.name == name


@pytest.mark.parametrize("name", BY_NAME)
def test_a_whole_run_in_any_lane_is_the_run_alone(name):
    data = toy_prepared()
    trials = some_trials(name, 5, SMALL)
    alone = run_alone(trials, data)
    for block in (None, 3):  # on a CPU: two and one, and all three
        together = run(trials, data, lanes=3, late=1, block=block)
        for number, curve in alone.curves.items():
            np.testing.assert_allclose(together.curves[number], curve, rtol=1e-10, atol=1e-10)
            for key, value in alone.weights[number].items():
                torch.testing.assert_close(together.weights[number][key], value, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("name", BY_NAME)
def test_lanes_agree_within_1e_4_map(name, precision):
    data = toy_prepared(clips=240)  # two clips that change ranks are worth less than 1e-4
    trials = some_trials(name, 3, ODD, precision=precision, epochs=(3, 2, 3))
    together, alone = run(trials, data, lanes=3, dtype=torch.float32), run_alone(trials, data, dtype=torch.float32)
    for number, curve in alone.curves.items():
        np.testing.assert_allclose(np.array(together.curves[number])[:, 0], np.array(curve)[:, 0], atol=1e-4)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("name", BY_NAME)
def test_exact_lanes_are_the_lone_trial_to_the_last_bit(name, precision):
    """Whatever their number, and as others come and go."""
    data = toy_prepared(clips=150, dims=(37, 53))
    trials = some_trials(name, 4, ODD, precision=precision, epochs=(2, 1, 3, 2))
    alone = run_alone(trials, data, dtype=torch.float32)
    for lanes, late in ((2, 1), (4, 0)):
        together = run(trials, data, lanes=lanes, late=late, dtype=torch.float32, exact=True)
        assert apart(alone, together).equal, lanes


@pytest.mark.parametrize(("name", "change"), CASES)
def test_an_epoch_reads_nothing_back_from_the_device(name, change):
    """Torch's `meta` device has no values: asking it for one, or mixing it with the CPU, is an error."""
    data = dataclasses.replace(toy_prepared(), validation=None)
    # One step an epoch: operations on `meta` are slow.
    trial = Trial(0, name, full_config(name, change, batch_size=len(data.train)), seed=1, epochs=3)
    static = static_values(METHODS[name], trial.config)
    for precision in ("fp32", "bf16"):
        group = LaneTrainer(name, static, data, device="meta", precision=precision)
        group.store.admit(trial)
        for values in group._train_block(slice(0, 1)).values():
            assert values.device.type == "meta"
            with pytest.raises(RuntimeError, match="meta"):
                values.tolist()


@pytest.mark.parametrize("name", TRAINED)
def test_learns_separable_classes(name):
    data = toy_prepared()
    trial = Trial(0, name, full_config(name, batch_size=24, lr=5e-3, hidden_dim=32), seed=1, epochs=32)
    curve = run([trial], data, lanes=1, dtype=torch.float32).curves[0]
    assert max(value for value, _ in curve) > 0.9


@pytest.mark.parametrize("name", TRAINED)
def test_the_same_seed_gives_the_same_run_and_another_seed_another(name):
    data = toy_prepared()
    config = full_config(name)
    curves = [run([Trial(0, name, config, seed, 3)], data, lanes=1).curves[0] for seed in (1, 1, 2)]
    assert curves[0] == curves[1]
    assert curves[0] != curves[2]


@pytest.mark.parametrize(("name", "change"), CASES)
def test_a_run_that_ends_early_is_the_beginning_of_one_of_its_horizon(name, change):
    """What is retrained for fewer epochs is what validation chose: no schedule is squeezed into them."""
    data = toy_prepared()
    config = full_config(name, change, lr=1e-2)
    curves = [
        run([trial], data, lanes=1).curves[0]
        for trial in (Trial(0, name, config, 1, 3, horizon=5), Trial(0, name, config, 1, 5))
    ]
    assert curves[0] == curves[1][:3]


def solve(name, data, seed=1, **more):
    """A closed-form method solved on the training rows: (method, parameters, buffers)."""
    kind = METHODS[name]
    config = full_config(name, **more)
    method = kind(static_values(kind, config), data.audio_dim, data.visual_dim, data.num_classes)
    hyper = {h.name: float(config[h.name]) for h in kind.hypers if not h.static}
    rows = (torch.tensor(part) for part in (data.train.audio, data.train.visual, data.train.labels))
    return method, *method.solve(*rows, hyper, init_generator(seed))


@pytest.mark.parametrize("name", SOLVED)
def test_a_solution_has_the_names_shapes_and_types_of_fresh_weights(name):
    method, *solution = solve(name, toy_prepared())
    for solved, fresh in zip(solution, method.init(init_generator(0)), strict=True):
        assert {key: (value.shape, value.dtype) for key, value in solved.items()} == {
            key: (value.shape, value.dtype) for key, value in fresh.items()
        }


@pytest.mark.parametrize("name", SOLVED)
def test_a_solution_separates_classes_and_depends_only_on_data_and_seed(name):
    data = toy_prepared()
    scores = []
    for _ in range(2):
        method, params, buffers = solve(name, data, embedding_dim=3)
        one = ({key: value[None] for key, value in part.items()} for part in (params, buffers))
        views = (torch.tensor(view)[None] for view in (data.validation.audio, data.validation.visual))
        z_a, z_v = (z[0].numpy() for z in method.embed(*one, *views))
        scores.append(retrieval_scores(z_a, z_v, data.validation.labels).map)
    assert scores[0] == scores[1]
    assert scores[0] > 0.8


@pytest.mark.parametrize("name", SOLVED)
def test_a_closed_form_has_no_loss(name):
    setting = Setting(name, {})
    with pytest.raises(AssertionError, match="closed form"):
        setting.loss()
